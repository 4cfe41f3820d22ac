"""A folder of the Hugging Face hub with a language model beside its CTC head, from the command line to the text."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import reference_models as ref
import torch
from ngram_oracle import stand_in

from st.checkpoints.hub import _SMALL_FILES
from st.checkpoints.inspect import inspect
from st.cli import main
from st.decoding.ctc_prefix import PrefixOptions
from st.decoding.language_model.hotwords import Hotwords
from st.decoding.language_model.word_folder import read_word_folder
from st.decoding.language_model.word_model import WordModel
from st.decoding.language_model.word_search import WordOptions, word_search
from st.decoding.options import BeamOptions
from st.errors import ConfigError
from st.inference import TranscriptOptions, load_translator

SYMBOLS = ("|", *"etaoinshr", "[UNK]", "[PAD]")
ALPHABET = (" ", *"etaoinshr", "⁇", "")
LM = """\\data\\
ngram 1=7
ngram 2=2

\\1-grams:
-2.5\t<unk>\t0
-99\t<s>\t-0.3
-0.8\t</s>\t0
-0.6\tt\t-0.2
-0.7\tea\t-0.4
-1.1\to\t-0.1
-1.3\tne\t-0.1

\\2-grams:
-0.2\t<s> t
-0.3\tt ea

\\end\\
"""
DEFAULTS = WordOptions()


@pytest.fixture
def model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A head of random weights that writes short words, with all that pyctcdecode writes."""
    transformers = pytest.importorskip("transformers")
    stand_in(monkeypatch)
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "vocab.json").write_text(json.dumps({symbol: n for n, symbol in enumerate(SYMBOLS)}), encoding="utf-8")
    names = {"unk_token": "[UNK]", "pad_token": "[PAD]", "bos_token": None, "eos_token": None}
    transformers.Wav2Vec2CTCTokenizer(str(folder / "vocab.json"), **names).save_pretrained(folder)
    torch.manual_seed(0)
    config = ref.wav2vec2_config(vocab_size=len(SYMBOLS), pad_token_id=len(SYMBOLS) - 1)
    head = ref.perturb(transformers.Wav2Vec2ForCTC(config))
    with torch.no_grad():
        head.lm_head.weight.mul_(4)
        head.lm_head.bias[[0, -1]] += 1.0
    head.save_pretrained(folder)
    (folder / "preprocessor_config.json").write_text('{"do_normalize": true}', encoding="utf-8")
    (folder / "alphabet.json").write_text(json.dumps({"labels": ALPHABET, "is_bpe": False}), encoding="utf-8")
    (folder / "language_model").mkdir()
    (folder / "language_model" / "3gram.arpa").write_text(LM, encoding="utf-8")
    (folder / "language_model" / "unigrams.txt").write_text("t\nea\no\nne\n", encoding="utf-8")
    attributes = {"alpha": 0.9, "beta": 0.7, "unk_score_offset": -6.0, "score_boundary": True}
    (folder / "language_model" / "attrs.json").write_text(json.dumps(attributes), encoding="utf-8")
    return folder


@pytest.fixture
def wave() -> np.ndarray:
    return np.random.default_rng(3).standard_normal(24_000).astype(np.float32) * 0.1


def _text(folder: Path, wave: np.ndarray, **options) -> str | None:
    return load_translator(folder, keep_all=True, transcripts=TranscriptOptions(**options)).transcribe(wave).transcript


def _expected(folder: Path, wave: np.ndarray, options: WordOptions = DEFAULTS, *, model: bool = True) -> str:
    """Of transformers' scores, whose columns are those of ``alphabet.json``."""
    import transformers

    theirs = transformers.Wav2Vec2ForCTC.from_pretrained(folder)
    with torch.no_grad():
        waves = (wave - wave.mean()) / np.sqrt(wave.var() + 1e-7)
        logits = theirs(torch.tensor(waves)[None]).logits[0].log_softmax(-1).numpy()
    words = WordModel(read_word_folder(folder), ALPHABET[1:10]) if model else None
    hotwords = Hotwords(options.hotwords, options.hotword_weight)
    return word_search(logits, ALPHABET, options, model=words, hotwords=hotwords)[0].text


def test_i18_a_model_is_helped_by_its_own_language_model(model: Path, wave: np.ndarray, caplog) -> None:
    with caplog.at_level("INFO"):
        helped = _text(model, wave)
    assert "3gram.arpa: alpha 0.9, beta 0.7, offset of unknown words -6, beam 100" in caplog.text
    assert "the CTC head can spell 4 of the language model's 4 words" in caplog.text
    assert helped == _expected(model, wave)
    plain = _text(model, wave, no_lm=True)
    assert helped != plain
    assert _text(model, wave, search=PrefixOptions(beam=4)) == _text(
        model, wave, search=PrefixOptions(beam=4), no_lm=True
    )
    hot = WordOptions(hotwords=("rain",), hotword_weight=12.0)
    assert _text(model, wave, words=hot) == _expected(model, wave, hot) != helped
    assert _text(model, wave, words=hot, no_lm=True) == _expected(model, wave, hot, model=False) != helped
    other = model.rename(model.with_name("other")) / "language_model"
    (other.parent / "alphabet.json").write_text("{}", encoding="utf-8")  # An alphabet is that of the head beside it.
    assert _text(other.parent, wave, lm=other) == _text(other.parent, wave, lm=other.parent) == helped


