"""A recording is brought to unit variance as where a model comes from, however quiet it is, and wherever the model goes."""

from __future__ import annotations

import json
import logging

import numpy as np
import pytest
import reference_models as ref
import torch
import torch.nn.functional as F
import transformers

from st import load
from st.checkpoints.average import average
from st.checkpoints.convert import convert
from st.checkpoints.formats.transformers.preprocessor import EPSILON_KEY
from st.data.config import DataConfig
from st.data.dataset import standardize
from st.errors import StError
from st.inference.translator import Translator
from st.text.sentencepiece_training import dictionary_text, mbart50_tags, model_pieces

LABELS = ["<pad>", "<s>", "</s>", "<unk>", "|", *"etaoins"]
RMS = [1e-4, 1e-3, 1e-2, 0.1]
THEIRS, FAIRSEQ = 1e-7, 1e-5


def recordings() -> list[np.ndarray]:
    """Waves of every loudness, each a little off zero, of different lengths."""
    numbers = np.random.default_rng(0)
    waves = [numbers.standard_normal(4000 + 500 * n) for n in range(len(RMS))]
    return [(rms * (wave / wave.std() + 0.1)).astype(np.float32) for rms, wave in zip(RMS, waves, strict=True)]


def save_processor(folder, **changes):
    """Write the settings of recordings as transformers does today: inside those of the processor."""
    extractor = transformers.Wav2Vec2FeatureExtractor(return_attention_mask=True, **changes)
    extractor.save_pretrained(folder)
    return extractor


@pytest.fixture(scope="module")
def ctc(tmp_path_factory):
    folder = tmp_path_factory.mktemp("ctc")
    torch.manual_seed(0)
    config = ref.wav2vec2_config(vocab_size=len(LABELS), pad_token_id=0)
    model = ref.perturb(transformers.Wav2Vec2ForCTC(config))
    model.save_pretrained(folder)
    (folder / "vocab.json").write_text(json.dumps({symbol: row for row, symbol in enumerate(LABELS)}))
    return model, folder, save_processor(folder)


@pytest.fixture(scope="module")
def xlsr(tmp_path_factory):
    path = tmp_path_factory.mktemp("xlsr") / "xlsr.pt"
    return ref.save_fairseq_wav2vec2(path), path


def epsilon(path) -> float:
    return load(path).model.config.encoder.wave_epsilon


def test_fault_07_waves_are_those_of_the_extractor_of_transformers_and_of_fairseq():
    extractor = transformers.Wav2Vec2FeatureExtractor(return_attention_mask=True)
    waves = recordings()
    theirs = extractor(waves, sampling_rate=16000, padding=True)["input_values"]
    for wave, row in zip(waves, theirs, strict=True):
        assert np.allclose(standardize(wave, THEIRS), row[: len(wave)], atol=2e-5)
        expected = F.layer_norm(torch.from_numpy(wave), wave.shape).numpy()
        assert np.allclose(standardize(wave, FAIRSEQ), expected, atol=2e-5)
        assert np.array_equal(standardize(wave), standardize(wave, FAIRSEQ))
    assert not np.allclose(standardize(waves[1], THEIRS), standardize(waves[1], FAIRSEQ), atol=0.5)


@torch.no_grad()
def test_fault_07_quiet_recordings_have_the_logits_of_transformers_alone_and_in_a_batch(ctc):
    model, folder, extractor = ctc
    bundle = load(folder)
    translator = Translator(bundle.model, bundle.text, bundle.ctc)
    waves = recordings()
    given = extractor(waves, sampling_rate=16000, padding=True, return_tensors="pt")
    expected = model(given["input_values"], attention_mask=given["attention_mask"]).logits
    encoded = translator._encode(waves)
    found = bundle.model.ctc_logits(encoded)
    for row, frames in enumerate(encoded.lengths.tolist()):
        torch.testing.assert_close(found[row, :frames], expected[row, :frames], atol=1e-4, rtol=0)


@torch.no_grad()
def test_fault_07_quiet_recordings_have_the_states_of_fairseq(xlsr):
    model, path = xlsr
    bundle = load(path)
    translator = Translator(bundle.model, None, None)
    for wave in recordings():
        source = F.layer_norm(torch.from_numpy(wave), wave.shape)[None]
        expected = model.extract_features(source, None)["x"]
        torch.testing.assert_close(translator._encode([wave]).states, expected, atol=1e-4, rtol=0)


def test_fault_07_the_origin_goes_with_a_model_wherever_it_is_written(ctc, xlsr, tmp_path, caplog):
    spm = ref.make_spm()
    translator = ref.speech_translator(len(model_pieces(spm)) + 4 + len(mbart50_tags()))
    sources = {
        THEIRS: [ctc[1], ref.save_speech_translator(translator, tmp_path / "st", spm)],
        FAIRSEQ: [xlsr[1]],
    }
    with caplog.at_level(logging.WARNING, logger="st"):
        for value, paths in sources.items():
            for number, path in enumerate(paths):
                one, two = tmp_path / f"{value}-{number}.pt", tmp_path / f"{value}-{number}"
                convert(path, one, "fairseq")
                convert(one, two, "hf")
                convert(two, tmp_path / "again.pt", "fairseq", overwrite=True)
                assert [epsilon(file) for file in (path, one, two, tmp_path / "again.pt")] == [value] * 4
                assert average([one, one]).config.encoder.wave_epsilon == value
                settings = transformers.AutoFeatureExtractor.from_pretrained(two)
                assert (getattr(settings, EPSILON_KEY), settings.do_normalize) == (value, True)
    said = [record.getMessage() for record in caplog.records if "variance" in record.getMessage()]
    assert sum("adds 1e-07 to the variance of a recording, fairseq itself 1e-05" in text for text in said) == 2
    assert sum("adds 1e-05 to the variance of a recording, transformers itself 1e-07" in text for text in said) == 1
    assert len(said) == 3
    # The option of our plugin, by which fairseq's commands go.
    made = torch.load(tmp_path / f"{THEIRS}-1.pt", weights_only=False)["cfg"]["model"]
    assert made["encoder_wave_epsilon"] == THEIRS


