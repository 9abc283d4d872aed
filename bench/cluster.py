"""Time a folder of pictures on a Ray cluster of this machine against the same command without one, on as many cores:

    python bench/cluster.py --pictures 200 --cores 1 2

prints pictures a second by the clock inside each run (loading the network is counted, starting Ray is not, but given by
itself), what share of the plain command's speed that is, and what a cluster of `--machines` with `--machine-cores` would do
and cost, by arithmetic that is printed with it. The pictures are drawn, 1 to 3 megapixels, JPEG. Runs that `--output` has
are not done again. Needs requirements-cluster.txt.
"""
from __future__ import annotations

import argparse
import contextlib
import itertools
import math
import os
import re
import secrets
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "bench")]

import cv2
import numpy as np
from video import write_constant_model

from src.command_line import Parser
from src.console import progress_bar
from src.data.portraits.generate import generate_portrait
from src.files import check_writable, temporary_folder, write_json
from src.media.picture_results import PictureLook
from src.records import Real, Whole, read_json
from src.runtime.connection import import_ray
from src.runtime.pictures import plan
from src.runtime.places import read_list
from src.runtime.pool import usable_cores
from src.script import children_seconds, peak_memory, provenance, run_script

COMMAND = [sys.executable, str(ROOT / "inference_openvino.py"), "--save", "alpha", "cutout", "--threads", "1"]
PORT = 6394


