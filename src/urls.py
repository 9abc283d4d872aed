"""URLs that travel through the code as a `Path`, which folds their `//`. No torch here."""
from __future__ import annotations

import re
from pathlib import Path

# Two letters and more, so that no drive of Windows is a scheme.
_FOLDED_URL = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+):/(?!/)(.*)", re.DOTALL)


def is_url(path: Path) -> bool:
    """Return whether `path` was made of a URL."""
    return _FOLDED_URL.fullmatch(str(path)) is not None and not path.exists()


def url_of(path: Path) -> str:
    """Return the URL that `path` was made of. Raises `ValueError` if it was made of none."""
    found = _FOLDED_URL.fullmatch(str(path))
    if found is None:
        raise ValueError(f"{path} is no URL")
    scheme, rest = found.groups()
    return f"{scheme}://{'/' if scheme in ('file', 'local', 'memory') else ''}{rest}"


def place(path: Path) -> str:
    """Return the name of a file or folder as a user knows it: the URL, if `path` was made of one."""
    return url_of(path) if is_url(path) else str(path)
