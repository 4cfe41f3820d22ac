"""WavLM, base and large: its numbers alone and in a batch, from transformers' folders and the authors' files; out again."""

from __future__ import annotations

import dataclasses
import json

import pytest
import reference_models as ref
import soundfile
import torch
import transformers

from st import load
from st.checkpoints.assemble import blueprint
from st.checkpoints.convert import convert
from st.checkpoints.inspect import inspect
from st.checkpoints.start.initialise import load_encoder
from st.cli import main
from st.errors import CheckpointError, ConfigError
from st.modules.config import ModelConfig, ctc_heads
from st.modules.encoder_config import EncoderConfig
from st.modules.encoder_layers.relative_positions import BucketedDistances
from st.modules.model import SpeechTranslator
from st.modules.presets import preset

CLOSE = {"atol": 1e-5, "rtol": 0}
LABELS = ["<pad>", "<s>", "</s>", "<unk>", "|", *"etaoins"]
LENGTHS = [16000, 9040, 401, 12345]
BUCKETS, FARTHEST = 16, 20  # so that near, far and farthest distances are met
KINDS = {
    "base": ref.POST_NORM,
    "large": {"feat_extract_norm": "layer", "do_stable_layer_norm": True, "conv_bias": True},
}


def reference(kind="large", head=True):
    torch.manual_seed(0)
    settings = {"vocab_size": len(LABELS), "num_buckets": BUCKETS, "max_bucket_distance": FARTHEST}
    config = ref.family_config("WavLM", **settings, **KINDS[kind])
    model = ref.perturb((transformers.WavLMForCTC if head else transformers.WavLMModel)(config))
    with torch.no_grad():  # so that distances and gates matter
        for name, parameter in model.named_parameters():
            if "rel_attn_embed" in name or "gru_rel_pos" in name:
                parameter.add_(torch.randn(parameter.shape))
        if head:
            model.lm_head.weight.mul_(2)
            model.lm_head.bias[1:4] = -30
            model.lm_head.bias[0] += 1
    return model


def write(model, folder, *, pickled=False):
    model.save_pretrained(folder)
    if pickled:
        (folder / "model.safetensors").unlink()
        torch.save(model.state_dict(), folder / "pytorch_model.bin")
    transformers.Wav2Vec2FeatureExtractor().save_pretrained(folder)
    (folder / "vocab.json").write_text(json.dumps({symbol: row for row, symbol in enumerate(LABELS)}))
    return folder


def write_original(model, path, **changes):
    """Write a file as the authors' ``WavLM.py`` reads it: ``cfg``, a plain dictionary, and ``model``."""
    names = {
        "masked_spec_embed": "mask_emb",
        ".conv.weight": ".0.weight",
        ".conv.bias": ".0.bias",
        "feature_projection.layer_norm": "layer_norm",
        "feature_projection.projection": "post_extract_proj",
        "pos_conv_embed.conv.parametrizations.weight.original0": "pos_conv.0.weight_g",
        "pos_conv_embed.conv.parametrizations.weight.original1": "pos_conv.0.weight_v",
        "pos_conv_embed.0.bias": "pos_conv.0.bias",
        "attention.rel_attn_embed": "self_attn.relative_attention_bias",
        "attention.gru_rel_pos_linear": "self_attn.grep_linear",
        "attention.gru_rel_pos_const": "self_attn.grep_a",
        "attention.": "self_attn.",
        "feed_forward.intermediate_dense": "fc1",
        "feed_forward.output_dense": "fc2",
    }
    grouped, state = model.config.feat_extract_norm == "group", {}
    for name, tensor in model.state_dict().items():
        for theirs, original in names.items():
            name = name.replace(theirs, original)
        head, _, tail = name.rpartition(".layer_norm.")
        if head.startswith("feature_extractor"):
            name = f"{head}.2.{'' if grouped else '1.'}{tail}"
        elif head.startswith("encoder.layers"):
            name = f"{head}.self_attn_layer_norm.{tail}"
        state[name] = tensor
    config = model.config
    cfg = {
        "extractor_mode": "default" if grouped else "layer_norm", "encoder_layers": config.num_hidden_layers,
        "encoder_embed_dim": config.hidden_size, "encoder_ffn_embed_dim": config.intermediate_size,
        "encoder_attention_heads": config.num_attention_heads, "activation_fn": "gelu",
        "layer_norm_first": config.do_stable_layer_norm, "conv_feature_layers": ref.CONV_TEXT,
        "conv_bias": config.conv_bias, "normalize": not grouped, "conv_pos": config.num_conv_pos_embeddings,
        "conv_pos_groups": config.num_conv_pos_embedding_groups, "relative_position_embedding": True,
        "num_buckets": BUCKETS, "max_distance": FARTHEST, "gru_rel_pos": True, "mask_prob": 0.8,
    }  # fmt: skip
    torch.save({"cfg": cfg | changes, "model": state}, path)
    return path


