"""scripts/low_resource.sh from a tree to a scored model, and again after it has ended."""

import hashlib
import json

import pytest
import torch
from conftest_integration import ROOT, run
from tone_tree import make_tree

from st.checkpoints.loading import load


@pytest.mark.slow
def test_the_recipe_for_little_speech_trains_two_models_and_scores_them_and_trains_no_stage_twice(tmp_path):
    tree, out = tmp_path / "tree", tmp_path / "out"
    make_tree(tree, train=8, dev=2, directions=("de_en",))
    # The clock ends every stage but the last after one update, however fast the machine is; the last has two updates.
    command = [
        *(ROOT / "scripts" / "low_resource.sh", tree, out, "0.0001", "task.threads=1", "optimization.max_update=2"),
        *("checkpoint.save_interval_updates=1", "dataset.max_tokens=64000", "model.encoder_dim=96"),
    ]

    run(*command)

    report = json.loads((out / "report" / "report.json").read_text())
    assert list(report["directions"]) == ["de_en"]
    assert report["settings"]["ensemble_sha256"] == hashlib.sha256((out / "2" / "model.pt").read_bytes()).hexdigest()
    first, second = (load(out / number / "model.pt").model for number in "12")
    encoder = first.config.encoder
    assert (encoder.mel_bands, encoder.conv_module_kernel, encoder.dim) == (80, 15, 96)
    assert not torch.equal(first.encoder.post_extract_proj.weight, second.encoder.post_extract_proj.weight)
    written = {path: path.stat().st_mtime_ns for path in out.glob("[12]/*/*.pt")}
    for stage in ("1/ctc", "1/ctc-masked", "2/ctc", "2/translation"):
        assert [path.name for path in (out / stage).glob("checkpoint_1_*.pt")] == ["checkpoint_1_1.pt"]
    refused = run("st", "convert", out / "1" / "model.pt", tmp_path / "hf", "--to", "hf", check=False)
    assert refused.returncode == 1
    assert "the decoder reads the labels of the CTC head" in refused.stderr

    run(*command)

    assert {path: path.stat().st_mtime_ns for path in out.glob("[12]/*/*.pt")} == written
