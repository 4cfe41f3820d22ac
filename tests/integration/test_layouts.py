"""Every layout is prepared, trained on for two updates and evaluated."""

import json
import math

import corpora_layouts
import pytest
from conftest_integration import training
from corpora_layouts import LAYOUTS
from corpora_planted import long_sound

from st.cli import main
from st.data.config import DataConfig
from st.data.manifest import read_manifest


def kept(tree, subset, directions):
    """Return whether every direction has rows in a subset."""
    pairs = [direction.split("_") for direction in directions]
    names = [f"asr_{subset}_{code}.tsv" if code == other else f"{subset}_{code}_{other}.tsv" for code, other in pairs]
    return all((tree / name).is_file() and read_manifest(tree / name) for name in names)


EVERY_TIME = ("fleurs", "mustc", "lhotse", "commonvoice", "kaldi")
SOMETIMES = [pytest.param(name, marks=pytest.mark.slow) for name in LAYOUTS if name not in EVERY_TIME]


@pytest.mark.parametrize("layout", [*EVERY_TIME, *SOMETIMES])
def test_a_layout_is_prepared_trained_on_and_evaluated(server, layout, tmp_path, monkeypatch):
    monkeypatch.setattr(corpora_layouts, "sound", long_sound)
    _, write, options = LAYOUTS[layout]
    write(tmp_path / "corpus")
    tree = tmp_path / "data"
    given = [word for name, value in options.items() for word in (f"--{name}", value)]
    small = ("--vocab-type", "char", "--jobs", "1", *given)
    assert main(["prepare", str(tmp_path / "corpus"), "--out", str(tree), *small]) == 0
    directions = DataConfig.load(tree).directions
    held_out = next(subset for subset in ("test", "dev", "train") if kept(tree, subset, directions))
    prefix = "asr_" if all(len({*name.split("_")}) == 1 for name in directions) else ""
    subsets = ("--train-subset", f"{prefix}train", "--valid-subset", f"{prefix}{held_out}")
    log = server.run(training(tree, tmp_path / "run", "--max-update", "2", *subsets), tmp_path).text()
    losses = [json.loads(line[line.index("{") :]) for line in log.splitlines() if '"train_loss"' in line]
    assert losses
    assert all(math.isfinite(float(found["train_loss"])) for found in losses)
    evaluation = ["--data", str(tree), "--subset", held_out, "--beam", "1", "--device", "cpu", "--clip-megabytes", "0"]
    checkpoint = tmp_path / "run/checkpoint_last.pt"
    assert main(["evaluate", "--checkpoint", str(checkpoint), *evaluation, "--out", str(tmp_path / "results")]) == 0
    report = json.loads((tmp_path / "results/report.json").read_text(encoding="utf-8"))
    # Transcripts alone are scored by their errors.
    assert set(report["directions"]) == {name for name in directions if len({*name.split("_")}) == 2}
    assert set(report["asr"]) == {name.split("_")[0] for name in directions}
