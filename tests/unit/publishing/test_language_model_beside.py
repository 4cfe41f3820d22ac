"""A language model leaves with a recogniser as pyctcdecode writes one: what that library says of the files is the oracle.

The values were taken from pyctcdecode 0.5.0; where the library is installed, it reads the folder itself.
"""

from __future__ import annotations

import gzip
import json

import pytest
import reference_models as ref
import torch
import transformers

from st.checkpoints.convert import convert
from st.cli import main
from st.text.ctc_vocabulary import CtcVocabulary

SYMBOLS = ["|", "a", "e", "n", "t", "<unk>", "<pad>"]
ARPA = """\\data\\
ngram 1=7
ngram 2=2

\\1-grams:
-1.5\t<unk>\t0
-99\t<s>\t-0.3
-1.2\t</s>\t0
-0.6\ttea\t-0.2
-0.7\tant\t-0.2
-0.9\tTea\t-0.1
-0.9\teaten\t-0.1

\\2-grams:
-0.2\t<s> tea
-0.3\ttea </s>

\\end\\
"""


@pytest.fixture
def recogniser(tmp_path):
    """A folder of transformers whose blank is last."""
    folder = tmp_path / "in"
    torch.manual_seed(0)
    config = ref.wav2vec2_config(vocab_size=len(SYMBOLS), pad_token_id=SYMBOLS.index("<pad>"))
    ref.perturb(transformers.Wav2Vec2ForCTC(config)).save_pretrained(folder)
    (folder / "vocab.json").write_text(json.dumps({symbol: row for row, symbol in enumerate(SYMBOLS)}))
    return folder


@pytest.fixture
def arpa(tmp_path):
    path = tmp_path / "words.arpa"
    path.write_text(ARPA)
    return path


def names(folder):
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def check(folder, attrs):
    """Compare a folder with what pyctcdecode writes for this head and these words."""
    labels = [
        {"<pad>": "", "|": " ", "<unk>": "⁇"}.get(symbol, symbol)
        for symbol in CtcVocabulary.load(folder / "vocab.json").symbols
    ]
    assert labels == ["", "⁇", " ", "a", "e", "n", "t"]
    assert json.loads((folder / "alphabet.json").read_text(encoding="utf-8")) == {"labels": labels, "is_bpe": False}
    assert names(folder / "language_model") == {"attrs.json", "unigrams.txt", "lm.arpa"}
    assert json.loads((folder / "language_model" / "attrs.json").read_text()) == attrs
    assert (folder / "language_model" / "unigrams.txt").read_text().split() == ["tea", "ant", "Tea", "eaten"]
    assert (folder / "language_model" / "lm.arpa").read_text() == ARPA
    settings = json.loads((folder / "preprocessor_config.json").read_text())
    assert settings["processor_class"] == "Wav2Vec2ProcessorWithLM"


USUAL = {"alpha": 0.5, "beta": 1.5, "unk_score_offset": -10.0, "score_boundary": True}


@pytest.mark.parametrize("zipped", [False, True])
def test_a_language_model_that_is_given_leaves_with_the_recogniser(recogniser, arpa, tmp_path, zipped, capsys):
    if zipped:
        arpa = tmp_path / "words.arpa.gz"
        arpa.write_bytes(gzip.compress(ARPA.encode()))
    command = ["convert", str(recogniser), str(tmp_path / "out"), "--to", "hf", "--lm", str(arpa), "--alpha", "0.7"]
    assert main(command) == 0
    said = capsys.readouterr().err
    assert f"{arpa}: goes along in language_model, 4 words" in said
    assert ".st-new" not in said
    check(tmp_path / "out", USUAL | {"alpha": 0.7})
    assert "pyctcdecode" in (tmp_path / "out" / "README.md").read_text()


