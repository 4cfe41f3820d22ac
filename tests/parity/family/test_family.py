"""Relatives of XLS-R, as encoders and as recognisers, from folders of transformers and files of fairseq.

Each kind opens, computes what the reference computes, alone and in a batch, and goes out again to where the reference opens it.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import reference_models as ref
import soundfile
import torch
import transformers
from safetensors.torch import save_file

from st import load
from st.checkpoints.assemble import blueprint
from st.checkpoints.convert import convert
from st.checkpoints.formats.transformers.encoder_writer import family_of
from st.checkpoints.start.initialise import load_encoder
from st.cli import main
from st.errors import CheckpointError
from st.modules.config import ModelConfig
from st.modules.encoder_config import EncoderConfig
from st.modules.model import SpeechTranslator
from st.modules.presets import PRESETS

CLOSE = {"atol": 1e-5, "rtol": 0}
LENGTHS = [6000, 3001, 401, 4444]
LABELS = ["<pad>", "<s>", "</s>", "<unk>", "|", *"etaoins"]
BASE = ref.POST_NORM
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
    config = ref.family_config(kind.stem, vocab_size=len(LABELS), **kind.settings)
    model = ref.perturb(getattr(transformers, f"{kind.stem}{'ForCTC' if head else 'Model'}")(config))
    for name, buffer in model.named_buffers():
        if name.endswith("running_mean"):
            buffer.normal_()
        elif name.endswith("running_var"):
            buffer.uniform_(0.5, 2.0)
    if head:
        sharpen(model)
    return model


@torch.no_grad()
def sharpen(model: Any) -> None:
    """Make a head write letters and spaces, and never what is no letter."""
    states = model.base_model(ref.waves(LENGTHS[:1])[0]).last_hidden_state[0]
    model.lm_head.weight.mul_(2)
    # Around the mean of all frames, so that no letter is always the best.
    model.lm_head.bias.copy_(-(model.lm_head.weight @ states.mean(0)))
    model.lm_head.bias[1:4] = -30


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


@pytest.mark.parametrize(
    ("name", "head", "safe"),
    [
        *((name, head, True) for name in KINDS for head in (False, True)),
        ("wav2vec2-base", True, False),
        ("mhubert-147", False, False),
        ("data2vec-audio", True, False),
    ],
)
def test_a_folder_opens_computes_the_same_and_goes_out_again(tmp_path, caplog, name, head, safe):
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
    architecture = getattr(transformers, f"{kind.written}{'ForCTC' if head else 'Model'}")
    again = ref.opens_without_a_word(architecture, tmp_path / "out", caplog)
    assert_same_function(bundle.model, lambda wave: theirs(again, wave))
    assert_same_function(load(tmp_path / "out").model, lambda wave: theirs(model, wave))


@pytest.mark.parametrize(
    ("preset", "architecture", "changes"),
    [
        ("base", "Wav2Vec2", {}),
        ("base", "Hubert", {}),
        ("large", "Wav2Vec2", {"hidden_size": 1024, "intermediate_size": 4096, "num_hidden_layers": 24}),
        ("data2vec_base", "Data2VecAudio", {}),
    ],
)
def test_presets_have_the_parameters_of_the_published_models(preset, architecture, changes):
    with torch.device("meta"):
        heads = {"num_attention_heads": changes.get("hidden_size", 768) // 64}
        config = getattr(transformers, f"{architecture}Config")(**changes | heads)
        reference = getattr(transformers, f"{architecture}Model")(config)
    model = blueprint(dataclasses.replace(PRESETS[preset], parts=("encoder",)))
    assert sum(p.numel() for p in model.parameters()) == sum(p.numel() for p in reference.parameters())
    published = {("base", "Wav2Vec2"): 94_371_712, ("large", "Wav2Vec2"): 315_428_992}
    count = published.get((preset, architecture))
    assert count in (None, sum(p.numel() for p in model.parameters()))


@pytest.mark.parametrize("name", ["wav2vec2-base", "mhubert-147", "data2vec-audio"])
def test_a_training_starts_from_one(tmp_path, name):
    reference = of_transformers(KINDS[name], head=False)
    write(reference, tmp_path)
    encoder = dataclasses.replace(load(tmp_path).model.config.encoder, wave_epsilon=1e-5)
    model = SpeechTranslator(ModelConfig(encoder=encoder, parts=("encoder",))).eval()
    load_encoder(model, tmp_path)
    assert_same_function(model, lambda wave: theirs(reference, wave))
    xlsr = SpeechTranslator(
        ModelConfig(encoder=dataclasses.replace(encoder, norm_first=True, conv_norm="layer"), parts=("encoder",))
    )
    with pytest.raises(CheckpointError, match="norm_first is False, expected True"):
        load_encoder(xlsr, tmp_path)


@pytest.mark.parametrize("name", ["wav2vec2-base", "hubert-without-norm", "data2vec-audio"])
def test_recordings_are_written_down_from_the_command_line_whatever_lies_beside_them(tmp_path, capsys, name):
    model = of_transformers(KINDS[name], head=True)
    write(model, tmp_path / "model")
    generator = np.random.default_rng(5)
    expected = []
    for number, length in enumerate((16000, 7000, 11111)):
        wave = (0.1 * generator.standard_normal(length)).astype(np.float32)
        soundfile.write(tmp_path / f"{number}.wav", wave, 16000, subtype="FLOAT")
        extractor = transformers.Wav2Vec2FeatureExtractor.from_pretrained(tmp_path / "model")
        values = extractor(wave, sampling_rate=16000, return_tensors="pt").input_values[0]
        path = theirs(model, values).argmax(-1)
        text = transformers.Wav2Vec2CTCTokenizer.from_pretrained(tmp_path / "model").decode(path.tolist())
        expected.append(" ".join(text.split()))
    files = [str(tmp_path / f"{number}.wav") for number in range(3)]
    options = ["--checkpoint", str(tmp_path / "model"), "--device", "cpu", "--keep-all"]
    assert main(["transcribe", *files, *options]) == 0
    written = [line.split("\t")[-1] for line in capsys.readouterr().out.splitlines()]
    assert written == expected
    assert main(["inspect", str(tmp_path / "model"), "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert shown["format"] == f"transformers {KINDS[name].stem}ForCTC"
    assert shown["problems"] == []
    assert shown["encoder"]["norm_first"] is False


def test_what_has_no_effect_is_named_and_left_out_and_what_has_closes_the_folder(tmp_path, caplog):
    model = of_transformers(KINDS["wav2vec2-base"], head=True)
    write(model, tmp_path)
    state = dict(model.state_dict())
    stray = {"quantizer.codevectors": torch.ones(1, 4, 4), "project_q.bias": torch.ones(3),
             "wav2vec2.mask_time_emb_vector": torch.ones(48)}  # fmt: skip
    save_file({**state, **stray}, tmp_path / "model.safetensors")
    bundle = load(tmp_path)
    assert_same_function(bundle.model, lambda wave: theirs(model, wave))
    assert (
        "3 tensors that have no effect in this model are left out: project_q.bias, quantizer.codevectors, "
        in caplog.text
    )
    save_file({**state, "wav2vec2.encoder.layers.0.gate": torch.ones(3)}, tmp_path / "model.safetensors")
    with pytest.raises(CheckpointError, match=r"no place for: wav2vec2\.encoder\.layers\.0\.gate"):
        load(tmp_path)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"feature_norm": False, "pos_conv_depth": 3}, "the nearest, Hubert"),
        ({"norm_first": False, "adapter_dim": 4}, "no adapters in layers with the norm behind them"),
    ],
)
def test_encoders_that_transformers_has_not_stay_here(changes, message):
    shape = {"conv_layers": ((8, 10, 5),), "dim": 16, "num_heads": 2, "num_layers": 1, "pos_conv_groups": 2}
    with pytest.raises(CheckpointError, match=message):
        family_of(EncoderConfig(**shape | changes))
