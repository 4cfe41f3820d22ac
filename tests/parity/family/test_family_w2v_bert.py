"""w2v-BERT 2.0: what it hears, its numbers, its texts, alone and in a batch; it goes out again; what cannot be is said."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
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
from st.modules.front_end.kaldi_filterbank import KaldiFilterBank, kaldi_mel_filters
from st.modules.model import SpeechTranslator
from st.modules.presets import preset

CLOSE = {"atol": 1e-5, "rtol": 0}
ROUNDED = {"atol": 2e-4, "rtol": 0}
"""From waves: the reference takes means of features in float32."""
LABELS = ["<pad>", "<s>", "</s>", "<unk>", "|", *"etaoins"]
LENGTHS = [16000, 9040, 561, 12345]
SHAPE = EncoderConfig(
    layer_kind="conformer", conv_layers=(), mel_bands=80, mel_stack=2, conv_module_kernel=5, dim=48, ffn_dim=96,
    num_heads=4, num_layers=2, left_distances=7, right_distances=3,
)  # fmt: skip
KINDS = {
    "plain": {},
    "adapter": {"add_adapter": True, "num_adapter_layers": 2},
    "no positions": {"position_embeddings_type": None},
}


def recordings(lengths=LENGTHS, seed=5):
    """Return waves that change as speech does, some of them quiet, one with a stretch of nothing."""
    generator = np.random.default_rng(seed)
    waves = []
    for number, length in enumerate(lengths):
        loudness = np.interp(np.arange(length), np.linspace(0, length, 9), generator.uniform(0.01, 0.4, 9))
        waves.append((loudness * generator.standard_normal(length) * 10.0**-number).astype(np.float32))
    waves[0][3000:6000] = 0
    return waves


def padded(waves):
    """Return a batch ``(N, T)`` whose padding is noise, and lengths ``(N,)``."""
    batch = torch.randn(len(waves), max(map(len, waves)), generator=torch.Generator().manual_seed(3))
    for row, wave in zip(batch, waves, strict=True):
        row[: len(wave)] = torch.from_numpy(wave)
    return batch, torch.tensor([len(wave) for wave in waves])


def reference(kind="plain", head=True):
    torch.manual_seed(0)
    config = transformers.Wav2Vec2BertConfig(**{
        "hidden_size": 48, "intermediate_size": 96, "num_hidden_layers": 2, "num_attention_heads": 4,
        "conv_depthwise_kernel_size": 5, "left_max_position_embeddings": 7, "right_max_position_embeddings": 3,
        "vocab_size": len(LABELS), "output_hidden_size": 48, "layerdrop": 0.0, **KINDS[kind],
    })  # fmt: skip
    model = (transformers.Wav2Vec2BertForCTC if head else transformers.Wav2Vec2BertModel)(config)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "distance_embedding" in name:  # so that positions matter
                parameter.mul_(3)
        if head:
            model.lm_head.weight.mul_(6)
    model = ref.perturb(model)
    if head:  # special symbols are never written
        model.lm_head.bias.data[1:4] = -30
    return model


def write(model, folder, *, pickled=False):
    if pickled:
        model.config.save_pretrained(folder)
        torch.save(model.state_dict(), folder / "pytorch_model.bin")
    else:
        model.save_pretrained(folder)
    transformers.SeamlessM4TFeatureExtractor(padding_value=1).save_pretrained(folder)
    (folder / "vocab.json").write_text(json.dumps({symbol: row for row, symbol in enumerate(LABELS)}))
    return folder


@torch.no_grad()
def theirs(model, wave):
    """Return what the reference makes of one recording, without the frame that may be half filled up."""
    features = transformers.SeamlessM4TFeatureExtractor()(wave, sampling_rate=16_000, return_tensors="pt")
    frames = int(features["attention_mask"].sum())
    output = model(features["input_features"][:, :frames])
    return output.logits[0] if hasattr(output, "logits") else output.last_hidden_state[0]


@torch.no_grad()
def ours(model, waves):
    """Return what our model makes of recordings in a batch, each as long as it is."""
    encoded = model.encode(*padded(waves))
    states = model.ctc_logits(encoded) if model.config.heads else encoded.states
    return [row[:length] for row, length in zip(states, encoded.lengths.tolist(), strict=True)]


def test_what_it_hears_is_what_the_reference_extractor_makes():
    waves = recordings()
    expected = transformers.SeamlessM4TFeatureExtractor()(waves, sampling_rate=16_000, return_tensors="pt")
    bank = KaldiFilterBank(80, 2)
    batch, lengths = padded(waves)
    found = bank(batch, lengths)
    assert bank.output_lengths(lengths).tolist() == expected["attention_mask"].sum(1).tolist() == [49, 27, 1, 37]
    for row, frames in enumerate(bank.output_lengths(lengths).tolist()):
        # Of two mel frames each band is plus or minus one number, however close they are: rounding shows.
        close = {"atol": 1e-2 if frames == 1 else 1e-4, "rtol": 0}
        torch.testing.assert_close(found[row, :frames], expected["input_features"][row, :frames], **close)
        assert not found[row, frames:].any()
        alone = bank(batch[row : row + 1, : lengths[row]], lengths[row : row + 1])
        torch.testing.assert_close(found[row, :frames], alone[0], **CLOSE)


def test_mel_filters_are_those_of_kaldi():
    expected = torch.from_numpy(transformers.SeamlessM4TFeatureExtractor().mel_filters)
    torch.testing.assert_close(kaldi_mel_filters(80), expected, atol=1e-12, rtol=0)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("head", [True, False], ids=["ctc", "encoder"])
def test_numbers_are_those_of_transformers_alone_and_in_a_batch(tmp_path, kind, head):
    model = reference(kind, head)
    bundle = load(write(model, tmp_path, pickled=kind == "adapter"))
    assert bundle.description == f"transformers Wav2Vec2Bert{'ForCTC' if head else 'Model'}"
    assert not bundle.config.standardize_audio
    waves = recordings()
    for wave, found in zip(waves, ours(bundle.model, waves), strict=True):
        expected = theirs(model, wave)
        torch.testing.assert_close(found, expected, **(ROUNDED if len(wave) > 700 else {"atol": 5e-3, "rtol": 0}))
        torch.testing.assert_close(ours(bundle.model, [wave])[0], found, **CLOSE)


@torch.no_grad()
@pytest.mark.parametrize("kind", ["plain", "no positions"])
def test_given_the_same_features_logits_are_equal_in_a_padded_batch(tmp_path, kind):
    """What is left of the differences above is rounding of the features: with the reference's own there is none."""
    model = reference(kind)
    bundle = load(write(model, tmp_path))
    waves = recordings()
    features = transformers.SeamlessM4TFeatureExtractor()(waves, sampling_rate=16_000, return_tensors="pt")
    expected = model(**features).logits
    frames = features["attention_mask"].sum(1)
    encoder = bundle.model.encoder
    states = encoder.post_extract_proj(encoder.layer_norm(features["input_features"]))
    states, _ = encoder.encoder(states, frames)
    for row, length in enumerate(frames.tolist()):
        torch.testing.assert_close(bundle.model.ctc.proj(states)[row, :length], expected[row, :length], **CLOSE)


