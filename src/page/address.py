"""Where the page listens, tried before anything else is loaded."""
from __future__ import annotations

import errno
import socket


def check_address(host: str, port: int) -> None:
    """Raise `ValueError` naming `--host` or `--port` unless the page can listen there."""
    if not host.strip():
        raise ValueError("--host is empty, which would let everybody in: say 0.0.0.0 if you mean that")
    try:
        [(family, *_, address), *_] = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise ValueError(f"--host is {host}, which is no address or name that is known here: "
                         f"{getattr(error, 'strerror', None) or error}") from None
    with socket.socket(family, socket.SOCK_STREAM) as tried:
        tried.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            tried.bind(address)
            tried.listen()
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                raise ValueError(f"--port {port} is taken by another program: choose another one") from None
            if error.errno in (errno.EACCES, errno.EPERM):
                raise ValueError(f"--port {port} is not for this user: choose one from 1024 on") from None
            raise ValueError(f"--host is {host}, where this machine cannot listen: {error.strerror}") from None
