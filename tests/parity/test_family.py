"""Relatives of XLS-R, as encoders and as recognisers, from folders of transformers and files of fairseq.

Each kind opens, computes what the reference computes, alone and in a batch, and goes out again to where the reference opens it.
"""

from __future__ import annotations

import dataclasses
import json
import logging
import warnings
from collections.abc import Callable
from typing import Any

import pytest
import reference_models as ref
import torch
import transformers

from st import load
from st.checkpoints.convert import convert
from st.modules.model import SpeechTranslator

CLOSE = {"atol": 1e-5, "rtol": 0}
LENGTHS = [6000, 3001, 401, 4444]
LABELS = ["<pad>", "<s>", "</s>", "<unk>", "|", *"etaoins"]
BASE = {"feat_extract_norm": "group", "do_stable_layer_norm": False, "conv_bias": False}
STABLE = {"feat_extract_norm": "layer", "do_stable_layer_norm": True, "conv_bias": True}


@dataclasses.dataclass(frozen=True)
class Kind:
    """A kind of published model: how the reference builds it, and what it is written as."""

    stem: str
    settings: dict[str, Any]
    written: str = "Wav2Vec2"


KINDS = {
    "wav2vec2-base": Kind("Wav2Vec2", BASE),
    "wav2vec2-large-960h-lv60": Kind("Wav2Vec2", STABLE),
    "post-norm with layer norms": Kind("Wav2Vec2", BASE | {"feat_extract_norm": "layer"}),
    "hubert-base": Kind("Hubert", BASE),
    "hubert-large": Kind("Hubert", STABLE),
    "hubert-without-norm": Kind("Hubert", BASE | {"feat_proj_layer_norm": False}, "Hubert"),
    "mhubert-147": Kind("Hubert", BASE | {"conv_pos_batch_norm": True}, "Hubert"),
    "data2vec-audio": Kind(
        "Data2VecAudio", {"conv_bias": False, "num_conv_pos_embeddings": 3, "conv_pos_kernel_size": 5}, "Data2VecAudio"
    ),
}


def of_transformers(kind: Kind, head: bool) -> Any:
    """Build the reference's model with random weights."""
    torch.manual_seed(0)
    plain = {key: value for key, value in vars(ref.wav2vec2_config()).items() if key in COMMON}
    config = getattr(transformers, f"{kind.stem}Config")(**plain | {"vocab_size": len(LABELS)} | kind.settings)
    model = ref.perturb(getattr(transformers, f"{kind.stem}{'ForCTC' if head else 'Model'}")(config))
    for name, buffer in model.named_buffers():
        if name.endswith("running_mean"):
            buffer.normal_()
        elif name.endswith("running_var"):
            buffer.uniform_(0.5, 2.0)
    if head:
        sharpen(model.lm_head)
    return model


COMMON = (
    "hidden_size", "intermediate_size", "num_attention_heads", "num_hidden_layers", "num_conv_pos_embeddings",
    "num_conv_pos_embedding_groups", "conv_dim", "conv_kernel", "conv_stride", "mask_time_prob",
)  # fmt: skip


@torch.no_grad()
def sharpen(head: torch.nn.Linear) -> None:
    """Make a head write letters and spaces, and never what is no letter."""
    head.weight.mul_(2)
    head.bias[1:4] = -30
    head.bias[0] += 1


def write(model: Any, folder: Any, *, normalise: bool = True, **save: Any) -> Any:
    """Write a folder like the published ones."""
    model.save_pretrained(folder, **save)
    transformers.Wav2Vec2FeatureExtractor(do_normalize=normalise).save_pretrained(folder)
    if hasattr(model, "lm_head"):
        (folder / "vocab.json").write_text(json.dumps({symbol: row for row, symbol in enumerate(LABELS)}))
        (folder / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": "Wav2Vec2CTCTokenizer"}))
    return folder


@torch.no_grad()
def theirs(model: Any, wave: torch.Tensor) -> torch.Tensor:
    """Return logits ``(S, C)`` or states ``(S, M)`` of one wave ``(T,)`` by the reference."""
    output = model(wave[None])
    return (output.logits if "logits" in output else output.last_hidden_state)[0]


@torch.no_grad()
def ours(model: SpeechTranslator, waves: torch.Tensor, lengths: torch.Tensor) -> list[torch.Tensor]:
    """Return the same of a batch by our model."""
    encoded = model.encode(waves, lengths)
    found = model.ctc_logits(encoded) if model.config.ctc_vocab_size else encoded.states
    return [row[:length] for row, length in zip(found, encoded.lengths.tolist(), strict=True)]


def assert_same_function(model: SpeechTranslator, reference: Callable[[torch.Tensor], torch.Tensor]) -> None:
    """Compare with the reference, which gets one wave at a time: ours gets them alone and in a batch."""
    waves, lengths = ref.waves(LENGTHS)
    together = ours(model, waves, lengths)
    for row, length in enumerate(LENGTHS):
        expected = reference(waves[row, :length])
        torch.testing.assert_close(together[row], expected, **CLOSE)
        torch.testing.assert_close(
            ours(model, waves[row : row + 1, :length], lengths[row : row + 1])[0], expected, **CLOSE
        )


def opened(architecture: str, folder: Any, caplog: Any) -> Any:
    """Open a folder with transformers; what it would warn of is an error."""
    logging.getLogger("transformers").propagate = True
    caplog.clear()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model, info = getattr(transformers, architecture).from_pretrained(folder, output_loading_info=True)
    assert not any(info.values())
    assert not [record.message for record in caplog.records if record.levelno >= logging.WARNING]
    return model.eval()


@pytest.mark.parametrize("safe", [True, False], ids=["safetensors", "bin"])
@pytest.mark.parametrize("head", [False, True], ids=["encoder", "ctc"])
@pytest.mark.parametrize("name", KINDS)
def test_a_folder_opens_computes_the_same_and_goes_out_again(tmp_path, caplog, name, head, safe):
    if not safe and name not in ("wav2vec2-base", "mhubert-147", "data2vec-audio"):
        pytest.skip("the file's kind is not the model's")
    kind = KINDS[name]
    model = of_transformers(kind, head)
    write(model, tmp_path / "in")
    if not safe:
        (tmp_path / "in" / "model.safetensors").unlink()
        torch.save(model.state_dict(), tmp_path / "in" / "pytorch_model.bin")
    bundle = load(tmp_path / "in")
    assert bundle.description == f"transformers {kind.stem}{'ForCTC' if head else 'Model'}"
    assert_same_function(bundle.model, lambda wave: theirs(model, wave))
    convert(tmp_path / "in", tmp_path / "out", "hf")
    again = opened(f"{kind.written}{'ForCTC' if head else 'Model'}", tmp_path / "out", caplog)
    assert_same_function(bundle.model, lambda wave: theirs(again, wave))
    assert_same_function(load(tmp_path / "out").model, lambda wave: theirs(model, wave))