def _run(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    code = main(list(map(str, arguments)))
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def test_i18_the_command_says_which_language_model_it_uses(model: Path, wave: np.ndarray, tmp_path, capsys) -> None:
    import soundfile

    soundfile.write(tmp_path / "a.wav", wave, 16_000, subtype="FLOAT")
    command = ("transcribe", tmp_path / "a.wav", "--keep-all", "--checkpoint", model)
    code, out, err = _run(capsys, *command)
    assert code == 0, err
    assert "language_model/3gram.arpa: alpha 0.9, beta 0.7" in err
    assert out.strip() == _expected(model, wave)
    code, out, err = _run(capsys, *command, "--lm-weight", 0.2, "--word-bonus", 3, "--beam", 30, "--hotword", "RAIN")
    assert "alpha 0.2, beta 3, offset of unknown words -6, beam 30" in err
    assert "hotword 'RAIN' is looked for as 'rain'" in err
    code, out, err = _run(capsys, *command, "--no-lm")
    assert (code, out.strip(), "alpha" in err) == (0, _text(model, wave, no_lm=True), False)
    code, _, err = _run(capsys, *command, "--hotword", "дождь")
    assert (code, "--hotword has 'дождь', which cannot be written" in err) == (2, True)
    code, _, err = _run(capsys, "convert", model, tmp_path / "model.pt", "--to", "fairseq")
    assert f"its language model is not converted; st transcribe takes it from there with --lm {model}" in err
    assert inspect(model, digest=False)["language_model"] == "language_model"
    (model / "language_model" / "attrs.json").write_text('{"alpha": "much"}', encoding="utf-8")
    code, out, err = _run(capsys, *command)
    assert (code, out) == (1, "")
    assert "attrs.json: `alpha` is much; expected a finite number; no_lm (--no-lm) transcribes without it" in err


def test_the_language_model_is_fetched_from_the_hub() -> None:
    assert "language_model/*" in _SMALL_FILES


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        (
            "alphabet.json",
            '{"labels": [" ", "e", "a", "t"], "is_bpe": false}',
            "letter 2 is 'a', and 't' in the CTC head's",
        ),
        ("alphabet.json", '{"labels": ["▁the", "▁a"], "is_bpe": true}', "pieces of words"),
        ("alphabet.json", "[]", "expected an object with labels"),
        ("language_model/attrs.json", '{"gamma": 1}', "expected an object of alpha, beta, score_boundary"),
        ("language_model/attrs.json", '{"beta": NaN}', "`beta` is nan; expected a finite number"),
        ("language_model/attrs.json", '{"score_boundary": 1}', "`score_boundary` is 1; expected true or false"),
        ("language_model/5gram.bin", "", "has 2 n-gram files, 3gram.arpa 5gram.bin; expected one"),
        ("language_model/unigrams.txt", b"caf\xe9\n", "not a list of words in UTF-8, one a line"),
    ],
)
def test_fault_06_a_malformed_folder_is_one_sentence(
    model: Path, name: str, content: str | bytes, message: str
) -> None:
    (model / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(ConfigError, match=message) as caught:
        load_translator(model)
    assert "no_lm (--no-lm) transcribes without it" in str(caught.value)
    load_translator(model, transcripts=TranscriptOptions(no_lm=True))


def test_folders_and_files_of_language_models_need_their_search(model: Path) -> None:
    folder, file = model / "language_model", model / "language_model" / "3gram.arpa"
    with pytest.raises(ConfigError, match="needs the search `words`, not `search`"):
        TranscriptOptions(lm=folder, search=PrefixOptions())
    with pytest.raises(ConfigError, match="needs the folder of a language model, not a file"):
        TranscriptOptions(lm=file, search=PrefixOptions(), words=WordOptions())
    with pytest.raises(ConfigError, match="does not go together"):
        TranscriptOptions(decoder=BeamOptions(), words=WordOptions())
    with pytest.raises(ConfigError, match="`word_bonus` is given without a language model"):
        load_translator(model, transcripts=TranscriptOptions(words=WordOptions(word_bonus=1.0), no_lm=True))
    with pytest.raises(ConfigError, match="has 0 n-gram files; expected one"):
        load_translator(model, transcripts=TranscriptOptions(lm=model.parent))
