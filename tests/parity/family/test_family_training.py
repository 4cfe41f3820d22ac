"""A training that starts from w2v-BERT 2.0 or WavLM, by the plugin's options, and what leaves of it."""

import numpy as np
import pytest
import reference_models as ref
import torch
import transformers
from omegaconf import OmegaConf
from tone_tree import make_tree
from trainer_in_process import batch, changed, make_trainer, parameters

from st import load
from st.checkpoints.convert import convert

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")

CONV_LAYERS = ((24, 40, 20), (24, 4, 4), (24, 4, 4))
SHAPE = {"dim": 32, "ffn": 48, "heads": 2, "layers": 2, "kernel": 8, "groups": 4}


def w2v_bert():
    config = transformers.Wav2Vec2BertConfig(
        hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=2, conv_depthwise_kernel_size=5,
        output_hidden_size=32,
    )  # fmt: skip
    return transformers.Wav2Vec2BertModel(config)


def wavlm():
    return transformers.WavLMModel(ref.family_config("WavLM", SHAPE, CONV_LAYERS, **ref.POST_NORM))


KINDS = {
    "w2v_bert": (w2v_bert, {"encoder_conv_layers": "[]", "encoder_conv_module_kernel": 5}, "Wav2Vec2BertForCTC"),
    "wavlm_base": (wavlm, {}, "WavLMForCTC"),
}


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    return make_tree(tmp_path_factory.mktemp("data") / "tree", train=4, dev=2, directions=("de_en",))


@pytest.mark.parametrize("name", KINDS)
def test_it_starts_learns_and_leaves(tree, tmp_path, caplog, name):
    make, options, architecture = KINDS[name]
    torch.manual_seed(0)
    reference = ref.perturb(make())
    reference.save_pretrained(tmp_path / "base")
    trainer = make_trainer(
        tree,
        arch=f"xlsr_mbart_{name}",
        encoder=tmp_path / "base",
        ctc_weight=0.3,
        encoder_mask_time_prob=0.3,
        **options,
    )
    before = parameters(trainer)
    started = {key.removeprefix("encoder.") for key in before if key.startswith("encoder.")}
    there = load(tmp_path / "base").model.encoder.state_dict()
    assert started == set(there)
    assert all(before[f"encoder.{key}"].equal(tensor) for key, tensor in there.items())
    for _ in range(3):
        trainer.train_step([batch(trainer)])
    assert changed(before, parameters(trainer)) == set(before)
    # w2v-BERT hears samples as they are, whatever the tree says of waves.
    wave = trainer.task.dataset("train").dataset.waveform(0)
    assert abs(float(np.std(wave)) - 1) < 0.01 or name == "w2v_bert"
    assert float(np.abs(wave).max()) < 1.0 or name != "w2v_bert"
    content = {
        "model": trainer.get_model().state_dict(),
        "task_state": trainer.task.state_dict(),
        "cfg": OmegaConf.to_container(OmegaConf.create({"model": trainer.cfg.model})),
    }
    torch.save(content, tmp_path / "checkpoint.pt")
    ours = load(tmp_path / "checkpoint.pt").model
    convert(tmp_path / "checkpoint.pt", tmp_path / "out", "hf", parts="ctc")
    ref.opens_without_a_word(getattr(transformers, architecture), tmp_path / "out", caplog)
    again = load(tmp_path / "out").model
    waves, lengths = ref.waves([9000, 7000])
    with torch.no_grad():
        logits = [model.ctc_logits(model.encode(waves, lengths)) for model in (ours, again)]
    torch.testing.assert_close(*logits, atol=1e-5, rtol=0)
