"""Which room of `src/` may import which: the arrows of the design go one way, and the runtime goes without torch."""
from __future__ import annotations

import ast
from pathlib import Path

import pytest

from tests.conftest import ROOT

# What a room may import directly, besides itself and `SHARED`.
MAY_IMPORT = {
    "models": set(),
    "media": set(),
    "data": {"models", "media"},
    "runtime": {"media"},
    "page": {"media", "runtime"},
    "evaluation": {"models", "data", "media", "runtime"},
    "training": {"models", "data", "media", "evaluation"},
    "deploy": {"models", "media", "runtime"},
    "pruning": {"models", "media", "data", "deploy", "runtime", "training", "evaluation"},
    "paper": {"models", "media", "data", "deploy", "runtime", "training", "evaluation", "pruning"},
}
# Files at the root of `src/` that rooms share, each with the rooms it needs itself.
SHARED = {"files": set(), "urls": set(), "results": set(), "records": set(), "command_line": set(),
          "state_file": set(), "console": set(), "interrupts": set(), "environment": set(), "script": set(),
          "checkpoint": {"models"}, "complexity": {"models"}}
WITHOUT_TORCH = ("media", "runtime", "page")


def imports(path: Path) -> set[str]:
    """Dotted names of all modules that a file imports, inside functions too."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
    return found


def wrong_arrows(source: Path) -> list[str]:
    """One line for each import of a room or a shared file that the tables above do not allow."""
    said = []
    for path in sorted(source.rglob("*.py")):
        inside = path.relative_to(source).parts
        room = inside[0] if len(inside) > 1 else path.stem
        if room not in MAY_IMPORT | SHARED:
            if len(inside) > 1:
                said.append(f"{path.relative_to(source)}: the room {room} is not in the table")
            continue
        allowed = (MAY_IMPORT | SHARED)[room] | {room}
        for name in imports(path):
            parts = name.split(".")
            if parts[0] != "src" or len(parts) < 2:
                continue
            target = parts[1]
            bare = room in ("models", "media") and target in ("script", "checkpoint", "complexity")
            if target not in allowed and (target not in SHARED or bare):
                said.append(f"{path.relative_to(source)} imports {target}")
    return sorted(set(said))


def closure(start: set[Path], source: Path) -> set[Path]:
    """Files of `source` that importing those of `start` loads, themselves included."""
    seen, waiting = set(), set(start)
    while waiting:
        path = waiting.pop()
        seen.add(path)
        for name in imports(path):
            parts = name.split(".")
            if parts[0] == "src":
                waiting |= {file for file in (source.joinpath(*parts[1:]).with_suffix(".py"),) if file.is_file()} - seen
    return seen


def test_every_room_imports_only_what_its_row_allows():
    assert wrong_arrows(ROOT / "src") == []


def test_the_table_has_no_circle():
    order: list[str] = []
    while len(order) < len(MAY_IMPORT):
        ready = [room for room, needs in MAY_IMPORT.items() if room not in order and needs <= set(order)]
        assert ready, f"a circle among {set(MAY_IMPORT) - set(order)}"
        order += ready


def test_every_folder_of_src_is_a_room_of_the_table():
    folders = {path.name for path in (ROOT / "src").iterdir() if (path / "__init__.py").is_file()}
    assert folders == set(MAY_IMPORT)


@pytest.mark.parametrize("room", WITHOUT_TORCH)
def test_no_torch_where_people_only_run_networks(room):
    source = ROOT / "src"
    files = closure(set((source / room).rglob("*.py")), source)
    assert [str(path.relative_to(source)) for path in sorted(files)
            if {name.partition(".")[0] for name in imports(path)} & {"torch", "torchvision"}] == []


def test_an_import_against_an_arrow_is_found(tmp_path):
    for name, text in (("media/a.py", "def f():\n    from src.runtime.b import x\n"), ("runtime/b.py", "x = 1\n"),
                       ("media/c.py", "import src.checkpoint\n"), ("cellar/d.py", "")):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    assert wrong_arrows(tmp_path) == ["cellar/d.py: the room cellar is not in the table", "media/a.py imports runtime",
                                      "media/c.py imports checkpoint"]


def test_two_files_never_differ_by_a_plural_alone():
    stems = {path.stem for path in (ROOT / "src").rglob("*.py") if path.stem != "__init__"}
    assert sorted(stem for stem in stems if {f"{stem}s", f"{stem}es"} & stems) == []
