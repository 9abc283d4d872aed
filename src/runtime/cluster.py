"""Mattes of many files on the machines of a Ray cluster: the work of one machine, handed to a pool of actors.

Ray Data hands out the files, restarts actors that died and gives their files to others; nothing of that is done here. No
torch here.
"""
from __future__ import annotations

import contextlib
import json
import logging
import os
import socket
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import ModuleType

from src.console import complain, progress_bar, say
from src.files import check_writable, write_text
from src.runtime.actor import Actor, Work
from src.runtime.pictures import Job
from src.runtime.places import check_place, is_url, local_results
from src.runtime.pool import usable_cores
from src.script import ROOT, one_line

# Seconds in which a cluster must answer.
PATIENCE = 10
# Pictures that an actor is handed at a time: what is done again where a machine is lost.
BLOCK = 8
# Bytes for what travels between Ray's processes of this machine, lines of text; by itself it takes a third of the memory.
STORE = 128 * 2 ** 20
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
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if not host or not port.isdecimal() or not 0 < int(port) < 65536:
        raise ValueError(f"--ray {address} is no address, expected HOST:PORT, auto, or nothing to use this machine alone")
    end = time.monotonic() + PATIENCE
    try:
        with socket.create_connection((host, int(port)), timeout=PATIENCE) as there:
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


def start_here(ray: ModuleType, cores: int) -> None:
    """Start a cluster on `cores` cores of this machine, for as long as this process lives."""
    ray.init("local", num_cpus=cores, object_store_memory=STORE, include_dashboard=False, log_to_driver=False,
             logging_level=logging.ERROR, runtime_env={"env_vars": {"PYTHONPATH": str(ROOT)}})


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
                # The repository's code travels, since it may lie elsewhere or nowhere on the other machines.
                ray.init(address=address, runtime_env={"py_modules": [str(ROOT / "src")]}, log_to_driver=False,
                         logging_level=logging.ERROR)
    except (ConnectionError, RuntimeError, ValueError, TimeoutError) as error:
        raise ValueError(f"--ray {address or '(this machine)'}: no cluster: {one_line(error)[:200]}; one with a token wants "
                         "it in RAY_AUTH_TOKEN") from None
    try:
        yield ray
    finally:
        ray.shutdown()


def rows_of(ray: ModuleType, items: Sequence[dict[str, str]], work: Work, *, threads: int,
            actor: type[Actor] = Actor) -> Iterator[dict[str, str]]:
    """Do `items` on the cluster's cores, an actor on every `threads` of them; the rows that it returns, in order."""
    cores = int(ray.cluster_resources().get("CPU", 1))
    actors = max(1, min(cores // threads, -(-len(items) // BLOCK)))
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    context.execution_options.preserve_order = True
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    data = ray.data.from_items(items, override_num_blocks=-(-len(items) // BLOCK))
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
    (check_place if is_url(work.output_dir) else check_writable)(work.output_dir, "--output-dir")
    items = [{"file": str(job.picture), "folder": "", "results": json.dumps({k: str(v) for k, v in job.results.items()})}
             for job in jobs] + [{"file": str(file), "folder": str(to), "results": ""} for file, to in videos.items()]
    if not items:
        return 0
    failed = []
    with connected(address) as ray:
        start = time.perf_counter()
        try:
            with progress_bar(total=len(items), desc="files", unit="file") as bar:
                for row in rows_of(ray, items, work, threads=threads):
                    _tell(row)
                    if row["failed"]:
                        failed.append({"file": row["file"], "reason": row["failed"]})
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
