from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from src.media.picture_results import PictureLook
from src.media.video_results import Look
from src.runtime.inputs import find_inputs
from src.runtime.pictures import Job, check_quality, named_files, plan, run_pictures
from src.runtime.video import plan_videos

ALPHA = PictureLook(("alpha",))


def pictures(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    return folder


def test_two_pictures_with_the_same_results_are_refused_by_name() -> None:
    with pytest.raises(ValueError, match="in/a.jpg and in/a.png would both be written to out/a_alpha.png: rename one"):
        plan([Path("in/a.jpg"), Path("in/a.png")], ALPHA, output_dir=Path("out"))


def test_a_result_never_overwrites_a_picture_nor_a_folder(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="the alpha of in/a.png would overwrite in/a_alpha.png"):
        plan([Path("in/a.png"), Path("in/a_alpha.png")], PictureLook(("cutout", "alpha")), output_dir=Path("in"))
    (tmp_path / "a_alpha.png").mkdir()
    with pytest.raises(ValueError, match="the alpha of a.png cannot be written: .*a_alpha.png is a folder"):
        plan([Path("a.png")], ALPHA, output_dir=tmp_path)


def test_a_failure_in_a_folder_is_named_the_rest_done_and_the_status_1(
        tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    pictures(tmp_path, "a.png", "b.png", "c.png")

    def work(job: Job) -> str:
        if job.picture.stem == "b":
            raise ValueError("too\nthin")
        return f"did {job.picture.name}"

    assert run_pictures(find_inputs([tmp_path]), work, ALPHA, output_dir=tmp_path / "out") == 1
    said = capsys.readouterr()
    assert "did a.png" in said.out and "did c.png" in said.out
    assert said.err == f"error: {tmp_path / 'b.png'}: too thin\n1 of 3 pictures failed\n"
    with pytest.raises(ValueError, match="b.png: too thin"):
        run_pictures(find_inputs([tmp_path / "b.png"]), work, ALPHA, output_dir=tmp_path / "out")


def test_what_is_there_is_skipped_on_request(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    inputs = find_inputs([pictures(tmp_path / "in", "a.png", "b.png")])
    pictures(tmp_path / "out", "a_alpha.png", "a_cutout.png", "b_alpha.png")
    done = []

    def work(job: Job) -> str:
        done.append(job.picture.name)
        return "done"

    look = PictureLook(("alpha", "cutout"))
    assert run_pictures(inputs, work, look, output_dir=tmp_path / "out", skip_existing=True) == 0
    assert done == ["b.png"] and "1 of 2 pictures left out" in capsys.readouterr().out
    run_pictures(inputs, work, look, output_dir=tmp_path / "out")
    assert done == ["b.png", "a.png", "b.png"]


def test_a_full_disk_ends_a_folder_at_once(tmp_path: Path) -> None:
    tried = []

    def work(job: Job) -> str:
        tried.append(job.picture.name)
        raise OSError(errno.ENOSPC, "No space left on device", str(job.picture))

    with pytest.raises(OSError, match="No space left"):
        run_pictures(find_inputs([pictures(tmp_path, "a.png", "b.png")]), work, ALPHA, output_dir=tmp_path / "out")
    assert tried == ["a.png"]


def test_a_quality_goes_with_a_format_that_has_one() -> None:
    assert check_quality("png", None) == 90 and check_quality("jpg", 35) == 35
    with pytest.raises(ValueError, match="--quality is 101, allowed are whole numbers from 1 to 100"):
        check_quality("webp", 101)
    with pytest.raises(ValueError, match="--quality 90 goes with --format jpg or webp"):
        check_quality("png", 90)


def test_no_other_input_of_the_run_is_written_over(tmp_path: Path) -> None:
    behind = pictures(tmp_path, "a_composite.png") / "a_composite.png"
    (tmp_path / "link").symlink_to(tmp_path)
    for name in (behind, tmp_path / "link" / "a_composite.png"):
        with pytest.raises(ValueError, match="the composite of a.png would overwrite .*a_composite.png, an input"):
            plan([Path("a.png")], PictureLook(), output_dir=tmp_path, kept=named_files(name, None))
    plan([Path("a.png")], PictureLook(), output_dir=tmp_path, kept=named_files("blur", "1,2,3"))


def test_results_of_videos_overwrite_no_input_nor_one_another(tmp_path: Path) -> None:
    look = Look(("alpha", "composite"), lambda image, alpha, time: (0, 0, 0))
    with pytest.raises(ValueError, match="x.avi and x.mov would both be written to .*x_alpha.mp4"):
        plan_videos([Path("x.avi"), Path("x.mov")], look, output_dir=tmp_path)
    for name in ("x_composite.mp4", "x_times.json"):
        with pytest.raises(ValueError, match=f"would overwrite .*{name}, an input"):
            plan_videos([Path("x.avi")], look, output_dir=tmp_path, kept=[tmp_path / name])
    os.mkfifo(tmp_path / "x_alpha.mp4")
    with pytest.raises(ValueError, match="the alpha of x.avi cannot be written: .* is no plain file"):
        plan_videos([Path("x.avi")], look, output_dir=tmp_path)
