"""The documentation names only what exists: paths, script options, imports, links and pictures; README stays short."""
from __future__ import annotations

import argparse
import functools
import importlib
import importlib.util
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from tests.conftest import ROOT

PAGES = sorted([ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").glob("*.md"),
                *(ROOT / folder / "README.md" for folder in ("bench", "pretrained", "data"))])
README_LINES = 180
SCRIPT_FOLDERS = (".", "src", "src/data", "onnx", "bench")
# Files of others, which the documentation names and this repository does not hold.
FOREIGN = {"modnet_photographic_portrait_matting.ckpt", "modnet_webcam_portrait_matting.ckpt", "mobilenetv2_human_seg.ckpt",
           "new_modnet.ckpt", "install_NCS_udev_rules.sh"}
TEXT_SUFFIXES, MODEL_SUFFIXES = {".py", ".sh", ".md", ".toml", ".yml", ".txt"}, {".ckpt", ".xml"}
# `PORTRAITS`, `D`, `X.ckpt`, `X_epochN.ckpt`, `A.xml`: the reader puts a name of their own there.
PLACEHOLDER = re.compile(r"(?:[A-Z][A-Z0-9_]*|[A-Z]_\w+)(?:\.\w+)*")
INDENTED = re.compile(r"(?:\A|\n[ \t]*\n)((?: {4}.*(?:\n[ \t]*)*(?:\n|\Z))+)")
# Markdown takes an indented block right after a list for a part of its last item, not for code.
SWALLOWED = re.compile(r"^(?:- |\d+\. ).*\n(?: {2,}\S.*\n)*\n+( {4}\S.*)", re.M)
FENCED = re.compile(r"^```.*?\n(.*?)^```", re.M | re.S)


def code_of(text: str) -> tuple[list[str], list[str]]:
    """Command lines of the code blocks of a Markdown text, and its spans in backticks."""
    blocks = []
    for pattern in (FENCED, INDENTED):
        blocks += pattern.findall(text)
        text = pattern.sub("\n\n", text)
    lines = [line.strip() for block in blocks for line in block.replace("\\\n", " ").splitlines()]
    return lines, [" ".join(span.split()) for span in re.findall(r"`([^`]+)`", text)]


@functools.cache
def files() -> dict[str, Path]:
    """The repository's files by name, without what git ignores and without hidden folders of tools."""
    folders = ("src", "tests", "bench", "docs", "onnx", "pretrained", "data")
    found = [path for folder in folders for path in (ROOT / folder).rglob("*") if path.is_file()]
    return {path.name: path for path in [*found, *(path for path in ROOT.iterdir() if path.is_file())]}


@functools.cache
def made_by_users() -> tuple[str, ...]:
    """Folders that git ignores: what they hold exists after a command, not before."""
    lines = (ROOT / ".gitignore").read_text(encoding="utf-8").split()
    return tuple(line.rstrip("*/") + "/" for line in lines if "/" in line and not line.startswith("!"))


def missing_path(word: str, page: Path) -> bool:
    """Whether `word` is the path of a file or folder of this repository that is not there."""
    word = re.sub(r":\d*$", "", word.strip("\"'()[],;").rstrip(".:")).removeprefix("./")
    path = Path(word)
    if (not re.fullmatch(r"[\w.*/-]*\w[\w.*/-]*", word) or f"{word}/".startswith(("-", "/", "..", *made_by_users()))
            or any(PLACEHOLDER.fullmatch(part) for part in path.parts if part not in files()) or path.name in FOREIGN):
        return False
    if "/" in word:
        ours = (ROOT / path.parts[0]).exists() or path.suffix in TEXT_SUFFIXES
        return ours and not any(ROOT.glob(word)) and not any(page.parent.glob(word))
    # A list in a text file is the user's own, as a picture is.
    named = path.suffix in TEXT_SUFFIXES - {".txt"} | MODEL_SUFFIXES or word.startswith("requirements")
    return named and "*" not in word and word not in files()


@functools.cache
def scripts() -> dict[str, Path]:
    """Every script of the repository by its path as a user writes it."""
    found = [path for folder in SCRIPT_FOLDERS for path in sorted((ROOT / folder).glob("*.py"))]
    return {path.relative_to(ROOT).as_posix(): path for path in found if "__main__" in path.read_text(encoding="utf-8")}