@torch.no_grad()
def theirs(model, wave):
    output = model(wave[None])
    return (output.logits if "logits" in output else output.last_hidden_state)[0]


@torch.no_grad()
def ours(model, waves, lengths):
    encoded = model.encode(waves, lengths)
    found = model.ctc_logits(encoded) if model.config.heads else encoded.states
    return [row[:length] for row, length in zip(found, encoded.lengths.tolist(), strict=True)]


def assert_same(model, reference):
    """Compare a batch, and each of its rows alone, with the reference that has one recording at a time."""
    waves, lengths = ref.waves(LENGTHS)
    for row, (length, together) in enumerate(zip(LENGTHS, ours(model, waves, lengths), strict=True)):
        expected = theirs(reference, waves[row, :length])
        torch.testing.assert_close(together, expected, **CLOSE)
        torch.testing.assert_close(
            ours(model, waves[row : row + 1, :length], lengths[row : row + 1])[0], expected, **CLOSE
        )


@pytest.mark.parametrize("head", [True, False], ids=["ctc", "encoder"])
@pytest.mark.parametrize("kind", KINDS)
def test_numbers_are_those_of_transformers_and_it_goes_out_again(tmp_path, caplog, kind, head):
    model = reference(kind, head)
    bundle = load(write(model, tmp_path / "in", pickled=head))
    assert bundle.description == f"transformers WavLM{'ForCTC' if head else 'Model'}"
    assert_same(bundle.model, model)
    convert(tmp_path / "in", tmp_path / "out", "hf")
    again = ref.opens_without_a_word(type(model), tmp_path / "out", caplog)
    assert_same(bundle.model, again)
    assert_same(load(tmp_path / "out").model, model)
    assert inspect(tmp_path / "out")["problems"] == []


@pytest.mark.parametrize("kind", KINDS)
def test_the_authors_files_open_and_become_folders(tmp_path, caplog, kind):
    model = reference(kind, head=False)
    path = write_original(model, tmp_path / "WavLM.pt")
    bundle = load(path)
    assert bundle.description == "fairseq wavlm"
    assert bundle.config.standardize_audio is (kind == "large")
    assert_same(bundle.model, model)
    convert(path, tmp_path / "out", "hf")
    assert_same(bundle.model, ref.opens_without_a_word(transformers.WavLMModel, tmp_path / "out", caplog))


def test_without_a_word_on_distances_they_reach_as_far_as_in_the_authors_code(tmp_path):
    path = write_original(reference(head=False), tmp_path / "WavLM.pt")
    content = torch.load(path)
    del content["cfg"]["max_distance"], content["cfg"]["num_buckets"]
    torch.save(content, path)
    encoder = load(path).model.config.encoder
    assert (encoder.distance_buckets, encoder.farthest_distance) == (BUCKETS, 1280)


@pytest.mark.parametrize(("buckets", "farthest"), [(320, 800), (320, 1280), (16, 20), (4, 2)])
def test_buckets_of_distances_are_those_of_transformers(buckets, farthest):
    reference = transformers.models.wavlm.modeling_wavlm.WavLMAttention(
        8, 2, num_buckets=buckets, max_distance=farthest
    )
    distances = torch.arange(-3000, 3001)
    expected = reference._relative_positions_bucket(distances)
    assert torch.equal(BucketedDistances(2, buckets, farthest).numbers(distances), expected)


