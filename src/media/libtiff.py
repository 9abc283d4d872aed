"""Hear what libtiff says of a damaged TIFF; by itself it would write that to stderr, without the file's name. No torch."""
from __future__ import annotations

import contextlib
import ctypes
import ctypes.util
import functools
import threading
from pathlib import Path

import PIL

_HEARD = threading.local()


@ctypes.CFUNCTYPE(None, ctypes.c_char_p, ctypes.c_char_p, ctypes.c_void_p)
def _hear(where: bytes | None, _text: bytes | None, _values: int | None) -> None:
    _HEARD.word = (where or b"libtiff").decode("ascii", "replace")


@functools.cache
def listen() -> None:
    """Take libtiff's errors from now on, if the library that Pillow uses is found: its wheel's own, else the system's."""
    home = Path(PIL.__path__[0])
    own = [*home.parent.glob("pillow.libs/libtiff*"), *home.glob(".dylibs/libtiff*")]
    name = str(own[0]) if own else ctypes.util.find_library("tiff")
    with contextlib.suppress(OSError, AttributeError):
        if name:
            ctypes.CDLL(name).TIFFSetErrorHandler(_hear)


def heard() -> str | None:
    """Return the part of libtiff that complained last in this thread since this was asked last, such as `LZWDecode`."""
    word, _HEARD.word = getattr(_HEARD, "word", None), None
    return word
