"""A step runs once for the same inputs, and again when an input or output changes."""
import os
import shutil

import cv2
import numpy as np
import pytest

from src.paper.resumable import Steps


def run(steps, source, output, calls):
    def work():
        calls.append(steps.was_started("a"))
        output.write_text("made")
        return {"answer": len(calls)}

    return steps.run("a", work, inputs=[source, 1], outputs=[output])


def test_done_steps_are_not_done_again(tmp_path):
    source, output, calls = tmp_path / "in.ckpt", tmp_path / "out" / "x.txt", []
    output.parent.mkdir()
    source.write_text("one")
    assert run(Steps(output.parent), source, output, calls) == {"answer": 1}
    assert run(Steps(output.parent), source, output, calls) == {"answer": 1}
    assert len(calls) == 1
    source.write_text("two")
    assert run(Steps(output.parent), source, output, calls) == {"answer": 2}
    output.unlink()
    assert run(Steps(output.parent), source, output, calls) == {"answer": 3}
    assert calls == [False, False, False]


def test_an_interrupted_step_knows_that_it_was_begun(tmp_path):
    source = tmp_path / "in.ckpt"
    source.write_text("one")

    def stop():
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Steps(tmp_path).run("a", stop, inputs=[source], outputs=[])
    steps, seen = Steps(tmp_path), []
    steps.run("a", lambda: seen.append(steps.was_started("a")), inputs=[source], outputs=[])
    assert seen == [True]


def test_a_data_set_copied_anew_is_the_same_and_one_with_another_picture_of_the_same_length_is_not(tmp_path):
    def begun():
        folder = tmp_path / "data"
        return Steps(tmp_path).run("a", lambda: {"answer": calls.append(0) or len(calls)}, inputs=[[folder, 1.0]],
                                   outputs=[])["answer"]

    calls, picture = [], tmp_path / "data" / "val" / "fg" / "1.bmp"
    picture.parent.mkdir(parents=True)
    cv2.imwrite(str(picture), np.full((8, 8, 3), 10, np.uint8))
    assert begun() == begun() == 1
    shutil.copytree(tmp_path / "data", tmp_path / "again")
    shutil.rmtree(tmp_path / "data")
    (tmp_path / "again").rename(tmp_path / "data")
    os.utime(picture, ns=(1, 1))
    assert begun() == 1
    size = picture.stat().st_size
    cv2.imwrite(str(picture), np.full((8, 8, 3), 11, np.uint8))
    assert picture.stat().st_size == size and begun() == 2
    picture.rename(picture.with_name("2.bmp"))
    assert begun() == 3


def test_pictures_of_linked_folders_count_and_a_link_in_a_circle_ends(tmp_path):
    def begun():
        return Steps(tmp_path).run("a", lambda: {"answer": calls.append(0) or len(calls)}, inputs=[tmp_path / "data"],
                                   outputs=[])["answer"]

    calls, picture = [], tmp_path / "elsewhere" / "fg" / "1.png"
    picture.parent.mkdir(parents=True)
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "val").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "elsewhere" / "back").symlink_to(tmp_path / "data")
    cv2.imwrite(str(picture), np.full((8, 8, 3), 10, np.uint8))
    assert begun() == begun() == 1
    cv2.imwrite(str(picture), np.full((8, 8, 3), 11, np.uint8))
    assert begun() == 2
