"""Collapse of the codebooks, and a loss that stays at chance, are told in words, once; health is not."""

import math

import pytest
import torch

from st.checkpoints.formats.objective import NAMES
from st.checkpoints.inspect import inspect
from st.fairseq_plugin.pretraining.watch import PATIENCE, WINDOW, CodebookWatch
from st.modules.config import ModelConfig
from st.modules.encoder_config import EncoderConfig
from st.modules.pretraining.config import PretrainingConfig
from st.modules.pretraining.model import SpeechPretrainer

OBJECTIVE = PretrainingConfig(latent_groups=2, latent_vars=320, num_negatives=100)


def logs(bits, code, prob=300.0, workers=2, targets=50):
    """Return what the workers of an update log: sums over masked frames."""
    one = {"contrastive": bits * math.log(2), "code_perplexity": code, "prob_perplexity": prob, "sample_size": 1}
    return [{name: value * targets for name, value in one.items()} for _ in range(workers)]


def watched(caplog, updates, *arguments):
    watch = CodebookWatch(OBJECTIVE)
    for _ in range(updates):
        watch.push(logs(*arguments))
    return watch, caplog.text


@pytest.mark.parametrize(
    ("updates", "bits", "code", "told"),
    [
        (WINDOW, 0.4, 2.1, "of 640 entries 2.1 are in use, and the loss is 0.40 bits"),
        (WINDOW, 3.0, 120.0, None),
        (WINDOW, 6.6, 3.0, None),  # a start: few entries, and nothing learned yet
        (WINDOW - 1, 0.4, 2.1, None),
        (PATIENCE, 6.64, 200.0, f"nothing has been learned in {PATIENCE} updates: the loss is 6.64 bits, chance 6.66"),
        (PATIENCE - 1, 6.64, 200.0, None),
        (PATIENCE, 6.0, 200.0, None),
    ],
)
def test_what_is_told(caplog, updates, bits, code, told):
    _, text = watched(caplog, updates, bits, code)
    assert (told in text) if told else not text


def test_it_is_told_once(caplog):
    watched(caplog, 3 * WINDOW, 0.4, 2.1)
    assert len(caplog.records) == 1


def test_use_is_the_mean_of_late_and_nothing_before_the_first_update():
    watch = CodebookWatch(OBJECTIVE)
    assert watch.use() == {}
    watch.push([{"sample_size": 0}])
    for _ in range(WINDOW):
        watch.push(logs(6.0, 10.0))
    for _ in range(WINDOW // 2):
        watch.push(logs(5.0, 30.0, 310.0))
    assert watch.use() == {"code_perplexity": 20.0, "prob_perplexity": 305.0, "entries": 640}


def test_a_checkpoint_tells_the_use_of_its_codebooks(tmp_path):
    encoder = EncoderConfig(
        conv_layers=((16, 10, 5), (16, 8, 8)), dim=16, ffn_dim=24, num_heads=2, num_layers=1, pos_conv_kernel=4,
        pos_conv_groups=2, mask_time_prob=0.65, mask_time_length=5,
    )  # fmt: skip
    objective = PretrainingConfig(latent_vars=32, final_dim=24)
    state = SpeechPretrainer(encoder, objective).state_dict()
    assert {*NAMES} < {*state}
    bundle = {
        "format": 1, "pretraining": objective.to_dict(), "files": {},
        "model_config": ModelConfig(encoder=encoder, parts=("encoder",)).to_dict(),
        "codebook_use": {"code_perplexity": 12.5, "entries": 64, "stranger": ["no number"]},
    }  # fmt: skip
    model = {name.removeprefix("encoder."): tensor for name, tensor in state.items()}
    torch.save({"model": model, "extra_state": {}, "cfg": {}, "task_state": {"st_bundle": bundle}}, tmp_path / "a.pt")
    found = inspect(tmp_path / "a.pt")["pretraining"]
    assert (found["code_perplexity"], found["entries"]) == (12.5, 64)
    assert "stranger" not in found
