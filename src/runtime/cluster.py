"""Mattes of many files on the machines of a Ray cluster: the work of one machine, handed to a pool of actors.

Ray Data hands out the files, restarts actors that died and gives their files to others; nothing of that is done here. No
torch here.
"""
from __future__ import annotations

import json
import logging
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, NamedTuple

from src.console import complain, progress_bar, say
from src.files import write_text
from src.runtime.actor import PICTURE, VIDEO, Actor, Work
from src.runtime.connection import connected
from src.runtime.pictures import Job
from src.runtime.places import local_results, marked
from src.script import one_line
from src.urls import is_url, place

if TYPE_CHECKING:
    import pyarrow as pa

# Pictures that an actor is handed at a time: what is done again where a machine is lost. The driver remembers each handing
# over (some 20 KiB), so that of many pictures each actor gets its share in about `PORTIONS`.
BLOCK, PORTIONS, LARGEST_BLOCK = 8, 50, 256


class Item(NamedTuple):
    """What an actor is handed: a file, the folder of its results, and whether it is a `PICTURE` or `VIDEO`."""

    file: Path
    folder: Path
    kind: str


def table_of(items: Sequence[Item]) -> pa.Table:
    """Put items into a table, paths as bytes: a name need not be UTF-8."""
    import pyarrow as pa  # comes with Ray

    return pa.table({"file": [os.fsencode(item.file) for item in items],
                     "folder": [os.fsencode(item.folder) for item in items], "kind": [item.kind for item in items]})


def rows_of(ray: ModuleType, items: Sequence[Item], work: Work, *, threads: int,
            actor: type[Actor] = Actor) -> Iterator[dict[str, str]]:
    """Do `items` on the cluster's cores, an actor on every `threads` of them; the rows that it returns, in order."""
    cores = int(ray.cluster_resources().get("CPU", 1))
    actors = max(1, min(cores // threads, -(-len(items) // BLOCK)))
    block = min(max(BLOCK, len(items) // (actors * PORTIONS)), LARGEST_BLOCK)
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    context.execution_options.preserve_order = True
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    data = ray.data.from_arrow([table_of(items[start:start + block]) for start in range(0, len(items), block)])
    done = data.map(actor, fn_constructor_args=(work,), num_cpus=threads,
                    compute=ray.data.ActorPoolStrategy(size=actors))
    yield from done.iter_rows()


def run_on_cluster(jobs: Sequence[Job], videos: Mapping[Path, Path], work: Work, *, address: str, threads: int) -> int:
    """Do `jobs`, and `videos` with the folder of their results, on a Ray cluster, print what one machine would, and write
    the names and reasons of files that failed to `failed.jsonl` in the output folder; return the exit status: 0, or 1 if
    any failed.

    Raises `ValueError` without a cluster, for an output folder that cannot be written, and for what no picture gets over,
    such as a network that cannot be loaded.
    """
    items = [Item(job.picture, job.folder, PICTURE) for job in jobs] + \
        [Item(file, folder, VIDEO) for file, folder in videos.items()]
    if not items:
        return 0
    failed: list[dict[str, str]] = []
    if any(not path.is_absolute() and not is_url(path) for item in items for path in (item.file, item.folder)):
        work = work._replace(started_in=Path.cwd())
    with marked(work.output_dir, "--output-dir") as mark, connected(address) as ray:
        start = time.perf_counter()
        try:
            with progress_bar(total=len(items), desc="files", unit="file") as bar:
                for row in rows_of(ray, items, work._replace(mark=mark), threads=threads):
                    _tell(row)
                    if row["failed"]:
                        failed.append({"file": place(Path(row["file"])), "reason": row["failed"]})
                    bar.set_postfix(failed=len(failed), refresh=False)
                    bar.update()
        except ray.exceptions.RayError as error:
            raise ValueError(f"--ray: {one_line(error)[:300]}") from None
        seconds = time.perf_counter() - start
        write_failed(failed, work.output_dir / "failed.jsonl")
    say(f"{len(items)} files in {seconds:.1f} s, {len(items) / seconds:.2f} a second, {len(failed)} failed")
    return 1 if failed else 0


def _tell(row: dict[str, str]) -> None:
    """Print what an actor said of a file. Raises `ValueError` for what every other file would meet too."""
    if row["fatal"]:
        raise ValueError(row["fatal"])
    if row["said"]:
        say(row["said"])
    for line in filter(None, row["notes"].splitlines()):
        complain(f"note: {line}")
    if row["failed"]:
        complain(f"error: {row['failed']}")


def write_failed(failed: Sequence[dict[str, str]], path: Path) -> None:
    """Write a line of JSON for each picture that failed, to a file or URL; without any, a file of before goes."""
    text = "".join(json.dumps(row, ensure_ascii=True) + "\n" for row in failed)
    if not is_url(path):
        path.unlink(missing_ok=True)
        if failed:
            write_text(path, text)
    elif failed:
        with local_results({"failed": path}) as results:
            write_text(results["failed"], text)
