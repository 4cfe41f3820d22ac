"""What the source distribution and the wheel hold."""

from pathlib import Path

import pytest

pytest.importorskip("setuptools")

from distutils.core import run_setup

ROOT = Path(__file__).parents[3]
RECIPES = {path.relative_to(ROOT).as_posix() for path in (ROOT / "configs").rglob("*.yaml")}


@pytest.fixture
def distribution(monkeypatch):
    monkeypatch.chdir(ROOT)
    return run_setup("setup.py", stop_after="init")


def test_x05_the_wheel_holds_recipes_tables_and_types(distribution, tmp_path):
    installed = {f"{folder}/{Path(file).name}" for folder, files in distribution.data_files for file in files}
    assert installed == {f"share/xlsr-st/{name}" for name in RECIPES}
    build = distribution.get_command_obj("build_py")
    build.build_lib = str(tmp_path)
    build.ensure_finalized()
    packaged = {Path(path).relative_to(tmp_path).as_posix() for path in build.get_outputs(include_bytecode=False)}
    assert {"st/py.typed", "covost/py.typed", "st/fairseq_plugin/repairs/clear_start.py"} <= packaged
    assert {path.relative_to(ROOT).as_posix() for path in (ROOT / "st").rglob("*.tsv")} <= packaged
    assert not [name for name in packaged if not name.startswith(("st/", "covost/"))]


def test_x05_the_source_distribution_holds_what_the_repository_has(distribution, tmp_path):
    info = distribution.get_command_obj("egg_info")
    info.egg_base = str(tmp_path)
    info.ensure_finalized()
    info.run()
    files = set(info.filelist.files)
    assert files >= RECIPES
    assert {
        "MANIFEST.in",
        "README.md",
        "LICENSE",
        "CHANGELOG.md",
        "CONTRIBUTING.md",
        "CITATION.cff",
        "docs/training.md",
        "scripts/demo.sh",
    } <= files
    assert "tests/unit/scripts/test_packaging.py" in files
    assert not [name for name in files if name.endswith(".pyc")]
    assert max(Path(name).stat().st_size for name in files) < 1_000_000
