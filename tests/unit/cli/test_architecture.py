"""The house is as docs/architecture.md says: its paths exist, imports go down its tables, and never in a circle."""

import ast
import functools
import re
from collections.abc import Container, Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
EXCEPTIONS = {
    ("st.text.vocabulary", "st.data.config"): "the data config is a leaf; it says how the vocabulary's files are called"
}
"""Imports that climb, and why they may."""


def floors(page: str) -> dict[str, int]:
    """Return the number of each file's or folder's row in the tables of folders, from the top."""
    rows = re.findall(r"^\| (`(?:st|covost)/[^|]*) \|", page, re.MULTILINE)
    return {path: number for number, row in enumerate(rows) for path in re.findall(r"`([^`]+)`", row)}


def floor(path: str, known: dict[str, int]) -> int:
    """Return the row of a file; that of the longest folder which has it."""
    names = [path, *(f"{parent}/" for parent in Path(path).parents)]
    found = next((name for name in names if name in known), None)
    assert found, f"{path}: has no row in docs/architecture.md; add it, or its folder, where it belongs"
    return known[found]


def modules(root: Path) -> dict[str, Path]:
    """Return the files of both packages by the names of their modules."""
    files = [file for package in ("st", "covost") for file in (root / package).rglob("*.py")]
    return {".".join(file.relative_to(root).with_suffix("").parts).removesuffix(".__init__"): file for file in files}


def imports(file: Path, known: Container[str]) -> Iterator[str]:
    """Yield the modules of both packages that a file imports, wherever it does."""
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in known)
        elif isinstance(node, ast.ImportFrom) and node.module is not None:
            names = [(f"{node.module}.{alias.name}", node.module) for alias in node.names]
            yield from (name if name in known else module for name, module in names if name in known or module in known)


@functools.cache
def graph(root: Path) -> dict[str, set[str]]:
    known = modules(root)
    return {name: set(imports(file, known)) - {name} for name, file in known.items()}


def climbs(root: Path, page: str) -> set[tuple[str, str]]:
    """Return the imports that go up."""
    known, rows = modules(root), floors(page)
    at = {name: floor(file.relative_to(root).as_posix(), rows) for name, file in known.items()}
    return {(name, other) for name, others in graph(root).items() for other in others if above(name, other, at)}


def above(name: str, other: str, at: dict[str, int]) -> bool:
    package, its = name.partition(".")[0], other.partition(".")[0]
    if package != its:
        return package == "st"
    # What a package says of itself, such as its version, anybody may read.
    return other != package and at[other] < at[name]


def test_every_path_that_the_page_names_exists():
    paths = re.findall(r"`((?:st|covost|tests|configs|scripts|docs)/[^`:\s]*)(?:::[^`]*)?`", PAGE)
    assert len(paths) > 80
    assert [path for path in paths if not (ROOT / path).exists()] == []


def test_every_function_that_the_page_names_exists():
    named = re.findall(r"`([^`:\s]+\.py)::([\w.]+)`", PAGE)
    assert len(named) > 40
    assert [f"{path}::{name}" for path, name in named if not defines(ROOT / path, name.split("."))] == []


def defines(file: Path, names: list[str]) -> bool:
    body = ast.parse(file.read_text(encoding="utf-8")).body
    for name in names:
        found = [node for node in body if isinstance(node, (ast.FunctionDef, ast.ClassDef)) and node.name == name]
        if not found:
            return False
        body = found[0].body
    return True


def test_imports_only_go_down():
    assert climbs(ROOT, PAGE) == set(EXCEPTIONS)


def test_no_modules_import_each_other_in_a_circle():
    TopologicalSorter(graph(ROOT)).prepare()


PLANTED = "| `st/commands/` | a |\n| `st/modules/` | b |\n| `st/__init__.py` | c |\n| `covost/` | d |\n"


def planted(root: Path, **files: str) -> Path:
    for name, text in {"st/__init__": "", "st/commands/a": "", "st/modules/b": "", "covost/c": "", **files}.items():
        file = root / f"{name}.py"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
    return root


@pytest.mark.parametrize(
    ("file", "text", "found"),
    [
        ("st/commands/a", "from st.modules import b", set()),
        ("st/modules/b", "from st.commands import a", {("st.modules.b", "st.commands.a")}),
        ("st/modules/b", "def f():\n    import st.commands.a", {("st.modules.b", "st.commands.a")}),
        ("st/modules/b", "from covost.c import x", {("st.modules.b", "covost.c")}),
        ("covost/c", "from st.commands.a import x", set()),
        ("st/modules/b", "from st import __version__", set()),
    ],
)
def test_an_import_that_climbs_is_found(tmp_path, file, text, found):
    assert climbs(planted(tmp_path, **{file: text}), PLANTED) == found


def test_a_circle_and_a_folder_without_a_row_are_found(tmp_path):
    root = planted(
        tmp_path / "circle", **{"st/modules/b": "import st.modules.d", "st/modules/d": "import st.modules.b"}
    )
    with pytest.raises(CycleError):
        TopologicalSorter(graph(root)).prepare()
    with pytest.raises(AssertionError, match=r"st/new/e\.py: has no row"):
        climbs(planted(tmp_path / "new", **{"st/new/e": ""}), PLANTED)
