"""Relatives of XLS-R in fairseq's own files: wav2vec 2.0 base, HuBERT and data2vec, as encoders and as recognisers."""

from __future__ import annotations

import argparse
from typing import Any

import pytest
import reference_models as ref
import torch

from st import load
from st.checkpoints.convert import convert
from st.errors import CheckpointError
from st.modules.model import SpeechTranslator

pytest.importorskip("fairseq")

CLOSE = {"atol": 1e-5, "rtol": 0}
LENGTHS = [6000, 3001, 401, 4444]
LETTERS = ["|", *"ETAOINS"]
BASE = {"extractor_mode": "default", "layer_norm_first": False, "conv_bias": False}
KINDS = {
    "wav2vec_small": ("wav2vec2", BASE, "fairseq wav2vec2"),
    "hubert_base_ls960": ("hubert", BASE, "fairseq hubert"),
    "mhubert": ("hubert", BASE | {"conv_pos_batch_norm": True}, "fairseq hubert"),
    "hubert_large_ll60k": ("hubert", {}, "fairseq hubert"),
    "audio_base_ls": ("data2vec_audio", BASE | {"extractor_mode": "layer_norm"}, "fairseq wav2vec2"),
}


def build(name: str) -> tuple[Any, dict[str, Any]]:
    """Return the reference's model with random weights, and the settings that its file has."""
    model_name, changes, _ = KINDS[name]
    if model_name == "wav2vec2":
        settings = {**ref.w2v_settings(), **changes}
        return ref.fairseq_wav2vec2(settings), settings
    settings = ref.relative_settings(model_name, **changes)
    return ref.fairseq_relative(settings), settings


@torch.no_grad()
def states(model: Any, wave: torch.Tensor) -> torch.Tensor:
    """Return the reference's states ``(S, M)`` of one wave ``(T,)``."""
    output = model.extract_features(wave[None], None, mask=False)
    return (output["x"] if isinstance(output, dict) else output[0])[0]


@torch.no_grad()
def assert_same_function(model: SpeechTranslator, reference: Any) -> None:
    """Compare with the reference, which gets one wave at a time: ours gets them alone and in a batch."""
    waves, lengths = ref.waves(LENGTHS)
    encoded = model.encode(waves, lengths)
    found = model.ctc_logits(encoded) if model.config.ctc_vocab_size else encoded.states
    for row, length in enumerate(LENGTHS):
        expected = reference(waves[row, :length])
        torch.testing.assert_close(found[row, : encoded.lengths[row]], expected, **CLOSE)


@pytest.mark.parametrize("style", ["args", "cfg"])
@pytest.mark.parametrize("name", KINDS)
def test_a_pretraining_file_opens_computes_the_same_and_goes_out_again(tmp_path, name, style):
    model, settings = build(name)
    state = dict(model.state_dict())
    if name == "audio_base_ls":
        state["_ema"] = {"layers.0.fc1.weight": torch.ones(2)}
    task = {"_name": "audio_pretraining", "data": "/checkpoint/nobody", "normalize": False}
    told: dict[str, Any] = {"args": argparse.Namespace(**task | settings, arch=settings["_name"]), "cfg": None}
    if style == "cfg":
        told = {"args": None, "cfg": {"model": settings, "task": task}}
    torch.save(told | {"model": state}, tmp_path / "in.pt")
    bundle = load(tmp_path / "in.pt")
    assert bundle.description == KINDS[name][2]
    assert not bundle.config.standardize_audio
    assert_same_function(bundle.model, lambda wave: states(model, wave))
    if name == "mhubert":
        with pytest.raises(CheckpointError, match="no encoder with pos_conv_scaled True; convert `to` hf"):
            convert(tmp_path / "in.pt", tmp_path / "out.pt", "fairseq")
        return
    convert(tmp_path / "in.pt", tmp_path / "out.pt", "fairseq")
    content = torch.load(tmp_path / "out.pt")
    again = ref.fairseq_wav2vec2(content["cfg"]["model"])
    again.remove_pretraining_modules()
    again.load_state_dict(content["model"], strict=True)
    assert_same_function(bundle.model, lambda wave: states(again, wave))
    convert(tmp_path / "in.pt", tmp_path / "hf", "hf")
    assert_same_function(load(tmp_path / "hf").model, lambda wave: states(model, wave))


@pytest.fixture(scope="module")
def recogniser() -> tuple[Any, dict[str, Any]]:
    """Return stock fairseq's ``wav2vec_ctc`` on a base model, and the arguments of its file."""
    from fairseq.models.wav2vec.wav2vec2_asr import Wav2Vec2CtcConfig, Wav2VecCtc
    from omegaconf import OmegaConf

    torch.manual_seed(0)
    speech = {**ref.w2v_settings(), **BASE}
    task = {**vars(ref.xm_settings())["w2v_args"]["task"], "normalize": False}
    given = {"w2v_path": "", "w2v_args": OmegaConf.create({"model": speech, "task": task}), "normalize": False,
             "data": "", "ddp_backend": "pytorch_ddp"}  # fmt: skip
    config = OmegaConf.merge(OmegaConf.structured(Wav2Vec2CtcConfig), given)
    model = Wav2VecCtc.build_model(config, argparse.Namespace(target_dictionary=ref.fairseq_dictionary(LETTERS)))
    return ref.perturb(model), speech


