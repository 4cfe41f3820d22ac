"""A CTC fine-tuning leaves as a model of its own, which the recognition pipeline of transformers opens, and so does the CTC
head of a translation model."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import reference_models as ref
import torch
import transformers
from training_checkpoints import assert_same, make_model, save_training

from st import load
from st.checkpoints.bundle import bundle_files
from st.checkpoints.convert import convert
from st.cli import main
from st.data.config import DataConfig
from st.errors import CheckpointError, UsageError
from st.modules.model import SpeechTranslator
from st.text.ctc_vocabulary import CtcVocabulary
from st.text.sentencepiece_training import covost_tags, dictionary_text, model_pieces

CLOSE = {"atol": 5e-5, "rtol": 0}  # of logits around 10
LENGTHS = [9000, 4000, 6001]


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    folder, spm = tmp_path_factory.mktemp("tree"), ref.make_spm()
    (folder / "spm.model").write_bytes(spm)
    (folder / "dict.txt").write_text(dictionary_text(model_pieces(spm), covost_tags(["en", "fr"])))
    CtcVocabulary.build({"en": ["speech translation", "zwölf"]}).save(folder / "ctc_vocab.json")
    languages = {"mdw": {"name": "Mbosi", "script": "Latn"}}
    DataConfig(directions=("mdw_en",), languages=languages).save(folder)
    return folder


def training(tree, path, *, layer=0, taught=False):
    """Write a checkpoint whose CTC head reads a layer, of a training that taught the decoder or not."""
    symbols = 4 + len((tree / "dict.txt").read_text().splitlines())
    ctc = CtcVocabulary.load(tree / "ctc_vocab.json")
    model = make_model(symbols, len(ctc))
    heads = {name: dataclasses.replace(head, layer=layer) for name, head in model.config.heads.items()}
    tensors, model = model.state_dict(), SpeechTranslator(dataclasses.replace(model.config, heads=heads)).eval()
    model.load_state_dict(tensors)
    with torch.no_grad():  # what is never a target is never written; words, and blanks between letters
        model.ctc.proj.bias[1:4] = -30
        model.ctc.proj.bias[0] += 4
        model.ctc.proj.bias[4] += 8
        model.ctc.proj.weight *= 8
    save_training(model, tree, path)
    criterion = {"criterion": {"translation_weight": float(taught)}}
    torch.save(torch.load(path) | {"cfg": criterion}, path)
    return model


@torch.no_grad()
def same_function(model, theirs):
    for length in LENGTHS:
        wave, lengths = ref.waves([length])
        encoded = model.encode(wave, lengths)
        torch.testing.assert_close(theirs(wave).logits, model.ctc_logits(encoded), **CLOSE)


@torch.no_grad()
def texts(bundle, waves):
    """What the best path of our own model says, one recording at a time."""
    found = []
    for wave in waves:
        wave = torch.tensor((wave - wave.mean()) / np.sqrt(wave.var() + 1e-7), dtype=torch.float32)[None]
        logits = bundle.model.ctc_logits(bundle.model.encode(wave, torch.tensor([wave.size(1)])))
        found.append(bundle.ctc.decode(logits[0].argmax(-1).tolist()))
    return found


@pytest.mark.parametrize(("layer", "taught"), [(0, False), (1, False), (2, True), (1, True)])
def test_a_recogniser_opens_in_the_pipeline_and_writes_the_same(tree, tmp_path, caplog, layer, taught):
    model = training(tree, tmp_path / "model.pt", layer=layer, taught=taught)
    assert main(["convert", str(tmp_path / "model.pt"), str(tmp_path / "out"), "--to", "hf"]) == 0
    folder = tmp_path / "out" / "ctc" if taught else tmp_path / "out"
    assert taught is (tmp_path / "out" / "generation_config.json").is_file()
    theirs = ref.opens_without_a_word(transformers.Wav2Vec2ForCTC, folder, caplog)
    assert theirs.config.num_hidden_layers == (layer or 2)
    same_function(model, theirs)
    generator = np.random.default_rng(3)
    waves = [generator.standard_normal(length).astype(np.float32) for length in (8000, 5000, 16000)]
    pipeline = transformers.pipeline("automatic-speech-recognition", str(folder), device="cpu")
    written = [pipeline({"raw": wave, "sampling_rate": 16_000})["text"] for wave in waves]
    # Two spaces in a row are one for us, and none stands at an end.
    assert (
        [" ".join(text.split()) for text in written]
        == texts(load(folder), waves)
        == texts(load(tmp_path / "model.pt"), waves)
    )
    assert min(map(len, written)) > 20
    assert any(" " in text.strip() for text in written)
    processor = transformers.AutoProcessor.from_pretrained(folder)
    assert type(processor).__name__ == "Wav2Vec2Processor"
    assert processor(text="zwölf").input_ids == load(folder).ctc.encode("zwölf")


def test_a_recogniser_keeps_what_transformers_has_no_place_for(tree, tmp_path):
    training(tree, tmp_path / "model.pt")
    convert(tmp_path / "model.pt", tmp_path / "out", "hf")
    bundle = load(tmp_path / "out")
    assert bundle.model.config.parts == ("encoder",)
    assert bundle.trained_directions == ("mdw_en",)
    assert bundle.config.languages == DataConfig.load(tree).languages
    assert bundle.model.config.encoder.wave_epsilon == load(tmp_path / "model.pt").model.config.encoder.wave_epsilon
    for target, name in (("fairseq", "again.pt"), ("hf", "again")):
        convert(tmp_path / "out", tmp_path / name, target)
        assert_same(load(tmp_path / name).model, bundle.model)
        assert load(tmp_path / name).ctc.symbols == bundle.ctc.symbols


def test_the_recogniser_of_a_translation_model_can_be_had_alone_in_both_formats(tree, tmp_path):
    model = training(tree, tmp_path / "model.pt", layer=1, taught=True)
    command = ["convert", str(tmp_path / "model.pt"), str(tmp_path / "alone"), "--to", "hf", "--parts", "ctc"]
    assert main(command) == 0
    assert not (tmp_path / "alone" / "ctc").exists()
    convert(tmp_path / "model.pt", tmp_path / "alone.pt", "fairseq", parts="ctc")
    assert load(tmp_path / "alone.pt").description == "fairseq wav2vec_ctc"
    for name in ("alone", "alone.pt"):
        bundle = load(tmp_path / name)
        assert bundle.model.config.encoder.num_layers == 1
        waves, lengths = ref.waves(LENGTHS)
        with torch.no_grad():
            expected, found = (one.ctc_logits(one.encode(waves, lengths)) for one in (model, bundle.model))
        torch.testing.assert_close(found, expected, atol=1e-6, rtol=0)


def test_a_decoder_that_was_never_taught_is_kept_if_asked_for(tree, tmp_path):
    model = training(tree, tmp_path / "model.pt")
    convert(tmp_path / "model.pt", tmp_path / "out", "hf", parts="whole")
    transformers.SpeechEncoderDecoderModel.from_pretrained(tmp_path / "out")
    assert_same(load(tmp_path / "out").model, model)
    convert(tmp_path / "model.pt", tmp_path / "again.pt", "fairseq")
    assert_same(load(tmp_path / "again.pt").model, model)


def test_folders_of_earlier_versions_open_whose_ctc_folder_has_the_head_alone(tree, tmp_path):
    model = training(tree, tmp_path / "model.pt", taught=True)
    convert(tmp_path / "model.pt", tmp_path / "out", "hf")
    (tmp_path / "out" / "ctc_head.safetensors").replace(tmp_path / "out" / "ctc" / "model.safetensors")
    assert_same(load(tmp_path / "out").model, model)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"parts": "decoder"}, UsageError, "`parts` is 'decoder'; expected one of whole, ctc"),
        ({"parts": "ctc", "full_vocab": "x"}, UsageError, "`full_vocab` is of the decoder"),
        ({"parts": "ctc"}, CheckpointError, "has no CTC head"),
    ],
)
def test_what_cannot_be_a_recogniser_is_refused(tree, tmp_path, options, error, message):
    model = make_model(4 + len((tree / "dict.txt").read_text().splitlines()), 0)
    bundle = {"format": 1, "model_config": dataclasses.replace(model.config, heads={}).to_dict()}
    bundle["files"] = bundle_files(tree)
    model = SpeechTranslator(dataclasses.replace(model.config, heads={}))
    save_training(model, tree, tmp_path / "model.pt")
    with pytest.raises(error, match=message):
        convert(tmp_path / "model.pt", tmp_path / "out", "hf", **options)
    assert not (tmp_path / "out" / "config.json").exists()
