"""What works while packages are missing, and what is said where one is needed."""

import os
import subprocess
import sys
from distutils.core import run_setup
from pathlib import Path

import pytest
import setuptools  # noqa: F401  # brings distutils

from st.errors import EXTRAS, install_sentence

ROOT = Path(__file__).parents[3]
BLOCK = """
import sys
class Block:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {names!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)
sys.meta_path.insert(0, Block())
"""


def run(code, *missing):
    return subprocess.run(
        [sys.executable, "-c", BLOCK.format(names=missing) + code],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )


def test_t03_the_package_imports_without_what_only_some_features_need():
    result = run(
        "import st; print(st.__version__)",
        *("soundfile", "soxr", "fastapi", "gradio", "torchaudio", "fairseq", "torch", "sentencepiece", "polars"),
    )
    assert result.returncode == 0, result.stderr
    assert result.stdout.strip()


@pytest.mark.parametrize(
    ("arguments", "missing", "hint"),
    [
        (["score", "--hyp", "h", "--ref", "r", "--target", "en"], "sacrebleu", "pip install 'xlsr-st'"),
        (["plot", ".", "--out", "x.svg"], "polars", None),
    ],
)
def test_t03_a_feature_whose_package_is_missing_tells_how_to_install_it(tmp_path, arguments, missing, hint):
    (tmp_path / "h").write_text("a\n")
    (tmp_path / "r").write_text("a\n")
    code = f"import os, st.cli; os.chdir({str(tmp_path)!r}); raise SystemExit(st.cli.main({arguments!r}))"
    result = run(code, missing)
    assert "Traceback" not in result.stderr
    if hint:
        assert result.returncode == 1, result.stderr
        assert f"this needs the package {missing}, which is not installed" in result.stderr
        assert hint in result.stderr
    else:
        assert missing not in result.stderr


def test_t03_the_extra_is_named():
    def sentence(name):
        return install_sentence(ModuleNotFoundError(name=name))

    assert "'xlsr-st[train]'" in sentence("fairseq.tasks")
    assert "'xlsr-st[prepare]'" in sentence("polars.functions")
    assert sentence("st.nothing") is sentence("covost") is sentence(None) is None


@pytest.mark.parametrize(
    ("missing", "extra"),
    [("polars", "prepare"), ("httpx2", "prepare"), ("espeakng_loader", "sample"), ("lameenc", "sample")],
)
def test_t03_covost_tells_how_to_install_what_is_missing(tmp_path, missing, extra):
    folder = str(tmp_path)
    arguments = {
        "polars": ["prepare", "--cv-root", folder, "--directions", "fr_en", "--out", folder],
        "httpx2": ["download", "--out", folder, "--directions", "fr_en"],
    }.get(missing, ["sample", "--out", folder, "--languages", "en", "--hours", "0.01"])
    result = run(f"import covost.cli; raise SystemExit(covost.cli.main({arguments!r}))", missing)
    assert result.returncode == 1, result.stderr
    assert result.stderr.endswith(
        f"covost: error: this needs the package {missing}, which is not installed; pip install 'xlsr-st[{extra}]' brings it\n"
    )


def test_t03_an_engine_tells_how_to_install_what_is_missing(tmp_path):
    (tmp_path / "table.tsv").write_text("audio\ttranscript\na.wav\ta\n", encoding="utf-8")
    arguments = [
        "prepare",
        str(tmp_path / "table.tsv"),
        "--language",
        "fr",
        "--out",
        str(tmp_path / "o"),
        "--engine",
        "ray",
    ]
    result = run(f"import st.cli; raise SystemExit(st.cli.main({arguments!r}))", "ray")
    assert result.returncode == 1, result.stderr
    assert result.stderr == (
        "st: error: this needs the package ray, which is not installed; pip install 'xlsr-st[ray]' brings it\n"
    )


def test_t03_every_package_of_an_extra_that_names_one_is_in_it(monkeypatch):
    monkeypatch.chdir(ROOT)
    extras = run_setup("setup.py", stop_after="init").extras_require
    for package, extra in EXTRAS.items():
        names = " ".join(extras[extra]).replace("-", "_")
        assert package in names, package
        assert set(extras[extra]) <= set(extras["dev"])
