"""Times a folder of pictures on a Ray cluster of this machine against the same command without one, on as many cores:

    python bench/cluster.py --pictures 200 --cores 1 2

prints pictures a second by the clock inside each run (loading the network is counted, starting Ray is not, but given by
itself), what share of the plain command's speed that is, and what a cluster of `--machines` with `--machine-cores` would do
and cost, by arithmetic that is printed with it. The pictures are drawn, 1 to 3 megapixels, JPEG. Needs
requirements-cluster.txt.
"""
from __future__ import annotations

import argparse
import contextlib
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT)]

import cv2
import numpy as np

from src.command_line import Parser
from src.console import progress_bar
from src.data.portraits.generate import generate_portrait
from src.files import check_output, write_json
from src.runtime.cluster import import_ray
from src.script import peak_memory, provenance, run_script

COMMAND = [sys.executable, str(ROOT / "inference_openvino.py"), "--save", "alpha", "cutout", "--threads", "1"]
PORT = 6394


def draw_pictures(folder: Path, count: int) -> None:
    """Write `count` pictures of 1 to 3 megapixels, a few portraits drawn over and over at other sizes."""
    folder.mkdir(parents=True)
    portraits = [generate_portrait(seed)[0] for seed in range(4)]
    rng = np.random.default_rng(0)
    for number in progress_bar(range(count), desc="pictures", leave=False):
        side = int(1000 * rng.uniform(0.9, 1.6))
        picture = cv2.resize(portraits[number % len(portraits)], (side, side * 6 // 5), interpolation=cv2.INTER_CUBIC)
        cv2.imwrite(str(folder / f"{number:05d}.jpg"), picture[..., ::-1])


def run(command: list[str], cores: int, log: Path) -> tuple[float, float]:
    """Run a command on the first `cores` cores; seconds and the peak of its memory in MiB.

    Raises `ValueError` with the end of what it said if it fails.
    """
    start, peak = time.perf_counter(), 0.0
    with log.open("w") as out:
        process = subprocess.Popen(["taskset", "-c", f"0-{cores - 1}", *command], stdout=out, stderr=subprocess.STDOUT)
        while process.poll() is None:
            with contextlib.suppress(OSError, StopIteration):
                peak = max(peak, peak_memory(process.pid))
            time.sleep(0.05)
    if process.returncode:
        raise ValueError(f"{' '.join(command)} ended with {process.returncode}: {log.read_text()[-500:]}")
    return time.perf_counter() - start, peak


def run_plain(folder: Path, cores: int, out: Path) -> dict[str, float]:
    """Run one process for each core, each with its share of the pictures, as one would do by hand."""
    pictures, logs = sorted(folder.iterdir()), []
    start = time.perf_counter()
    processes = []
    for core in range(cores):
        (names := out / f"{core}.txt").write_text("\n".join(map(str, pictures[core::cores])))
        logs.append((out / f"{core}.log").open("w"))
        processes.append(subprocess.Popen(["taskset", "-c", str(core), *COMMAND, "--list", str(names), "--output-dir",
                                           str(out / f"plain{cores}")], stdout=logs[-1], stderr=subprocess.STDOUT))
    if any(process.wait() for process in processes):
        raise ValueError(f"the plain command failed: see {out}")
    for log in logs:
        log.close()
    seconds = time.perf_counter() - start
    return {"seconds": seconds, "per_second": len(pictures) / seconds}


def run_ray(folder: Path, cores: int, out: Path) -> dict[str, float]:
    """Return the same by `--ray` on a cluster of `cores` cores, which is started and stopped here."""
    ray = [sys.executable, "-m", "ray.scripts.scripts"]
    begin = time.perf_counter()
    subprocess.run(["taskset", "-c", f"0-{cores - 1}", *ray, "start", "--head", f"--port={PORT}", f"--num-cpus={cores}",
                    "--include-dashboard=false"], check=True, capture_output=True)
    started = time.perf_counter() - begin
    try:
        total, peak = run([*COMMAND, "--image-path", str(folder), "--output-dir", str(out / f"ray{cores}"), "--ray",
                           "auto"], cores, out / f"ray{cores}.log")
    finally:
        subprocess.run([*ray, "stop", "--force"], check=False, capture_output=True)
    found = re.search(r"(\d+) files in ([\d.]+) s", (out / f"ray{cores}.log").read_text())
    inside = float(found[2])
    return {"seconds": inside, "per_second": int(found[1]) / inside, "start_seconds": started + total - inside,
            "driver_mib": peak}


def scale_up(per_core: float, share: float, *, machines: int, cores: int, price: float) -> dict[str, float]:
    """Compute what `machines` of `cores` do if each core does `share` of `per_core` pictures a second, and what a million
    costs at `price` a core and hour; and the bytes a second that the pictures need, at half a megabyte in and one out."""
    speed, core_hours = machines * cores * per_core * share, 1e6 / (per_core * share) / 3600
    return {"per_second": speed, "hours_per_million": core_hours / (machines * cores),
            "price_per_million": core_hours * price, "megabytes_per_second": 1.5 * speed}


def bench(*, pictures: int, cores: list[int], machines: int, machine_cores: int, price: float, output: Path) -> dict:
    """Do every run, the plain command and Ray in turns; the result is printed and written to `output`."""
    check_output(output, "--output")
    import_ray()
    rows = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "in"
        draw_pictures(folder, pictures)
        for count in cores:
            (out := Path(name) / str(count)).mkdir()
            plain, ray = run_plain(folder, count, out), run_ray(folder, count, out)
            rows[count] = {"plain": plain, "ray": ray, "share": ray["per_second"] / plain["per_second"]}
            print(f"{count} cores: plain {plain['per_second']:.2f} a second, --ray {ray['per_second']:.2f}, "
                  f"share {rows[count]['share']:.2f}; Ray starts in {ray['start_seconds']:.1f} s, "
                  f"driver {ray['driver_mib']:.0f} MiB", flush=True)
    share, per_core = rows[cores[-1]]["share"], rows[cores[-1]]["plain"]["per_second"] / cores[-1]
    whole = scale_up(per_core, share, machines=machines, cores=machine_cores, price=price)
    print(f"{machines} machines of {machine_cores} cores: {machines} x {machine_cores} x {per_core:.2f} x {share:.2f} = "
          f"{whole['per_second']:.0f} a second, a million in {whole['hours_per_million']:.2f} h for "
          f"{whole['price_per_million']:.2f} at {price} a core and hour; {whole['megabytes_per_second']:.0f} MB/s of files "
          "at 1.5 MB a picture, of which network or storage may give less")
    result = {"pictures": pictures, "rows": rows, "cluster": whole, **provenance()}
    write_json(output, result)
    return result


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    parser = Parser(__doc__)
    parser.add_argument("--pictures", type=int, default=200, help="how many (default: %(default)s)")
    parser.add_argument("--cores", type=int, nargs="+", default=[1, 2], help="runs with so many cores (default: 1 2)")
    parser.add_argument("--machines", type=int, default=16, help="of the arithmetic (default: %(default)s)")
    parser.add_argument("--machine-cores", type=int, default=64, help="of each of them (default: %(default)s)")
    parser.add_argument("--price", type=float, default=0.04, help="of a core and hour (default: %(default)s)")
    parser.add_argument("--output", type=Path, default=Path("result/cluster.json"), help="default: %(default)s")
    args = parser.parse_args(argv)
    for name in ("pictures", "machines", "machine_cores", "price"):
        if getattr(args, name) <= 0:
            parser.error(f"--{name.replace('_', '-')} is {getattr(args, name)}, allowed are numbers over 0")
    return args


def main(argv: list[str] | None = None) -> int:
    args = parse_args(argv)
    bench(pictures=args.pictures, cores=args.cores, machines=args.machines, machine_cores=args.machine_cores,
          price=args.price, output=args.output)
    return 0


if __name__ == "__main__":
    sys.exit(run_script(main))