def test_a_fine_tuned_base_model_with_its_arguments_opens(tmp_path, recogniser, caplog):
    """As ``wav2vec_small_960h.pt``: arguments instead of a config, those of the base model inside, the dictionary beside."""
    model, speech = recogniser
    inner = argparse.Namespace(**speech, arch="wav2vec2", normalize=False)
    args = argparse.Namespace(
        arch="wav2vec_ctc", w2v_path="/checkpoint/x.pt", w2v_args=inner, normalize=False, labels="ltr"
    )
    state = dict(model.state_dict()) | {"w2v_encoder.w2v_model.quantizer.vars": torch.ones(1, 16, 8)}
    torch.save({"args": args, "model": state}, tmp_path / "small_960h.pt")
    (tmp_path / "dict.ltr.txt").write_text("".join(f"{letter} 1\n" for letter in LETTERS))
    bundle = load(tmp_path / "small_960h.pt")
    assert (
        "1 tensors that have no effect in this model are left out: w2v_encoder.w2v_model.quantizer.vars" in caplog.text
    )
    assert bundle.description == "fairseq wav2vec_ctc"
    # Our blank has the place of their <s>.
    assert bundle.ctc.symbols == ["<pad>", "<s>", "</s>", "<unk>", *LETTERS]

    @torch.no_grad()
    def logits(wave: torch.Tensor) -> torch.Tensor:
        return model.get_logits(model(source=wave[None], padding_mask=None))[:, 0]

    assert_same_function(bundle.model, logits)
    convert(tmp_path / "small_960h.pt", tmp_path / "out" / "model.pt", "fairseq")
    assert_same_function(load(tmp_path / "out" / "model.pt").model, logits)
    assert load(tmp_path / "out" / "model.pt").ctc.symbols == bundle.ctc.symbols


def test_a_fine_tuned_hubert_opens(tmp_path, caplog):
    """As ``hubert_large_ll60k_finetune_ls960.pt``: a ``hubert_ctc``, which keeps the embeddings of its former targets."""
    model, settings = build("hubert_large_ll60k")
    torch.manual_seed(1)
    head = torch.nn.Linear(settings["encoder_embed_dim"], len(LETTERS) + 4)
    inside = {name: tensor for name, tensor in model.state_dict().items() if not name.startswith("final_proj.")}
    state = {f"w2v_encoder.w2v_model.{name}": tensor for name, tensor in inside.items()}
    state |= {f"w2v_encoder.proj.{name}": tensor for name, tensor in head.state_dict().items()}
    task = {"_name": "hubert_pretraining", "normalize": True}
    told = {"_name": "hubert_ctc", "normalize": True, "w2v_args": {"model": settings, "task": task}}
    torch.save({"cfg": {"model": told, "task": task}, "model": state}, tmp_path / "hubert_ctc.pt")
    (tmp_path / "dict.ltr.txt").write_text("".join(f"{letter} 1\n" for letter in LETTERS))
    bundle = load(tmp_path / "hubert_ctc.pt")
    assert (
        "1 tensors that have no effect in this model are left out: w2v_encoder.w2v_model.label_embs_concat"
        in caplog.text
    )
    assert bundle.config.standardize_audio
    assert_same_function(bundle.model, lambda wave: head(states(model, wave)))


def test_a_tensor_that_has_an_effect_closes_the_file(tmp_path, recogniser):
    model, speech = recogniser
    state = dict(model.state_dict()) | {"w2v_encoder.w2v_model.encoder.layers.0.self_attn.gain": torch.ones(3)}
    torch.save({"cfg": {"model": {"w2v_args": {"model": speech}}}, "model": state}, tmp_path / "model.pt")
    (tmp_path / "dict.ltr.txt").write_text("".join(f"{letter} 1\n" for letter in LETTERS))
    with pytest.raises(
        CheckpointError, match=r"1 unexpected: w2v_encoder\.w2v_model\.encoder\.layers\.0\.self_attn\.gain"
    ):
        load(tmp_path / "model.pt")


def test_files_without_settings_are_taken_for_the_published_models(tmp_path):
    """Nothing in the tensors tells where the norms stand and how many heads there are."""
    model, _ = build("wav2vec_small")
    torch.save({"model": dict(model.state_dict())}, tmp_path / "model.pt")
    encoder = load(tmp_path / "model.pt").model.config.encoder
    assert (encoder.conv_norm, encoder.norm_first, encoder.conv_bias) == ("group", False, False)
