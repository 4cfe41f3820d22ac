"""st prepare --label: columns of labels in manifests, their files, rows without a transcript, what is refused."""

import json

import numpy as np
import pytest
import soundfile

from st.cli import main
from st.data.config import DataConfig
from st.data.manifest import read_manifest
from st.errors import UsageError
from st.preparation.rows.labels import LabelColumn
from st.text.class_labels import ClassLabels

RATE = 16_000


@pytest.fixture
def corpus(tmp_path):
    """A table of recordings in two languages, some with an emotion, none with a transcript."""
    folder = tmp_path / "corpus"
    folder.mkdir()
    random = np.random.default_rng(0)
    lines = ["audio\tlanguage\tsplit\tspeaker\temotion\tdialect"]
    for number in range(12):
        soundfile.write(folder / f"{number}.wav", random.uniform(-0.5, 0.5, RATE // 2), RATE)
        split = ("train", "train", "train", "dev")[number % 4]
        emotion = "surprised" if split == "dev" and number < 4 else ("glad", "sad", "")[number % 3]
        lines.append(
            f"{number}.wav\t{('fr', 'de')[number % 2]}\t{split}\tvoice{number}\t{emotion}\t{'ns'[number // 6]}"
        )
    (folder / "clips.tsv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder


def prepare(corpus, *arguments):
    return main(["prepare", str(corpus / "clips.tsv"), "--out", str(corpus.parent / "data"), "--jobs", "1", *arguments])


def rows(data, name, *columns):
    return {row.id: (row.src_lang, *row.more) for row in read_manifest(data / name, columns)}


def test_labels_of_recordings_without_transcripts_are_prepared(corpus, capsys):
    assert prepare(corpus, "--label", "language", "--label", "emotion", "--label", "accent=dialect") == 0
    err = capsys.readouterr().err
    assert "neither a transcript nor a translation" not in err
    data = corpus.parent / "data"
    config = DataConfig.load(data)
    assert config.heads == {
        "language": {"kind": "utterance", "vocab_filename": "labels_language.json", "column": "src_lang"},
        "emotion": {"kind": "utterance", "vocab_filename": "labels_emotion.json", "column": "emotion"},
        "accent": {"kind": "utterance", "vocab_filename": "labels_accent.json", "column": "dialect"},
    }
    assert ClassLabels.load(data / "labels_language.json").symbols == ["de", "fr"]
    assert ClassLabels.load(data / "labels_emotion.json").symbols == ["glad", "sad"], "those of train"
    assert ClassLabels.load(data / "labels_accent.json").symbols == ["n", "s"]
    found = {}
    for name in ("asr_train_fr", "asr_train_de", "asr_dev_fr", "asr_dev_de"):
        if (data / f"{name}.tsv").is_file():
            found |= rows(data, f"{name}.tsv", "emotion", "dialect")
    table = [line.split("\t") for line in (corpus / "clips.tsv").read_text(encoding="utf-8").splitlines()[1:]]
    assert found == {name.removesuffix(".wav"): (code, mood, place) for name, code, _, _, mood, place in table}
    assert "head emotion: 1 rows have labels that no train row has" in err
    report = json.loads((data / "report.json").read_text(encoding="utf-8"))["labels"]["emotion"]
    assert report["labels"]["surprised"] == {"dev": 1, "train": 0}
    assert not (data / "spm.model").exists(), "nothing is said, so there is no vocabulary of a decoder"
    assert main(["verify", str(data)]) == 0
    assert prepare(corpus, "--label", "speaker") == 0
    assert not (data / "labels_emotion.json").exists(), "of an earlier run"
    assert len(ClassLabels.load(data / "labels_speaker.json")) == 9


def test_without_labels_rows_need_transcripts(corpus, capsys):
    assert prepare(corpus) == 1
    assert "has a transcript" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message", "code"),
    [
        (["--label", "Language"], "--label is 'Language'; expected a name of small letters", 2),
        (["--label", "ctc"], "--label is 'ctc'; expected a name of small letters", 2),
        (["--label", "mood=src_text"], "--label is 'mood=src_text'; expected a column of labels", 2),
        (["--label", "mood"], "mood", 1),
        (["--label", "language", "--label", "language=emotion"], "a name is given twice: language language", 2),
    ],
    ids=["capitals", "ctc", "text", "no-column", "twice"],
)
def test_labels_that_cannot_be_are_refused(corpus, arguments, message, code, capsys):
    assert prepare(corpus, *arguments) == code
    assert message in capsys.readouterr().err


def test_other_kinds_of_corpora_have_language_and_speaker_alone(tmp_path, capsys):
    (tmp_path / "speech").mkdir()
    soundfile.write(tmp_path / "speech" / "a.wav", np.zeros(RATE), RATE)
    (tmp_path / "speech" / "a.txt").write_text("bonjour", encoding="utf-8")
    arguments = ["prepare", str(tmp_path / "speech"), "--language", "fr", "--out", str(tmp_path / "data")]
    assert main([*arguments, "--label", "emotion"]) == 2
    assert "a corpus of kind textfiles has no column emotion, only language and speaker" in capsys.readouterr().err


def test_names_and_columns_of_labels():
    assert LabelColumn.parse("language") == LabelColumn("language", "src_lang")
    assert LabelColumn.parse("voice=speaker") == LabelColumn("voice", "speaker")
    assert LabelColumn.parse("mood=Emotion 2") == LabelColumn("mood", "Emotion 2")
    with pytest.raises(UsageError, match="expected a column of labels"):
        LabelColumn.parse("mood=")
