"""Find, start, join and leave a Ray cluster: what is none is said in one line, at once. No torch here."""
from __future__ import annotations

import contextlib
import logging
import os
import re
import signal
import socket
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

from src.runtime.pool import usable_cores
from src.script import ROOT, one_line

# Seconds in which a cluster must answer.
PATIENCE = 10
# Bytes for what travels between Ray's processes of this machine, lines of text; by itself it takes a third of the memory.
STORE = 128 * 2 ** 20
# A name, an address, or one of IPv6 in brackets.
HOST = re.compile(r"[\w.-]+|\[[\da-fA-F:.]+\]")
# How a client of HTTP/2, and so of gRPC, begins; a server answers with a frame of settings too (RFC 9113, section 3.4).
HTTP2_SETTINGS = b"\0\0\0\x04\0\0\0\0\0"
HTTP2_HELLO = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + HTTP2_SETTINGS


def import_ray() -> ModuleType:
    """Return the package. Raises `ValueError` with the way to install it."""
    # Ray asks this before it is imported: nothing is sent to anybody.
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    # Its own threads write warnings to stderr, past Python.
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")
    try:
        import ray
        import ray.data
    except ImportError:
        raise ValueError("--ray needs Ray: pip install -r requirements-cluster.txt") from None
    return ray


def check_address(address: str) -> None:
    """Raise `ValueError` unless a server of Ray's kind, gRPC, answers at `HOST:PORT` within `PATIENCE` seconds."""
    host, _, port = address.rpartition(":")
    if not HOST.fullmatch(host) or not re.fullmatch(r"[0-9]{1,5}", port) or not 0 < int(port) < 65536:
        raise ValueError(f"--ray {address} is no address, expected HOST:PORT, auto, or nothing to use this machine alone")
    end = time.monotonic() + PATIENCE
    try:
        with socket.create_connection((host.strip("[]"), int(port)), timeout=PATIENCE) as there:
            if os.environ.get("RAY_USE_TLS", "0") not in ("", "0"):
                return
            there.settimeout(max(0.1, end - time.monotonic()))
            there.sendall(HTTP2_HELLO)
            # Ray itself would wait for many minutes for a server of another kind.
            answer = there.recv(len(HTTP2_SETTINGS), socket.MSG_WAITALL)
    except OSError as error:
        raise ValueError(f"--ray {address}: no cluster there ({error.strerror or error})") from None
    if answer[3:4] != HTTP2_SETTINGS[3:4]:
        raise ValueError(f"--ray {address}: no cluster there (what answers is not Ray)")


def check_known() -> None:
    """Raise `ValueError` if the cluster that Ray knows as `auto`, by its variable or its file on this machine, is gone."""
    kept = Path(os.environ.get("RAY_TMPDIR", "/tmp")) / "ray" / "ray_current_cluster"
    known = os.environ.get("RAY_ADDRESS") or (kept.read_text(encoding="utf-8").strip() if kept.is_file() else "auto")
    if known != "auto":
        try:
            check_address(known)
        except ValueError as error:
            said = str(error).replace(f"--ray {known}: no cluster there", f"--ray auto: no cluster there, at {known}")
            raise ValueError(said) from None


@contextlib.contextmanager
def silent_stderr() -> Iterator[None]:
    """Drop what native code writes to stderr meanwhile."""
    sys.stderr.flush()
    before = os.dup(2)
    with tempfile.TemporaryFile() as nowhere:
        os.dup2(nowhere.fileno(), 2)
        try:
            yield
        finally:
            os.dup2(before, 2)
            os.close(before)


@contextlib.contextmanager
def own_signals() -> Iterator[None]:
    """Keep what Ctrl-C and SIGTERM do in this process: Ray puts handlers of its own in their place."""
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    yield
    if threading.current_thread() is threading.main_thread():
        for number, handler in before.items():
            signal.signal(number, handler)


def start_here(ray: ModuleType, cores: int) -> None:
    """Start a cluster on `cores` cores of this machine, for as long as this process lives."""
    with own_signals():
        ray.init("local", num_cpus=cores, object_store_memory=STORE, include_dashboard=False, log_to_driver=False,
                 logging_level=logging.ERROR, runtime_env={"env_vars": {"PYTHONPATH": str(ROOT)}})


def join(ray: ModuleType, address: str) -> None:
    """Join the cluster at `address`; the code of this repository travels, since it may lie nowhere on the other machines."""
    with own_signals():
        ray.init(address=address, runtime_env={"py_modules": [str(ROOT / "src")]}, log_to_driver=False,
                 logging_level=logging.ERROR)


def _about_token() -> str:
    """Return what may help against a cluster that does not let this process in: `ray start` wants a token where it finds
    one, and Ray sends it to no address that is given unless it is told to."""
    if os.environ.get("RAY_AUTH_MODE") == "token":
        return ""
    return "; if it was started with a token (~/.ray/auth_token or RAY_AUTH_TOKEN), set RAY_AUTH_MODE=token"


@contextlib.contextmanager
def connected(address: str) -> Iterator[ModuleType]:
    """Join the cluster at `address` (`HOST:PORT`, `auto`), or with `""` start one here; give Ray, and leave at the end.

    Stays in a cluster that this process has joined already. Raises `ValueError` if there is none.
    """
    if "ray" in sys.modules and sys.modules["ray"].is_initialized():
        yield sys.modules["ray"]
        return
    if address == "auto":
        check_known()
    elif address:
        check_address(address)
    ray = import_ray()
    try:
        with silent_stderr():
            if address == "":
                start_here(ray, usable_cores())
            else:
                join(ray, address)
    except Exception as error:  # Ray raises what it likes, plain `Exception` too
        help_ = _about_token() if address else ""
        raise ValueError(f"--ray {address or '(this machine)'}: no cluster: {one_line(error)[:200]}{help_}") from None
    try:
        yield ray
    finally:
        ray.shutdown()
