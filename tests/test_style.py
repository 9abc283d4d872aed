"""House rules that a machine can check: docstrings, sizes of files and functions, one place that loads checkpoints."""
from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

from tests.conftest import ROOT

MOST_LINES, LONGEST_FUNCTION = 220, 60
# How a first line begins that says what a function is or who does it, instead of what to do.
NOT_IMPERATIVE = {"The", "A", "An", "Whether", "What", "Which", "Where", "How", "This", "It", "For", "As"}
VERBS_IN_S = {"Pass", "Process", "Compress", "Guess", "Express", "Focus", "Address", "Assess", "Discuss", "Press"}
Definition = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef


def sources(*folders: str) -> list[Path]:
    """The Python files at the top and in `folders`, sorted."""
    return sorted([*ROOT.glob("*.py"), *(path for folder in folders for path in (ROOT / folder).rglob("*.py"))])


def definitions(body: list[ast.stmt], prefix: str = "") -> Iterator[tuple[str, Definition]]:
    """Functions, classes and methods with their dotted names; not what stands inside functions."""
    for node in body:
        if isinstance(node, Definition):
            yield prefix + node.name, node
        if isinstance(node, ast.ClassDef):
            yield from definitions(node.body, f"{prefix}{node.name}.")


def is_public(name: str) -> bool:
    """Whether no part of a dotted name is private; what `__init__` and its kin do is the class's to say."""
    return not any(part.startswith("_") for part in name.split("."))


def is_property(node: Definition) -> bool:
    """Whether a function is read like an attribute, and so is named and described by a noun."""
    return any(isinstance(mark, ast.Name) and "property" in mark.id for mark in node.decorator_list)


def undescribed(path: Path) -> list[str]:
    """What in a file lacks a docstring that it should have."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    names = [name for name, node in definitions(tree.body) if is_public(name) and not ast.get_docstring(node)]
    return ([] if ast.get_docstring(tree) else ["module"]) + names


def wrongly_begun(path: Path) -> list[str]:
    """Functions of a file whose docstring does not begin with what to do."""
    found = []
    for name, node in definitions(ast.parse(path.read_text(encoding="utf-8")).body):
        words = (ast.get_docstring(node) or "").split()
        if not words or isinstance(node, ast.ClassDef) or is_property(node):
            continue
        word = words[0].rstrip(",:;.")
        third_person = word.endswith("s") and word.isalpha() and word not in VERBS_IN_S
        if word in NOT_IMPERATIVE or third_person or not word.isalpha() or not word[0].isupper():
            found.append(f"{name}: {' '.join(words[:5])}")
    return found


def collect(check: object, *folders: str) -> list[str]:
    """Whatever `check` finds, each with its file."""
    return [f"{path.relative_to(ROOT)}: {said}" for path in sources(*folders) for said in check(path)]


def test_every_module_class_and_function_says_what_it_is_for():
    assert collect(undescribed, "src", "onnx") == []


def test_functions_say_what_to_do():
    assert collect(wrongly_begun, "src", "onnx", "bench") == []


def test_no_file_is_too_long_to_read_at_once():
    lengths = {path.relative_to(ROOT): len(path.read_text(encoding="utf-8").splitlines()) for path in sources("src", "onnx")}
    assert {str(path): length for path, length in lengths.items() if length > MOST_LINES} == {}


def test_no_function_is_longer_than_a_screen():
    def too_long(path: Path) -> list[str]:
        tree = ast.parse(path.read_text(encoding="utf-8"))
        lengths = {name: node.end_lineno - node.lineno + 1 for name, node in definitions(tree.body)
                   if not isinstance(node, ast.ClassDef)}
        return [f"{name} has {length} lines" for name, length in lengths.items() if length > LONGEST_FUNCTION]

    assert collect(too_long, "src", "onnx") == []


def test_files_of_tensors_are_loaded_in_one_place():
    found = [str(path.relative_to(ROOT)) for path in sources("src", "onnx", "bench")
             for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
             if isinstance(node, ast.Attribute) and node.attr == "load" and isinstance(node.value, ast.Name)
             and node.value.id == "torch"]
    assert set(found) == {"src/state_file.py"}


def test_the_rules_find_what_breaks_them(tmp_path: Path):
    path = tmp_path / "a.py"
    path.write_text('def f():\n    "Writes a file."\ndef g(): pass\nclass A:\n    "A thing."\n    def h(self): pass\n'
                    '    @property\n    def p(self):\n        "The p."\ndef _q(): pass\ndef k():\n    "Write it."\n')
    assert undescribed(path) == ["module", "g", "A.h"]
    assert wrongly_begun(path) == ["f: Writes a file."]
