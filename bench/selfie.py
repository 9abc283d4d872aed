"""Time MediaPipe's selfie segmentation from JPEG to cut-out, for bench/latency.py; runs in an environment of its own:

    python -m venv VENV && VENV/bin/pip install mediapipe==0.10.21
    VENV/bin/python bench/selfie.py data/img.jpg 2 cutout.png

Prints one line of JSON. Later releases of mediapipe have no weights in the wheel.
"""
import json
import os
import statistics
import sys
import time
from pathlib import Path

sys.path[:0] = [str(Path(__file__).resolve().parent.parent)]

from src.script import peak_memory


def main(picture: str, threads: str, out: str) -> None:
    # The TFLite interpreter inside takes as many threads as there are CPUs.
    """Run the command line and return the exit status."""
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[-int(threads):])
    import cv2
    import mediapipe
    import numpy as np

    whole, alone = [], []
    with mediapipe.solutions.selfie_segmentation.SelfieSegmentation(model_selection=0) as network:
        for _ in range(16):
            start = time.perf_counter()
            image = cv2.imread(picture)
            rgb = cv2.cvtColor(image, cv2.COLOR_BGR2RGB)
            before = time.perf_counter()
            mask = network.process(rgb).segmentation_mask
            after = time.perf_counter()
            alpha = np.rint(mask * 255).astype(np.uint8)
            cv2.imwrite(out, np.dstack((image, alpha)))
            whole.append(1000 * (time.perf_counter() - start))
            alone.append(1000 * (after - before))
    print(json.dumps({"model with resizing, ms": statistics.median(alone[1:]), "files, ms": statistics.median(whole[1:]),
                      "threads": int(threads), "peak_memory_mb": peak_memory()}))


if __name__ == "__main__":
    main(*sys.argv[1:])