def test_transcripts_are_those_of_transformers(tmp_path, capsys):
    model = reference("base")
    write(model, tmp_path / "model")
    waves, lengths = ref.waves([16000, 9040, 12345])
    extractor = transformers.Wav2Vec2FeatureExtractor()
    files, expected = [], []
    for number, (wave, length) in enumerate(zip(waves, lengths.tolist(), strict=True)):
        loudness = torch.tensor([0.01, 0.2, 0.05, 0.15, 0.02, 0.2]).repeat_interleave(-(-length // 6))  # as of speech
        wave = (loudness[:length] * wave[:length].clamp(-4, 4)).numpy()
        files.append(str(tmp_path / f"{number}.wav"))
        soundfile.write(files[-1], wave, 16_000, subtype="FLOAT")
        values = extractor(wave, sampling_rate=16_000, return_tensors="pt")["input_values"][0]
        symbols = [LABELS[label] for label in torch.unique_consecutive(theirs(model, values).argmax(-1)).tolist()]
        expected.append(" ".join("".join(symbols).replace("<pad>", "").replace("|", " ").split()))
    assert main(["transcribe", *files, "--checkpoint", str(tmp_path / "model"), "--device", "cpu"]) == 0
    assert [line.split("\t")[-1].strip() for line in capsys.readouterr().out.splitlines()] == expected
    assert min(map(len, expected)) > 5


SHAPE = EncoderConfig(
    conv_layers=ref.CONV_LAYERS, dim=48, ffn_dim=96, num_heads=4, num_layers=2, pos_conv_kernel=16, pos_conv_groups=4,
    distance_buckets=BUCKETS, farthest_distance=FARTHEST,
)  # fmt: skip


def model_config(**changes):
    encoder = dataclasses.replace(SHAPE, **changes)
    return ModelConfig(encoder=encoder, heads=ctc_heads(len(LABELS)), parts=("encoder",))


def test_gradients_reach_every_parameter():
    torch.manual_seed(1)
    for changes in ({}, {"norm_first": False, "conv_norm": "group"}):
        model = SpeechTranslator(model_config(mask_time_prob=0.3, mask_time_length=2, **changes)).train()
        model.ctc_logits(model.encode(*ref.waves([16000, 12345]))).square().sum().backward()
        assert [name for name, value in model.named_parameters() if value.grad is None or not value.grad.any()] == []


def test_a_training_starts_from_it_and_says_what_does_not_fit(tmp_path):
    model = reference(head=False)
    write(model, tmp_path)
    fresh = SpeechTranslator(model_config())
    load_encoder(fresh, tmp_path)
    fresh = SpeechTranslator(dataclasses.replace(fresh.config, heads={})).eval()
    load_encoder(fresh, tmp_path)
    assert_same(fresh, model)
    with pytest.raises(CheckpointError, match="farthest_distance is 20, expected 800"):
        load_encoder(SpeechTranslator(model_config(farthest_distance=800)), tmp_path)
    with pytest.raises(CheckpointError, match="distance_buckets is 16, expected 0"):
        load_encoder(SpeechTranslator(model_config(distance_buckets=0)), tmp_path)


@pytest.mark.parametrize(("name", "parameters"), [("wavlm_base", 94_381_936), ("wavlm_large", 315_453_120)])
def test_published_models_have_as_many_parameters_as_the_presets(name, parameters):
    config = dataclasses.replace(preset(name), parts=("encoder",))
    assert sum(parameter.numel() for parameter in blueprint(config).parameters()) == parameters


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"layer_norm_first": False}, None),
        ({"activation_fn": "glu"}, "activation_fn is 'glu', expected 'gelu'"),
        ({"num_buckets": 8}, r"relative_attention_bias\.weight is \[16, 4\], expected \[8, 4\]"),
    ],
)
def test_settings_of_the_authors_files_are_followed_or_refused(tmp_path, changes, message):
    path = write_original(reference(head=False), tmp_path / "WavLM.pt", **changes)
    if message is None:
        assert not load(path).model.config.encoder.norm_first
    else:
        with pytest.raises(CheckpointError, match=message):
            load(path)


def test_formats_without_such_a_model_say_so(tmp_path):
    write(reference(), tmp_path / "in")
    with pytest.raises(CheckpointError, match="fairseq's wav2vec2 has no encoder with distance_buckets 16"):
        convert(tmp_path / "in", tmp_path / "out.pt", "fairseq")


@pytest.mark.parametrize("changes", [{"distance_buckets": 3}, {"distance_buckets": 320, "farthest_distance": 80}])
def test_impossible_settings_are_refused(changes):
    with pytest.raises(ConfigError, match=r"distance_buckets is \d+ and farthest_distance"):
        dataclasses.replace(SHAPE, **changes)
