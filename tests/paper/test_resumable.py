"""A step runs once for the same inputs, and again when an input or output changes."""
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
