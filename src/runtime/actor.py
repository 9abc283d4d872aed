"""The work of one member of a cluster: a compiled network, and the pictures and videos that it is handed. No torch here."""
from __future__ import annotations

import contextlib
import os
import socket
from pathlib import Path
from typing import Any, NamedTuple

from src.console import as_line
from src.files import check_writable
from src.media.backdrop import parse_backdrop
from src.media.picture_decoder import limit_pixels
from src.media.picture_reader import read_picture
from src.media.picture_results import PictureLook, save_results
from src.media.video_reader import VideoReader
from src.media.video_results import Look
from src.runtime.matting import Matting
from src.runtime.network import shipped_model
from src.runtime.pictures import Job, in_milliseconds, is_full, written
from src.runtime.pipeline import keep_freed_memory, one_opencv_thread
from src.runtime.places import exists, local_copy, local_folder, local_results
from src.runtime.video import matte_video, report_video
from src.script import NetworkError, one_line
from src.urls import is_url, place

# What a row is of.
PICTURE, VIDEO = "picture", "video"


class Work(NamedTuple):
    """What every actor needs to know."""

    matting: dict[str, Any]             # keywords of `Matting`
    output_dir: Path
    max_pixels: int                     # of pictures that are read
    picture: dict[str, Any]             # fields of `PictureLook`, with the text of `--background` instead of a backdrop
    video: dict[str, Any]               # fields of `Look`, likewise
    mark: Path | None = None            # a file that is seen wherever `output_dir` is the same place
    started_in: Path | None = None      # the folder from which relative paths go, if there are any


def work_of(network: dict[str, Any], pictures: PictureLook, videos: Look, *, background: str, **others: Any) -> Work:
    """Return the work for a network and two looks, whose backdrop is told by the text of `--background`."""
    # Another machine has its copy of the code elsewhere, without the networks that ship.
    model = Path(network["model_path"] or shipped_model()).absolute()
    ground = str(Path(background).absolute()) if Path(background).is_file() else background
    picture, video = ({name: value for name, value in look._asdict().items() if name != "backdrop"} | {"background": ground}
                      for look in (pictures, videos))
    return Work(matting={**network, "model_path": model}, picture=picture, video=video, **others)


def _look_of(kind: type, fields: dict[str, Any]) -> Any:
    """Make a look with its backdrop, which may be a picture that lies where the work is done. Raises `ValueError`."""
    fields = dict(fields)
    return kind(backdrop=parse_backdrop(fields.pop("background")), **fields)


class Actor:
    """One compiled network and the pictures that it is given; one on every `threads` cores."""

    def __init__(self, work: Work) -> None:
        self._work = work
        self._ready: tuple[Matting, PictureLook] | None = None

    def _open(self) -> tuple[Matting, PictureLook]:
        # Not in `__init__`: an actor that cannot be made is made again and again.
        if self._ready is None:
            limit_pixels(self._work.max_pixels)
            if self._work.started_in is not None:
                os.chdir(self._work.started_in)
            if not is_url(self._work.output_dir):
                check_writable(self._work.output_dir, "--output-dir")
            if self._work.mark is not None and not exists(self._work.mark):
                raise ValueError(f"--output-dir {place(self._work.output_dir)} is another place here than where the run was "
                                 "started, expected a folder or URL that all machines share")
            keep_freed_memory()
            self._ready = Matting(**self._work.matting), _look_of(PictureLook, self._work.picture)
        return self._ready

    def __call__(self, row: dict[str, Any]) -> dict[str, str]:
        """Do one picture or video, a row of `table_of`; the row that comes back has its line in `said` and notes in
        `notes`, or a reason in `failed`, or in `fatal` one that every other picture of this actor would have."""
        file, folder = (Path(os.fsdecode(row[name])) for name in ("file", "folder"))
        back = {"file": str(file), "said": "", "notes": "", "failed": "", "fatal": ""}
        try:
            matting, look = self._open()
        except (ValueError, OSError) as error:
            return back | fatal(error)
        try:
            if row["kind"] == VIDEO:
                return back | matte_video_file(file, folder, self._work)
            with one_opencv_thread():
                return back | {"said": matte_job(matting, Job(file, folder, look), look)}
        except NetworkError as error:
            return back | fatal(error)
        except (ValueError, OSError, MemoryError) as error:
            name = place(file)
            said = one_line(error, name) or "not enough memory"
            if is_full(error):
                return back | {"fatal": said}
            name = as_line(name)
            return back | {"failed": said if name in said else f"{name}: {said}"}


def matte_job(matting: Matting, job: Job, look: PictureLook) -> str:
    """Write the results of one picture, which may be at URLs as these may; return the line that says so."""
    with local_copy(job.picture) as path:
        picture = read_picture(path)
    alpha = matting.alpha(picture.over())
    with local_results(job.results) as results:
        save_results(picture, alpha, results, look)
    return f"{place(job.picture)}: {in_milliseconds(matting.milliseconds)} -> {written(list(job.results.values()))}"


def matte_video_file(file: Path, folder: Path, work: Work) -> dict[str, str]:
    """Write the results of a video to `folder`, which may be a URL as the video may; return its line, notes and what of it
    could not be read."""
    # A network of its own, since it is compiled anew for the size of the video.
    matting = Matting(**work.matting, hint="throughput")
    with local_copy(file) as path, local_folder(folder) as here, contextlib.closing(VideoReader(str(path))) as reader:
        done = matte_video(reader, matting, _look_of(Look, work.video), output_dir=here)
        said = report_video(done, reader, matting, here)
    failed = f"{place(file)}: read in part, {'; '.join(done.problems)}" if done.problems else ""
    return {"said": said, "notes": "\n".join(done.remarks), "failed": failed}


def fatal(error: Exception) -> dict[str, str]:
    """Return what a row says of what every other picture would meet too, and on which machine."""
    return {"fatal": f"{one_line(error)} (on {socket.gethostname()})"}
