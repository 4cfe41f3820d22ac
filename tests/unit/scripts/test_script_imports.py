"""What the scripts take from this project is there; a benchmark is seldom run, and would tell too late."""

from __future__ import annotations

import ast
import importlib
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
SCRIPTS = sorted(path for folder in ("scripts", "research") for path in (ROOT / folder).rglob("*.py"))
OURS = ("st", "covost", *(path.stem for path in SCRIPTS))


def imported(text: str) -> set[tuple[str, str]]:
    """Return the names that a script takes from modules of this project, wherever in it."""
    nodes = [node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.ImportFrom) and node.module]
    nodes = [node for node in nodes if node.module.partition(".")[0] in OURS]
    return {(node.module, alias.name) for node in nodes for alias in node.names}


def is_there(module: str, name: str) -> bool:
    try:
        importlib.import_module(f"{module}.{name}")
    except ImportError:
        return hasattr(importlib.import_module(module), name)
    return True


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)
def test_names_that_a_script_imports_exist(script, monkeypatch):
    monkeypatch.setattr(sys, "path", [str(script.parent), str(ROOT / "scripts"), *sys.path])
    found = imported(script.read_text(encoding="utf-8"))
    assert [f"{module}.{name}" for module, name in sorted(found) if not is_there(module, name)] == []
