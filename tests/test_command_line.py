"""Numbers on command lines that are too large, and fields told by their flags."""
from __future__ import annotations

from pathlib import Path

import pytest

from src.command_line import Parser, told_by_flags
from src.pruning.stepwise import add_step_options, step_recipe
from src.training.options import make_recipe, parse_train_args


@pytest.mark.parametrize(("args", "said"), [
    (["--list", "1", str(2 ** 31)], "--list has 2147483648, allowed are whole numbers up to 2147483647"),
    (["--n", "1" + "0" * 400], "--n is 1000"), (["--n", "9" * 5000], "invalid int value"), (["--n", "0x10"], "invalid int"),
    (["--n", ""], "invalid int value: ''"), (["--workers", "257"], "--workers is 257, allowed are whole numbers up to 256"),
    (["--rate", "x" * 5000], "invalid float value"), (["--n", "1_0"], "--n: invalid int value: '1_0'"),
    (["--list", "1", "\u0665"], "--list: invalid int value"), (["--rate", "1_0.5"], "--rate: invalid float value"),
    (["--path", ""], "--path: is given an empty text"), (["--word", ""], "--word: is given an empty text"),
    (["--paths", "a", "--n", "2", "--paths", "b"], "--paths: comes twice: give all of its values after one"),
    (["--n=--"], "--n: is given --"), (["--word", "a", "--path"], "--path: expected one argument")])
def test_each_is_named_by_its_flag_in_a_line_that_is_not_long(args: list[str], said: str, capsys) -> None:
    parser = Parser(__doc__)
    parser.add_argument("--rate", type=float)
    parser.add_argument("--list", type=int, nargs="+")
    parser.add_argument("--path", type=Path)
    parser.add_argument("--paths", type=Path, nargs="+")
    parser.add_argument("--word")
    for name in ("--n", "--workers"):
        parser.add_argument(name, type=int)
    with pytest.raises(SystemExit) as ended:
        parser.parse_args(args)
    (line,) = capsys.readouterr().err.splitlines()
    assert ended.value.code == 2 and line.startswith("error: ") and said in line and len(line) < 250


def test_of_numbers_the_last_counts() -> None:
    parser = Parser(__doc__)
    parser.add_argument("--size", type=int, nargs="+")
    assert parser.parse_args(["--size", "1", "--size", "2", "3"]).size == [2, 3]


def test_the_home_that_a_shell_left_as_it_is_is_meant(monkeypatch) -> None:
    monkeypatch.setenv("HOME", "/home/me")
    parser = Parser(__doc__)
    parser.add_argument("--image-path", nargs="+")
    parser.add_argument("--output-dir", type=Path)
    found = parser.parse_args(["--image-path", "~/holiday/*.jpg", "a~b.jpg", "~$letter.docx", "./~/x", "--output-dir=~/out"])
    assert found.image_path == ["/home/me/holiday/*.jpg", "a~b.jpg", "~$letter.docx", "./~/x"]
    assert found.output_dir == Path("/home/me/out")


def test_a_flag_whose_value_may_be_left_out_may_stand_alone() -> None:
    parser = Parser(__doc__)
    parser.add_argument("--ray", nargs="?", const="", default=None)
    assert [parser.parse_args(args).ray for args in ([], ["--ray"], ["--ray", "host"])] == [None, "", "host"]


def test_a_field_of_a_recipe_is_told_by_the_flag_that_set_it() -> None:
    parser = Parser(__doc__)
    add_step_options(parser)
    parser.add_argument("--seed", type=int, default=0)
    for flag, value in (("--step-lr", "-1"), ("--step-epochs", "0"), ("--step-batch-size", "-3"),
                        ("--step-input-size", "7")):
        with pytest.raises(ValueError, match=f"^{flag} is {value}"):
            step_recipe(parser.parse_args([flag, value]))
    with pytest.raises(ValueError, match="^--epoch is 0"):
        make_recipe(parse_train_args(None, ["--model-path", "x.ckpt", "--epoch", "0"]))
    with pytest.raises(ValueError, match="^other is 1"), told_by_flags({"lr": "--lr"}):
        raise ValueError("other is 1")