def test_fault_07_averages_of_two_origins_are_refused(ctc, tmp_path):
    convert(ctc[1], tmp_path / "out", "hf")
    path = tmp_path / "out" / "preprocessor_config.json"
    path.write_text(path.read_text().replace("1e-07", "1e-05"))
    with pytest.raises(StError, match=r"encoder\.wave_epsilon is 1e-05, not 1e-07"):
        average([ctc[1], tmp_path / "out"])


@pytest.mark.parametrize("nested", [True, False])
def test_fault_08_settings_of_recordings_are_found_where_transformers_looks(ctc, tmp_path, nested):
    folder = tmp_path / "model"
    folder.mkdir()
    for file in ctc[1].iterdir():
        (folder / file.name).write_bytes(file.read_bytes())
    extractor = save_processor(folder, do_normalize=False)
    if nested:
        save_processor(folder)
        tokenizer = transformers.Wav2Vec2CTCTokenizer(str(folder / "vocab.json"))
        transformers.Wav2Vec2Processor(extractor, tokenizer).save_pretrained(tmp_path / "processor")
        (tmp_path / "processor" / "processor_config.json").rename(folder / "processor_config.json")
    assert transformers.AutoFeatureExtractor.from_pretrained(folder).do_normalize is False
    assert load(folder).config.standardize_audio is False
    path = folder / ("processor_config.json" if nested else "preprocessor_config.json")
    content = json.loads(path.read_text())
    for name, value in {
        "sampling_rate": 8000,
        "feature_size": 80,
        "feature_extractor_type": "SeamlessM4TFeatureExtractor",
    }.items():
        settings = (content["feature_extractor"] if nested else content) | {name: value}
        path.write_text(json.dumps({"feature_extractor": settings} if nested else settings))
        with pytest.raises(StError, match=f"{name} is {value!r}, expected"):
            load(folder)


@pytest.mark.parametrize(
    ("model", "task", "expected"),
    [({}, {"normalize": False}, False), ({"normalize": "${task.normalize}"}, {"normalize": False}, False),
     ({"normalize": False}, {}, False), ({}, {"normalize": True}, True), ({}, {}, True)],
)  # fmt: skip
def test_fault_08_whether_fairseq_standardises_is_found_where_fairseq_keeps_it(xlsr, tmp_path, model, task, expected):
    content = torch.load(xlsr[1], weights_only=False)
    content["cfg"] = {"model": content["cfg"]["model"] | model, "task": task}
    torch.save(content, tmp_path / "xlsr.pt")
    assert load(tmp_path / "xlsr.pt").config.standardize_audio is expected


def test_fault_08_what_a_release_says_of_waves_counts_and_a_tree_does_not_change_it(tmp_path):
    """fairseq's data config has ``standardize_audio`` off unless it is set; vocabularies may be those of a tree."""
    spm = ref.make_spm()
    symbols = [*model_pieces(spm), *mbart50_tags()]
    folder = tmp_path / "release"
    folder.mkdir()
    args = ref.xm_settings()
    torch.save({"args": args, "model": ref.fairseq_xm(args, symbols).state_dict()}, folder / "model.pt")
    (folder / "sentencepiece.bpe.model").write_bytes(spm)
    assert load(folder).config.standardize_audio
    for text, expected in (("standardize_audio: true", True), ("standardize_audio: false", False), ("", False)):
        (folder / "config.yaml").write_text(f"use_audio_input: true\n{text}\n")
        assert load(folder).config.standardize_audio is expected
    for name, value in (("use_audio_input", "false"), ("prepend_bos_and_append_tgt_lang_tag", "true")):
        (folder / "config.yaml").write_text(f"standardize_audio: true\n{name}: {value}\n")
        with pytest.raises(StError, match=f"config.yaml.*{name} is {value.title()}"):
            load(folder)
    tree = tmp_path / "tree"
    tree.mkdir()
    (folder / "config.yaml").write_text("standardize_audio: false\n")
    (tree / "spm.model").write_bytes(spm)
    (tree / "dict.txt").write_text(dictionary_text(model_pieces(spm), mbart50_tags()))
    DataConfig(directions=("fr_en",)).save(tree)
    data = load(folder, data_dir=tree).config
    assert (data.standardize_audio, data.directions) == (False, ("fr_en",))


def test_fault_08_how_a_tokenizer_writes_words_is_named_or_refused(ctc, tmp_path, caplog):
    for file in ctc[1].iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    path = tmp_path / "tokenizer_config.json"
    for settings, named in (
        ({}, ""),
        ({"replace_word_delimiter_char": "_"}, "replace_word_delimiter_char '_'"),
        ({"clean_up_tokenization_spaces": True}, ""),  # it has no sign that a space would be taken away from
        ({"clean_up_tokenization_spaces": False, "replace_word_delimiter_char": " "}, ""),
    ):
        path.write_text(json.dumps(settings))
        caplog.clear()
        load(tmp_path)
        said = " ".join(record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING)
        assert named in said
        assert bool(said) == bool(named)
