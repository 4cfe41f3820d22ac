"""A folder of recordings and texts: prepared, trained on and evaluated."""

import json
import math

import numpy as np
import pytest
import soundfile
from conftest_integration import training

from st.cli import main

TEXTS = {"train": ["un", "deux", "trois", "un deux"], "dev": ["deux trois"], "test": ["trois un"]}
ENGLISH = {"un": "one", "deux": "two", "trois": "three"}


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    root = tmp_path_factory.mktemp("recordings")
    for split, texts in TEXTS.items():
        (root / split).mkdir()
        for number, text in enumerate(texts):
            place = root / split / str(number)
            tones = [np.sin(np.arange(12_000) * (0.05 + 0.02 * len(word))) for word in text.split()]
            soundfile.write(place.with_suffix(".wav"), 0.2 * np.concatenate(tones), 16_000)
            place.with_suffix(".txt").write_text(text, encoding="utf-8")
            place.with_suffix(".en.txt").write_text(" ".join(map(ENGLISH.get, text.split())), encoding="utf-8")
    out = tmp_path_factory.mktemp("prepared")
    assert (
        main(["prepare", str(root), "--language", "fr", "--vocab-type", "char", "--jobs", "1", "--out", str(out)]) == 0
    )
    return out


def losses(log):
    return [json.loads(line[line.index("{") :]) for line in log.splitlines() if '"train_loss"' in line]


@pytest.mark.parametrize(
    "subsets", [(), ("--train-subset", "asr_train", "--valid-subset", "asr_dev")], ids=["translation", "recognition"]
)
def test_it_trains_two_updates_and_is_evaluated(server, tree, tmp_path, subsets):
    log = server.run(training(tree, tmp_path / "run", "--max-update", "2", *subsets), tmp_path).text()
    assert all(math.isfinite(float(found["train_loss"])) for found in losses(log))
    assert losses(log)
    if subsets:
        return
    checkpoint = tmp_path / "run" / "checkpoint_last.pt"
    options = ["--data", str(tree), "--beam", "1", "--device", "cpu", "--out", str(tmp_path / "results")]
    assert main(["evaluate", "--checkpoint", str(checkpoint), *options]) == 0
    report = json.loads((tmp_path / "results" / "report.json").read_text(encoding="utf-8"))
    assert set(report["directions"]) == {"fr_en"}
    assert set(report["asr"]) == {"fr"}