def draw_pictures(folder: Path, count: int) -> None:
    """Write `count` pictures of 1 to 3 megapixels, a few portraits drawn over and over at other sizes."""
    portraits = [generate_portrait(seed)[0] for seed in range(4)]
    rng = np.random.default_rng(0)
    with temporary_folder(folder) as drawn:  # a part of them would be taken for all the next time
        for number in progress_bar(range(count), desc="pictures", leave=False):
            side = int(1000 * rng.uniform(0.9, 1.6))
            picture = cv2.resize(portraits[number % len(portraits)], (side, side * 6 // 5), interpolation=cv2.INTER_CUBIC)
            cv2.imwrite(str(drawn / f"{number:05d}.jpg"), picture[..., ::-1])
        drawn.rename(folder)


def run(command: list[str], cores: int, log: Path, look: Callable[[], object] = lambda: None) -> tuple[float, float]:
    """Run a command on the first `cores` cores, `look` about every second; seconds and the peak of its memory in MiB.

    Raises `ValueError` with the end of what it said if it fails.
    """
    start, peak, seen = time.perf_counter(), 0.0, 0.0
    with log.open("w") as out:
        process = subprocess.Popen(["taskset", "-c", f"0-{cores - 1}", *command], stdout=out, stderr=subprocess.STDOUT)
        while process.poll() is None:
            with contextlib.suppress(OSError, StopIteration):
                peak = max(peak, peak_memory(process.pid))
            if time.perf_counter() > seen + 1:
                look()
                seen = time.perf_counter()
            time.sleep(0.05)
    if process.returncode:
        raise ValueError(f"{' '.join(command)} ended with {process.returncode}: {log.read_text()[-500:]}")
    return time.perf_counter() - start, peak


class TreeSeconds:
    """The processor seconds of a process and all below it, those too that ended between two looks."""

    def __init__(self, process: int) -> None:
        import psutil  # comes with Ray

        self.top, self.seconds, self.gone = psutil.Process(process), {}, psutil.NoSuchProcess

    def look(self) -> float:
        """Return the sum of what each was last seen to have used."""
        for member in [self.top, *self.top.children(recursive=True)]:
            with contextlib.suppress(self.gone):
                self.seconds[member.pid, member.create_time()] = sum(member.cpu_times()[:2])
        return sum(self.seconds.values())


def run_plain(folder: Path, cores: int, out: Path) -> dict[str, float]:
    """Run the plain command on the folder; it uses every core that it is given."""
    used = children_seconds()
    seconds, _ = run([*COMMAND, "--image-path", str(folder), "--output-dir", str(out / "plain")], cores, out / "plain.log")
    count = len(list(folder.iterdir()))
    return {"seconds": seconds, "per_second": count / seconds, "cpu_seconds": (children_seconds() - used) / count,
            "megabytes": size_of(folder, out / "plain") / count}


def size_of(*folders: Path) -> float:
    """Return the megabytes of all files in folders."""
    return sum(file.stat().st_size for folder in folders for file in folder.rglob("*")) / 1e6


def run_ray(folder: Path, cores: int, out: Path) -> dict[str, float]:
    """Run the same by `--ray` on a cluster of `cores` cores, which is started and stopped here."""
    # `ray start` asks for a token where the user has one, and who joins must say that there is one.
    os.environ.update(RAY_AUTH_MODE="token", RAY_AUTH_TOKEN=secrets.token_hex(32))
    begin, ray = time.perf_counter(), [sys.executable, "-m", "ray.scripts.scripts"]
    head = subprocess.Popen(["taskset", "-c", f"0-{cores - 1}", *ray, "start", "--head", f"--port={PORT}", "--block",
                             f"--num-cpus={cores}", "--include-dashboard=false"],
                            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        while subprocess.run([*ray, "status", f"--address=127.0.0.1:{PORT}"], check=False, capture_output=True).returncode:
            if head.poll() is not None or time.perf_counter() - begin > 120:
                raise ValueError(f"Ray did not start: status {head.poll()}")
        started, tree, used = time.perf_counter() - begin, TreeSeconds(head.pid), children_seconds()
        before = tree.look()
        total, peak = run([*COMMAND, "--image-path", str(folder), "--output-dir", str(out / "ray"), "--ray",
                           f"127.0.0.1:{PORT}"], cores, out / "ray.log", tree.look)
        cpu = children_seconds() - used + tree.look() - before
    finally:
        head.terminate()
        head.wait()
    found = re.search(r"(\d+) files in ([\d.]+) s", (out / "ray.log").read_text())
    count, inside = int(found[1]), float(found[2])
    return {"seconds": inside, "per_second": count / inside, "cpu_seconds": cpu / count,
            "megabytes": size_of(folder, out / "ray") / count, "start_seconds": started + total - inside,
            "driver_mib": peak}


def driver_memory(count: int) -> float:
    """Return the peak of the driver's memory in MiB over `count` tiny pictures, with a network that only averages."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_constant_model(folder / "average.xml")
        (folder / "in").mkdir()
        picture = cv2.imencode(".png", np.full((16, 16, 3), 128, np.uint8))[1].tobytes()
        for number in range(count):
            (folder / "in" / f"{number:06d}.png").write_bytes(picture)
        command = [*COMMAND[:2], "--save", "alpha", "--model-path", str(folder / "average.xml"), "--image-path",
                   str(folder / "in"), "--output-dir", str(folder / "out"), "--ray"]
        return run(command, 2, folder / "log")[1]


def names_memory(count: int) -> float:
    """Return the bytes a name that a list of `count` files takes at the highest, before Ray has it; three results each."""
    with tempfile.TemporaryDirectory() as folder:
        names = Path(folder) / "names.txt"
        names.write_text("".join(f"/data/shop/pictures/2026/{number % 1000:04d}/product_{number:09d}.jpg\n"
                                 for number in range(count)))
        before = peak_memory()
        plan(read_list(names), PictureLook(), output_dir=Path(folder) / "out")
        return (peak_memory() - before) * 2 ** 20 / count


def scale_up(per_core: float, share: float, *, machines: int, cores: int, price: float,
             megabytes: float) -> dict[str, float]:
    """Compute what `machines` of `cores` do if each core does `share` of `per_core` pictures a second, and what a million
    costs at `price` a core and hour; and what is read and written in a second, at `megabytes` a picture."""
    speed, core_hours = machines * cores * per_core * share, 1e6 / (per_core * share) / 3600
    return {"per_second": speed, "hours_per_million": core_hours / (machines * cores),
            "price_per_million": core_hours * price, "megabytes_per_second": megabytes * speed}


WAYS = {"plain": run_plain, "ray": run_ray}
RUNS = {"pictures": Whole(1), "rows": [{"cores": Whole(1), "way": str, "repeat": Whole(), "per_second": Real(0),
                                        "seconds": Real(0), "cpu_seconds": Real(0), "megabytes": Real(0),
                                        "start_seconds?": Real(0), "driver_mib?": Real(0)}]}


def read_rows(output: Path, pictures: int) -> list[dict]:
    """Return the runs that an earlier call did. Raises `ValueError` if they were of another number of pictures."""
    if not output.is_file():
        return []
    report = read_json(output, RUNS)
    if report["pictures"] != pictures:
        raise ValueError(f"{output} is of {report['pictures']} pictures, not of {pictures}: use another --output")
    return report["rows"]


def measure(folder: Path, rows: list[dict], *, pictures: int, cores: list[int], repeats: int, limit: int | None,
            output: Path) -> None:
    """Do the runs that are not in `rows`, the plain command and Ray in turns, at most `limit` of them; each is added and
    written when it ends."""
    done = {(row["cores"], row["way"], row["repeat"]) for row in rows}
    left = [key for key in itertools.product(range(repeats), cores, WAYS) if (key[1], key[2], key[0]) not in done][:limit]
    if left and not folder.is_dir():
        draw_pictures(folder, pictures)
    for repeat, count, way in left:
        with tempfile.TemporaryDirectory() as out:
            row = {"cores": count, "way": way, "repeat": repeat, **WAYS[way](folder, count, Path(out))}
        rows.append(row)
        print(", ".join(f"{name} {value:.2f}" if isinstance(value, float) else f"{name} {value}"
                        for name, value in row.items()), flush=True)
        write_json(output, {"pictures": pictures, "rows": rows, **provenance()})


def medians(rows: list[dict]) -> dict[int, dict[str, float]]:
    """Compute for each number of cores that was run both ways the medians of what was measured."""
    def median(cores: int, way: str, name: str) -> float:
        return statistics.median(row[name] for row in rows if (row["cores"], row["way"]) == (cores, way))

    both = sorted(set.intersection(*({row["cores"] for row in rows if row["way"] == way} for way in WAYS)))
    lines = {}
    for cores in both:
        (plain, ray), cpu = ([median(cores, way, name) for way in WAYS] for name in ("per_second", "cpu_seconds"))
        lines[cores] = {"plain": plain, "ray": ray, "share": ray / plain, "cpu_share": cpu[0] / cpu[1],
                        "megabytes": median(cores, "plain", "megabytes"),
                        **{name: median(cores, "ray", name) for name in ("start_seconds", "driver_mib")}}
    return lines


def tell(lines: dict[int, dict[str, float]], *, machines: int, machine_cores: int, price: float) -> None:
    """Print the table, and the arithmetic of a cluster of `machines`."""
    print(f"| cores | plain, a second | --ray, a second | share | by processor time | Ray starts in, s | driver, MiB |\n"
          f"|---|{'---:|' * 6}")
    for cores, line in lines.items():
        print(f"| {cores} | {line['plain']:.2f} | {line['ray']:.2f} | {line['share']:.2f} | {line['cpu_share']:.2f} | "
              f"{line['start_seconds']:.1f} | {line['driver_mib']:.0f} |")
    cores, line = list(lines.items())[-1]
    whole = scale_up(line["plain"] / cores, line["share"], machines=machines, cores=machine_cores, price=price,
                     megabytes=line["megabytes"])
    print(f"{machines} machines of {machine_cores} cores: {machines} x {machine_cores} x {line['plain'] / cores:.2f} x "
          f"{line['share']:.2f} = {whole['per_second']:.0f} a second, a million in {whole['hours_per_million']:.2f} h for "
          f"{whole['price_per_million']:.2f} at {price} a core and hour; {whole['megabytes_per_second']:.0f} MB/s of files "
          f"at {line['megabytes']:.2f} MB a picture, of which network or storage may give less")


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    parser = Parser(__doc__)
    parser.add_argument("--pictures", type=int, default=200, help="how many (default: %(default)s)")
    parser.add_argument("--cores", type=int, nargs="+", default=[1, 2], help="runs with so many cores (default: 1 2)")
    parser.add_argument("--repeats", type=int, default=3, help="runs of each way (default: %(default)s)")
    parser.add_argument("--limit", type=int, metavar="N", help="do at most N runs now; the same command does the rest")
    parser.add_argument("--memory", type=int, nargs="+", metavar="N", help="print the peak of the driver's memory over N "
                        "tiny pictures instead")
    parser.add_argument("--names", type=int, metavar="N", help="print the bytes a name of a list of N files instead")
    parser.add_argument("--folder", type=Path, default=Path("result/cluster_pictures"), help="where the pictures are drawn, "
                        "once (default: %(default)s)")
    parser.add_argument("--machines", type=int, default=16, help="of the arithmetic (default: %(default)s)")
    parser.add_argument("--machine-cores", type=int, default=64, help="of each of them (default: %(default)s)")
    parser.add_argument("--price", type=float, default=0.04, help="of a core and hour (default: %(default)s)")
    parser.add_argument("--output", type=Path, default=Path("result/cluster.json"), help="default: %(default)s")
    args = parser.parse_args(argv)
    for name in ("pictures", "repeats", "limit", "names", "machines", "machine_cores", "price", "cores", "memory"):
        given = getattr(args, name)
        for value in given if isinstance(given, list) else [given]:
            if value is not None and not 0 < value < math.inf:
                parser.error(f"--{name.replace('_', '-')} is {value}, allowed are numbers over 0")
    return args


def main(argv: list[str] | None = None) -> int:
    args = parse_args(argv)
    check_writable(args.output.parent, "--output")
    if args.names:
        print(f"{args.names} names: {names_memory(args.names):.0f} bytes a name", flush=True)
        return 0
    if not args.memory and max(args.cores) > usable_cores():  # taskset would take those that there are
        raise ValueError(f"--cores has {max(args.cores)}, this machine has {usable_cores()}")
    import_ray()
    for count in args.memory or ():
        print(f"{count} pictures: driver {driver_memory(count):.0f} MiB", flush=True)
    if args.memory:
        return 0
    rows = read_rows(args.output, args.pictures)
    measure(args.folder / str(args.pictures), rows, pictures=args.pictures, cores=args.cores, repeats=args.repeats,
            limit=args.limit, output=args.output)
    if lines := medians(rows):
        tell(lines, machines=args.machines, machine_cores=args.machine_cores, price=args.price)
    return 0


if __name__ == "__main__":
    sys.exit(run_script(main))
