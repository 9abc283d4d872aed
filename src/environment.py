"""What a container or a foreign home lacks: told in one line or stood in for. No torch here."""
from __future__ import annotations

import importlib.util
import os
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LIB_GL = ("OpenCV finds no libGL here ({}): pip install opencv-python-headless in place of opencv-python, or apt-get "
          "install libgl1 libglib2.0-0")


def import_opencv() -> None:
    """Import OpenCV once before all others do. Raises `ImportError` saying what to install if a library of the system lacks;
    a script of this project ends with that line and status 2."""
    try:
        import cv2  # noqa: F401
    except ImportError as error:
        if ".so" not in str(error):
            raise
        said = LIB_GL.format(str(error).partition(":")[0])
        main = getattr(sys.modules.get("__main__"), "__file__", None)
        if main and Path(main).resolve().is_relative_to(ROOT) and "tests" not in Path(main).parts:
            print(f"error: {said}", file=sys.stderr)
            raise SystemExit(2) from None
        raise ImportError(said) from None


def _writable(folder: Path) -> bool:
    """Return whether files can be written in `folder`, or it can be made."""
    there = next((path for path in (folder, *folder.parents) if path.exists()), folder)
    return there.is_dir() and os.access(there, os.W_OK)


def _own_folder(name: str) -> str:
    """Return a temporary folder that belongs to this user alone, the same at each run if it can be."""
    path = Path(tempfile.gettempdir()) / f"modnet-{os.getuid() if hasattr(os, 'getuid') else 'cache'}" / name
    try:
        path.parent.mkdir(mode=0o700, exist_ok=True)
        path.mkdir(mode=0o700, exist_ok=True)
        state = path.parent.lstat()
        # Others could lay code there, which numba would run.
        if hasattr(os, "getuid") and (state.st_uid != os.getuid() or state.st_mode & 0o022 or path.parent.is_symlink()):
            raise OSError
    except OSError:
        return tempfile.mkdtemp(prefix="modnet-")
    return str(path)


def find_caches() -> None:
    """Let numba (in pymatting) and matplotlib keep their caches in a temporary folder where the home cannot be written.

    Before either is imported; what the user has set stays.
    """
    home = Path(os.path.expanduser("~"))
    cache = Path(os.environ.get("XDG_CACHE_HOME") or home / ".cache")
    if "NUMBA_CACHE_DIR" not in os.environ and not _writable(cache / "numba"):
        spec = importlib.util.find_spec("pymatting")
        if spec and spec.origin and not _writable(Path(spec.origin).parent / "__pycache__"):
            os.environ["NUMBA_CACHE_DIR"] = _own_folder("numba")
    config = Path(os.environ.get("XDG_CONFIG_HOME") or home / ".config")
    if "MPLCONFIGDIR" not in os.environ and not (_writable(config / "matplotlib") and _writable(cache / "matplotlib")):
        os.environ["MPLCONFIGDIR"] = _own_folder("matplotlib")


def report_to_nobody() -> None:
    """Keep onnxruntime from sending reports of its use, and from leaving `.ses` in the temporary folder, before it is
    imported; what the user has set stays."""
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
