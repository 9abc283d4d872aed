"""Run MediaPipe's selfie segmentation, for bench/latency.py and bench/peers.py, in an environment of its own:

    python -m venv VENV && VENV/bin/pip install mediapipe==0.10.21 tqdm
    VENV/bin/python bench/selfie.py data/img.jpg 2 cutout.png

times it from JPEG to cut-out and prints one line of JSON. Later releases of mediapipe have no weights in the wheel.

    VENV/bin/python bench/selfie.py --serve 2

reads the names of .npy files of pictures (H, W, 3) uint8 RGB, puts the mask (H, W) float32 in the place of each, and prints
the milliseconds that it took.
"""
import json
import os
import statistics
import sys
import time
from pathlib import Path

sys.path[:0] = [str(Path(__file__).resolve().parent.parent)]


def use_threads(threads: int) -> None:
    """Keep to so many CPUs: the TFLite interpreter inside takes as many threads as there are."""
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[-threads:])


def selfie_segmentation() -> object:
    """Return the network for 256x256."""
    import mediapipe

    return mediapipe.solutions.selfie_segmentation.SelfieSegmentation(model_selection=0)


def serve(threads: str) -> None:
    """Answer each line of standard input."""
    use_threads(int(threads))
    import numpy as np

    with selfie_segmentation() as network:
        for line in sys.stdin:
            path = line.rstrip("\n")
            image = np.load(path)
            start = time.perf_counter()
            mask = network.process(image).segmentation_mask
            took = 1000 * (time.perf_counter() - start)
            np.save(path, mask)
            print(took, flush=True)


def main(picture: str, threads: str, out: str) -> None:
    """Time it from a picture file to the PNG of the cut-out."""
    use_threads(int(threads))
    import cv2
    import numpy as np

    from src.script import peak_memory

    whole, alone = [], []
    with selfie_segmentation() as network:
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
    if sys.argv[1:2] == ["--serve"]:
        serve(*sys.argv[2:])
    else:
        main(*sys.argv[1:])