def test_a_language_model_goes_along_and_gives_way_as_a_part_of_the_model(recogniser, arpa, tmp_path):
    out = tmp_path / "out"
    command = ["convert", str(recogniser), str(out), "--to", "hf", "--lm", str(arpa), "--beta", "0.25"]
    assert main(command) == 0
    assert main(["convert", str(out), str(out), "--to", "hf", "--overwrite"]) == 0
    check(out, USUAL | {"beta": 0.25})
    assert main(["convert", str(recogniser), str(out), "--to", "hf", "--overwrite"]) == 0
    assert not names(out) & {"alphabet.json", "language_model/lm.arpa", "language_model/attrs.json"}
    assert json.loads((out / "preprocessor_config.json").read_text())["processor_class"] == "Wav2Vec2Processor"


def test_pyctcdecode_and_the_pipeline_read_it(recogniser, arpa, tmp_path):
    pytest.importorskip("kenlm")
    pyctcdecode = pytest.importorskip("pyctcdecode")
    assert main(["convert", str(recogniser), str(tmp_path / "out"), "--to", "hf", "--lm", str(arpa)]) == 0
    decoder = pyctcdecode.BeamSearchDecoderCTC.load_from_dir(str(tmp_path / "out"))
    rows = torch.full((9, len(SYMBOLS)), -9.0)
    for frame, symbol in enumerate(["t", "", "e", "a", " ", "a", "n", "n", "t"]):
        rows[frame, ["", "⁇", " ", "a", "e", "n", "t"].index(symbol)] = 0.0
    assert decoder.decode(rows.numpy()) == "tea ant"
    pipeline = transformers.pipeline("automatic-speech-recognition", str(tmp_path / "out"), device="cpu")
    assert pipeline.type == "ctc_with_lm"
    assert isinstance(pipeline(ref.waves([8000])[0][0].numpy())["text"], str)


def letters(arpa):
    text = ARPA.replace("tea", "t").replace("Tea", "e").replace("ant", "a").replace("eaten", "n")
    arpa.write_text(text)


def strangers(arpa):
    arpa.write_text(
        ARPA.replace("tea", "чай").replace("Tea", "Чай").replace("ant", "муравей").replace("eaten", "съеден")
    )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (letters, "a language model of letters; expected one of words"),
        (strangers, "can write 0% of the language model's 4 words as they stand, not 'чай'"),
        (lambda arpa: arpa.write_text("x"), "neither an ARPA file nor a KenLM binary"),
        (lambda arpa: arpa.unlink(), "no such language model"),
    ],
)
def test_a_language_model_that_cannot_help_is_refused(recogniser, arpa, tmp_path, capsys, change, message):
    change(arpa)
    assert main(["convert", str(recogniser), str(tmp_path / "out"), "--to", "hf", "--lm", str(arpa)]) == 1
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out" / "config.json").exists()


def test_a_language_model_that_is_not_whole_is_refused_by_name(recogniser, tmp_path, capsys):
    folder = recogniser / "language_model"
    folder.mkdir()
    (folder / "5gram.bin").write_bytes(b"x")
    command = ["convert", str(recogniser), str(tmp_path / "out"), "--to", "hf"]
    assert main(command) == 1
    assert "has 5gram.bin; expected attrs.json, unigrams.txt and one file of KenLM" in capsys.readouterr().err
    (folder / "unigrams.txt").write_text("tea\n")
    (folder / "attrs.json").write_text('{"alpha": 1.0}')
    assert main(command) == 1
    assert "attrs.json has alpha; expected alpha, beta" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "message"),
    [(["--to", "fairseq", "--lm", "x"], "--lm needs --to hf"), (["--to", "hf", "--alpha", "1"], "--alpha needs --lm")],
)
def test_options_of_a_language_model_without_one_are_refused(recogniser, tmp_path, capsys, options, message):
    assert main(["convert", str(recogniser), str(tmp_path / "out"), *options]) == 2
    assert message in capsys.readouterr().err


def test_a_model_without_a_ctc_head_takes_none(tmp_path, arpa, capsys):
    transformers.Wav2Vec2Model(ref.wav2vec2_config()).save_pretrained(tmp_path / "in")
    assert main(["convert", str(tmp_path / "in"), str(tmp_path / "out"), "--to", "hf", "--lm", str(arpa)]) == 1
    assert "a language model helps a CTC head, which this model does not have" in capsys.readouterr().err
    convert(tmp_path / "in", tmp_path / "out", "hf")
