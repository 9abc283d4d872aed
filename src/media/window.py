"""Show pictures in a window; the one place that opens one."""
from __future__ import annotations

import subprocess
import sys

import cv2
import numpy as np

STOP_KEYS = (27, ord("q"))


def check_window() -> None:
    """Raise `ValueError` if OpenCV cannot open a window here.

    Tried in a second process, since OpenCV's Qt does not raise without a display: it aborts.
    """
    tried = subprocess.run([sys.executable, "-c", "import cv2; cv2.namedWindow('MODNet'); cv2.waitKey(1)"],
                           stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False)
    if tried.returncode:
        raise ValueError("--show needs a display and an OpenCV that can open windows; there is none here")


def show(picture: np.ndarray, wait_ms: int) -> bool:
    """Show (H, W) grey or (H, W, 3) RGB uint8 for `wait_ms`, 0 = until a key; whether q or Esc was pressed."""
    cv2.imshow("MODNet", picture if picture.ndim == 2 else cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))
    return cv2.waitKey(wait_ms) & 0xFF in STOP_KEYS