@pytest.mark.parametrize("kind", KINDS)
def test_frames_are_one_each_hop(kind):
    encoder = SpeechTranslator(model_config(kind)).encoder
    lengths = torch.arange(encoder.receptive_field, encoder.receptive_field + 4000, 37)
    assert torch.equal(encoder.output_lengths(lengths), (lengths - encoder.receptive_field) // encoder.hop + 1)
    assert encoder.output_lengths(torch.tensor([encoder.receptive_field - 1])).item() == 0
    with pytest.raises(ValueError, match="the encoder needs at least 560"):
        encoder(torch.zeros(1, 559), torch.tensor([559]))


def model_config(kind="plain", **changes):
    if kind == "adapter":
        changes |= {"pooling_layers": 2}
    if kind == "no positions":
        changes |= {"left_distances": 0, "right_distances": 0}
    encoder = dataclasses.replace(SHAPE, **changes)
    return ModelConfig(encoder=encoder, heads=ctc_heads(len(LABELS)), parts=("encoder",))


def test_transcripts_are_those_of_transformers(tmp_path, capsys):
    write(reference(), tmp_path / "model")
    tokenizer = {"pad_token": "<pad>", "unk_token": "<unk>", "word_delimiter_token": "|"}
    (tmp_path / "model" / "tokenizer_config.json").write_text(json.dumps(tokenizer))
    files, expected = [], []
    for number, wave in enumerate(recordings([16000, 9040, 12345])):
        files.append(str(tmp_path / f"{number}.wav"))
        wave = wave / np.abs(wave).max()
        soundfile.write(files[-1], wave, 16_000, subtype="FLOAT")
        best = theirs(reference(), wave).argmax(-1)
        symbols = [LABELS[label] for label in torch.unique_consecutive(best).tolist() if label > 3]
        expected.append(" ".join("".join(symbols).replace("|", " ").split()))
    assert main(["transcribe", *files, "--checkpoint", str(tmp_path / "model"), "--device", "cpu"]) == 0
    written = capsys.readouterr().out.splitlines()
    assert [line.split("\t")[-1].strip() for line in written] == expected
    assert min(map(len, expected)) > 5


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("head", [True, False], ids=["ctc", "encoder"])
def test_it_goes_out_again_and_transformers_opens_it_without_a_word(tmp_path, caplog, kind, head):
    model = reference(kind, head)
    convert(write(model, tmp_path / "in"), tmp_path / "out", "hf")
    again = ref.opens_without_a_word(type(model), tmp_path / "out", caplog)
    (wave,) = recordings([9040])
    torch.testing.assert_close(theirs(again, wave), theirs(model, wave), **CLOSE)
    assert {name: tensor.shape for name, tensor in again.state_dict().items()} == {
        name: tensor.shape for name, tensor in model.state_dict().items()
    }
    extractor = transformers.AutoFeatureExtractor.from_pretrained(tmp_path / "out")
    usual = transformers.SeamlessM4TFeatureExtractor()
    assert type(extractor) is type(usual)
    features = [one(wave, sampling_rate=16_000)["input_features"] for one in (extractor, usual)]
    np.testing.assert_array_equal(*features)
    second = load(tmp_path / "out")
    torch.testing.assert_close(ours(second.model, [wave])[0], theirs(model, wave), **ROUNDED)
    assert inspect(tmp_path / "out")["problems"] == []


def test_the_pipeline_of_transformers_opens_what_is_written(tmp_path):
    convert(write(reference(), tmp_path / "in"), tmp_path / "out", "hf")
    recognise = transformers.pipeline("automatic-speech-recognition", str(tmp_path / "out"), device="cpu")
    (wave,) = recordings([9040])
    bundle = load(tmp_path / "out")
    expected = bundle.ctc.decode(ours(bundle.model, [wave])[0].argmax(-1).tolist())
    assert " ".join(recognise({"raw": wave, "sampling_rate": 16_000})["text"].split()) == expected


def test_gradients_reach_every_parameter():
    torch.manual_seed(1)
    config = model_config("adapter", mask_time_prob=0.3, mask_time_length=2, mask_channel_prob=0.2)
    model = SpeechTranslator(config).train()
    model.ctc_logits(model.encode(*padded(recordings([16000, 12345])))).square().sum().backward()
    assert [name for name, value in model.named_parameters() if value.grad is None or not value.grad.any()] == []


@torch.no_grad()
def test_a_training_starts_from_it_and_says_what_does_not_fit(tmp_path):
    model = reference(head=False)
    write(model, tmp_path)
    fresh = SpeechTranslator(model_config())
    load_encoder(fresh, tmp_path)
    (wave,) = recordings([9040])
    encoded = fresh.eval().encode(*padded([wave]))
    torch.testing.assert_close(encoded.states[0], theirs(model, wave), **ROUNDED)
    for changes, message in (
        ({"left_distances": 5, "right_distances": 5}, "left_distances is 7, expected 5"),
        ({"num_heads": 2}, "num_heads is 4, expected 2"),
        ({"num_layers": 3}, r"missing: encoder\.layers\.2"),
    ):
        with pytest.raises(CheckpointError, match=message):
            load_encoder(SpeechTranslator(model_config(**changes)), tmp_path)
    with pytest.raises(CheckpointError, match="layer_kind is conformer, expected transformer"):
        load_encoder(SpeechTranslator(ModelConfig(encoder=EncoderConfig(num_layers=1), parts=("encoder",))), tmp_path)


def test_the_published_model_has_as_many_parameters_as_the_preset():
    config = dataclasses.replace(preset("w2v_bert"), parts=("encoder",))
    assert sum(parameter.numel() for parameter in blueprint(config).parameters()) == 580_493_120


@pytest.mark.parametrize(
    ("changes", "extractor", "message"),
    [
        ({"position_embeddings_type": "rotary"}, {}, "position_embeddings_type is 'rotary', expected 'relative_key'"),
        ({"position_embeddings_type": "relative"}, {}, "fine-tuned from facebook/w2v-bert-2.0 has them"),
        ({"hidden_act": "gelu"}, {}, "hidden_act is 'gelu', expected 'swish'"),
        ({"add_adapter": True, "adapter_kernel_size": 5}, {}, "adapter_kernel_size is 5, expected 3"),
        ({"add_adapter": True, "output_hidden_size": 64}, {}, "output_hidden_size is 64, expected 48"),
        ({"add_adapter": True, "use_intermediate_ffn_before_adapter": True}, {}, "use_intermediate_ffn_before_adapter"),
        ({"add_adapter": True, "num_adapter_layers": 1_000_000}, {}, "1,000,000 pooling_layers; at most 8"),
        ({"add_adapter": True, "num_adapter_layers": None}, {}, "pooling_layers is None; expected a positive integer"),
        ({"num_hidden_layers": 1_000_000}, {}, "encoder of 1,000,000 layers, but only"),
        ({}, {"num_mel_bins": "80"}, "not an architecture|makes 2 times 80"),
        ({"feature_projection_input_dim": 80}, {}, "is 80; its feature extractor makes 2 times 80"),
        ({}, {"stride": 3}, "makes 3 times 80"),
        ({}, {"padding_side": "left"}, "padding_side is 'left', expected 'right'"),
        ({}, {"feature_extractor_type": "Wav2Vec2FeatureExtractor"}, "expected 'SeamlessM4TFeatureExtractor'"),
        ({"conv_depthwise_kernel_size": 4}, {}, "conv_module_kernel 4 is not odd"),
    ],
)
def test_what_is_out_of_reach_is_said_in_a_sentence(tmp_path, changes, extractor, message):
    write(reference(), tmp_path)
    for name, values in (("config.json", changes), ("preprocessor_config.json", extractor)):
        settings = json.loads((tmp_path / name).read_text())
        (tmp_path / name).write_text(json.dumps(settings | values))
    with pytest.raises(CheckpointError, match=message):
        load(tmp_path)


def test_a_model_that_reads_waves_is_not_given_a_spectrogram(tmp_path):
    transformers.Wav2Vec2Model(ref.wav2vec2_config()).save_pretrained(tmp_path)
    transformers.SeamlessM4TFeatureExtractor().save_pretrained(tmp_path)
    with pytest.raises(CheckpointError, match="expected 'Wav2Vec2FeatureExtractor'"):
        load(tmp_path)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"layer_kind": "rnn"}, "layer_kind is 'rnn'; choose from: transformer, conformer"),
        ({"conv_module_kernel": 0}, "need conv_module_kernel"),
        ({"adapter_dim": 16}, "no place for adapter_dim"),
        ({"mel_bands": 0}, "neither conv_layers nor mel_bands"),
        ({"mel_bands": 0, "conv_layers": ((8, 10, 5),)}, "mel_stack without mel_bands"),
        ({"pooling_layers": 1_000_000}, "1,000,000 pooling_layers; at most 8"),
        ({"distance_buckets": 32}, "left_distances or right_distances, and distance_buckets"),
    ],
)
def test_impossible_settings_are_refused(changes, message):
    with pytest.raises(ConfigError, match=message):
        dataclasses.replace(SHAPE, **changes)


def test_a_head_on_an_inner_layer_has_no_frames_of_the_adapter():
    with pytest.raises(ConfigError, match="which alone has the frames of pooling_layers"):
        ModelConfig(
            encoder=dataclasses.replace(SHAPE, pooling_layers=1), heads=ctc_heads(7, layer=1), parts=("encoder",)
        )


@pytest.mark.parametrize(("to", "message"), [("fairseq", "fairseq's wav2vec2 has no encoder with mel_bands 80")])
def test_formats_without_such_a_model_say_so(tmp_path, to, message):
    write(reference(), tmp_path / "in")
    with pytest.raises(CheckpointError, match=message):
        convert(tmp_path / "in", tmp_path / "out.pt", to)