def loaded(name: str, path: Path) -> ModuleType:
    """The module of a script. The folder `onnx/` is no package, since it would hide the installed one."""
    if not name.startswith("onnx/"):
        return importlib.import_module(name.removesuffix(".py").replace("/", "."))
    spec = importlib.util.spec_from_file_location(f"docs_{path.stem}", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class _Caught(Exception):
    pass


def of_parser(parser: argparse.ArgumentParser) -> set[str]:
    """The options of a parser and of its sub-commands."""
    found = {option for action in parser._actions for option in action.option_strings}
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            found |= {option for child in action.choices.values() for option in of_parser(child)}
    return found


@functools.cache
def options(name: str) -> frozenset[str]:
    """The options of a script, from the parser that it asks; none of one that `run_script` does not run."""
    def catch(parser: argparse.ArgumentParser, *args: object, **kwargs: object) -> None:
        raise _Caught(parser)

    if "run_script(main" not in scripts()[name].read_text(encoding="utf-8"):
        return frozenset()
    path = list(sys.path)
    with pytest.MonkeyPatch.context() as patch:
        module = loaded(name, scripts()[name])
        patch.setattr(argparse.ArgumentParser, "parse_known_args", catch)
        try:
            module.main(["--help"])
        except _Caught as caught:
            return frozenset(of_parser(caught.args[0]))
        finally:
            sys.path[:] = path
    raise ValueError(f"{name} asks no parser")


def wrong_options(line: str) -> Iterator[str]:
    """The options of a command line that its script does not have; those of other programs are not looked at."""
    script = None
    for word in line.split():
        script = None if word in ("&&", "|", ";") else script
        name = word.removeprefix("./")
        if name in scripts():
            script = name
        elif word.startswith("--") and script and word.partition("=")[0] not in options(script):
            yield f"{script} {word}"


def wrong(text: str, page: Path) -> list[str]:
    """One line for everything in the code of a Markdown text that does not exist."""
    lines, spans = code_of(text)
    said = [f"path {word}" for line in [*lines, *spans] for word in line.split() if missing_path(word, page)]
    said += [f"option {word}" for line in [*lines, *spans] for word in wrong_options(line)]
    known = frozenset().union(*map(options, scripts()))
    bare = {word.partition("=")[0].rstrip(",;") for span in spans if span.startswith("--") for word in span.split()}
    said += [f"option {word}" for word in sorted(bare) if word.startswith("--") and word not in known]
    for module, names in re.findall(r"^from (\S+) import ([\w, ]+)$", "\n".join(lines), re.M):
        if module.partition(".")[0] in ("src", "inference_openvino"):
            found = importlib.import_module(module)
            said += [f"import {module}.{name}" for name in names.split(", ") if not hasattr(found, name)]
    return said


def anchors(page: Path) -> set[str]:
    """The names under which GitHub links to the headings of a page."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.M)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def dead_links(text: str, page: Path) -> list[str]:
    """The relative links and pictures of a Markdown text that lead to no file, or to no heading of one."""
    targets = re.findall(r"\]\(([^)\s]+)\)", text) + re.findall(r"\b(?:src|href)=\"([^\"]+)\"", text)
    said = []
    for target in targets:
        name, _, anchor = target.partition("#")
        path = page.parent / name if name else page
        if not re.match(r"\w+:", target) and (not path.exists() or anchor and anchor not in anchors(path)):
            said.append(target)
    return said


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_every_path_option_and_import_that_a_page_names_exists(page):
    assert wrong(page.read_text(encoding="utf-8"), page) == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_every_relative_link_and_picture_of_a_page_exists(page):
    assert dead_links(page.read_text(encoding="utf-8"), page) == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_no_command_is_swallowed_by_a_list(page):
    assert SWALLOWED.findall(page.read_text(encoding="utf-8")) == []


def test_readme_is_short():
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) <= README_LINES


def test_readme_counts_the_kinds_of_trouble_that_the_page_of_inputs_lists():
    (said,) = re.findall(r"(\d+) kinds of trouble", (ROOT / "README.md").read_text(encoding="utf-8"))
    numbers = re.findall(r"^\| (\d+) \|", (ROOT / "docs" / "inputs.md").read_text(encoding="utf-8"), re.M)
    assert numbers == [str(number) for number in range(1, int(said) + 1)]


def test_every_script_with_options_is_named_in_the_documentation():
    text = "\n".join(page.read_text(encoding="utf-8") for page in PAGES)
    assert [name for name in scripts() if options(name) and name not in text] == []


def test_options_come_from_the_scripts_themselves():
    assert {"--model-path", "--resume", "--semantic-only-dir"} <= options("src/trainer.py")
    assert {"--ckpt_path", "--ckpt-path", "--search"} <= options("main_prune.py")
    assert {"--onnx-path", "--calib-dir"} <= options("onnx/convert_openvino.py")


@pytest.mark.parametrize(("text", "expected"), [
    ("See `src/nowhere.py`.", ["path src/nowhere.py"]),
    ("See `scr/trainer.py` and `src/trainer.py: main`.", ["path scr/trainer.py"]),
    ("`pretrained/gone_*.xml`, `gone_modnet.ckpt`, `nothing.py`",
     ["path pretrained/gone_*.xml", "path gone_modnet.ckpt", "path nothing.py"]),
    ("`requirements-no.txt`, `--list files.txt`, `--no-list`", ["path requirements-no.txt", "option --no-list"]),
    ("`result/X.ckpt`, `PORTRAITS/train`, `D/../weights/a.pth`, `X_epochN.ckpt`, `holiday/*.jpg`, `.md`", []),
    ("    python src/trainer.py --model-path result/X.ckpt --epochs 4\n", ["option src/trainer.py --epochs"]),
    ("    torchrun --nproc-per-node 2 src/trainer.py \\\n        --lr=1 --flr=2\n", ["option src/trainer.py --flr=2"]),
    ("    pip install --quiet x && python src/eval.py --resume && ls --all\n", ["option src/eval.py --resume"]),
    ("```\npython src/eval.py --sheets 3\n```\n", ["option src/eval.py --sheets"]),
    ("With `--tea-cher` or `--optimizer sgd, adamw`.", ["option --tea-cher"]),
    ("    from src.checkpoint import load_model, save_nothing\n", ["import src.checkpoint.save_nothing"]),
    ("- a list\n    that goes on with src/nowhere.py\n", []),
])
def test_what_does_not_exist_is_found(text, expected):
    assert wrong(text, ROOT / "README.md") == expected


def test_a_dead_link_is_found():
    text = '[a](docs/results.md#speed) [b](docs/results.md#nothing) ![c](data/no.png) <img src="no.webp"> [d](https://x.y/z)'
    assert dead_links(text, ROOT / "README.md") == ["docs/results.md#nothing", "data/no.png", "no.webp"]
