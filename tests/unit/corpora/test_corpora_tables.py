"""Tables with named columns, of any kind, give the same rows; a bad one gives a sentence."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path

import polars as pl
import pytest
from corpora_layouts import mustc
from corpora_planted import Row, planted_frame, put
from corpora_tables import as_csv, as_jsonl, as_lhotse, as_parquet, as_tsv
from polars.testing import assert_frame_equal

from st.corpora.layouts.tables import TableOptions, read_tables
from st.corpora.sources import SOURCES, read_corpus
from st.errors import ConfigError, ManifestError

CORPUS = [
    Row("clips/b.wav", "b1", 0.1, 1.7, "train", "s1", "fr", 'il dit "non", puis', {"de": "er sagt „nein“", "en": None}),
    Row("clips/b.wav", "b2", 1.7, 1e1 / 3, "train", "s1", "fr", "NULL", {"de": "null", "en": "NA"}),
    Row("clips/a.wav", "a", None, None, "dev", "s2", "fr", r"a\b 'c' | d", {"de": None, "en": "nan"}),
    Row("clips/é.wav", "é", 0.25, None, "test", None, "zh-CN", None, {"de": "x", "en": "y"}),
]


@pytest.mark.parametrize("write", [as_tsv, as_csv, as_jsonl, as_parquet, as_lhotse])
def test_a_corpus_has_the_same_rows_in_every_form(tmp_path: Path, write: Callable[[Path, Sequence[Row]], Path]) -> None:
    # Lhotse states the length of every utterance.
    rows = CORPUS[:3] if write is as_lhotse else CORPUS
    place = write(tmp_path, rows)
    source = SOURCES["lhotse" if write is as_lhotse else "tables"]
    assert_frame_equal(read_corpus(place, source, source.options()).rows, planted_frame(tmp_path, rows))


@pytest.mark.parametrize("write", [as_tsv, as_csv, as_jsonl, as_parquet, as_lhotse])
def test_a_published_layout_and_tables_of_it_give_equal_rows(
    tmp_path: Path, write: Callable[[Path, Sequence[Row]], Path]
) -> None:
    rows = mustc(tmp_path)
    own = read_corpus(tmp_path, SOURCES["mustc"], SOURCES["mustc"].options()).rows
    source = SOURCES["lhotse" if write is as_lhotse else "tables"]
    assert_frame_equal(read_corpus(write(tmp_path, rows), source, source.options()).rows, own)


def table(tmp_path: Path, text: str, name: str = "corpus.tsv", **options: str) -> pl.DataFrame:
    put(tmp_path / name, text)
    return read_tables(tmp_path / name, TableOptions(**options)).rows


def test_columns_are_mapped_by_options(tmp_path: Path) -> None:
    text = "file\tsaid\tgerman\tfrench\twho\na.wav\tone\teins\tun\tme\n"
    found = table(
        tmp_path, text, transcript="said", translation="german,french", target="de,fr", speaker="who", language="en"
    )
    row = Row("a.wav", speaker="me", src_lang="en", transcript="one", translations={"de": "eins", "fr": "un"})
    assert_frame_equal(found, planted_frame(tmp_path, [row]).cast(dict(found.schema)), check_column_order=False)


@pytest.mark.parametrize("name", ["audio", "translation", "speaker"])
def test_a_column_that_is_named_and_not_there_is_an_error_that_lists_the_others(tmp_path: Path, name: str) -> None:
    with pytest.raises(ManifestError, match=r"corpus\.tsv: no column sound; found the columns audio text"):
        table(tmp_path, "audio\ttext\na.wav\tx\n", **{name: "sound"})


def test_a_table_without_audio_says_what_it_has(tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match=r"no column of audio .*found the columns sound text; name it by `audio`"):
        table(tmp_path, "sound\ttext\na.wav\tx\n")


def test_a_column_called_translation_and_something_that_is_no_language_is_not_read(tmp_path: Path) -> None:
    text = "audio\ttranslation\ttranslation_cased\na.wav\tun\tUn\n"
    assert table(tmp_path, text, target="fr")["translation_fr"].to_list() == ["un"]


def test_a_row_for_each_language_of_translation_becomes_one_row(tmp_path: Path) -> None:
    lines = [
        "id\taudio\ttext\ttranslation\ttgt_lang",
        "1\ta.wav\tone\teins\tde",
        "2\ta.wav\tone\tun\tfr_FR",
        "3\tb.wav\ttwo\t\t",
    ]
    found = table(tmp_path, "\n".join(lines))
    assert found.select("id", "translation_fr", "translation_de").rows() == [("1", "un", "eins"), ("3", None, None)]


def test_two_rows_of_one_slice_into_one_language_both_stay(tmp_path: Path) -> None:
    put(tmp_path / "train_1.tsv", "audio\ttext\ttranslation_de\na.wav\tone\teins\n")
    put(tmp_path / "train_2.tsv", "audio\ttext\ttranslation_de\na.wav\tone\tein\n")
    put(tmp_path / "train_3.tsv", "audio\ttext\ttranslation_fr\na.wav\tone\tun\n")
    found = read_tables(tmp_path, TableOptions()).rows
    assert found.select("split", "translation_fr", "translation_de").rows() == [
        ("train", "un", "eins"),
        ("train", None, "ein"),
    ]


def test_translations_without_a_language_are_an_error(tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match="nothing tells the language of the translations; name it by `target`"):
        table(tmp_path, "audio\ttranslation\na.wav\tun\n")
    with pytest.raises(ConfigError, match="`translation` names 2 columns and `target` 1 languages"):
        table(tmp_path, "audio\ta\tb\na.wav\tun\tdeux\n", translation="a,b", target="fr")


def test_a_length_counts_from_the_start_and_alone_is_that_of_the_recording(tmp_path: Path) -> None:
    found = table(tmp_path, '{"audio_filepath": "a.wav", "offset": 1.5, "duration": 2}\n', "nemo.jsonl")
    assert found.select("start_s", "end_s").rows() == [(1.5, 3.5)]
    found = table(tmp_path, '{"audio_filepath": "a.wav", "duration": 2}\n', "nemo.jsonl")
    assert found.select("start_s", "end_s").rows() == [(None, None)]


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("a.wav\tx\t2\ttrain\ten", r"\.tsv: the start is 'x' in 1 rows; expected seconds"),
        ("a.wav\t1\tnan\ttrain\ten", "the end or duration is 'nan' in 1 rows"),
        ("a.wav\t1\t2\tholdout\ten", "a split is called 'holdout'; expected one of train"),
        ("a.wav\t1\t2\ttrain\tenglish", "no language 'english'"),
        ("../a.wav\t1\t2\ttrain\ten", r"1 recordings have unsafe names, such as '\.\./a\.wav'"),
        ("\t1\t2\ttrain\ten", "1 rows name no recording"),
    ],
)
def test_a_value_that_cannot_be_is_named(tmp_path: Path, row: str, message: str) -> None:
    with pytest.raises(ManifestError, match=message):
        table(tmp_path, f"audio\tstart\tend\tsplit\tlang\n{row}\n")


def test_an_id_of_two_utterances_is_an_error_and_a_row_that_is_there_twice_is_none(tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match="2 utterances of a split share their ids, such as 'x'; expected another"):
        table(tmp_path, "id\taudio\nx\ta.wav\nx\tb.wav\n")
    assert table(tmp_path, "id\taudio\nx\ta.wav\nx\ta.wav\n").height == 2


def test_recordings_that_differ_in_their_endings_alone_keep_them(tmp_path: Path) -> None:
    found = table(tmp_path, "audio\tsplit\na.wav\ttrain\na.m4a\ttrain\nb.wav\ttrain\nc.wav\tdev\nc.mp3\ttrain\n")
    assert found.select("id", "split").rows() == [
        *(("a.m4a", "train"), ("a.wav", "train"), ("b", "train"), ("c", "train"), ("c", "dev"))
    ]


def test_recordings_from_the_root_and_from_another_folder(tmp_path: Path) -> None:
    found = table(tmp_path, f"audio\n{tmp_path}/a.wav\nb.wav\n", audio_root="/elsewhere")
    assert found["audio"].to_list() == ["/elsewhere/b.wav", f"{tmp_path}/a.wav"]
    found = table(tmp_path, f"audio\n{tmp_path}/a.wav\n")
    assert found.select("id", "audio").row(0) == ("a", f"{tmp_path}/a.wav")


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.tsv", "audio\ttext\na.wav\n", r"a\.tsv:2: found 1 columns; the header has 2"),
        ("a.csv", "audio,text\na.wav\n", r"a\.csv:2: found 1 columns; the header has 2"),
        ("a.csv", 'audio,text\na.wav,"x\nb.wav,y\n', r"a\.csv:3: .*is a quote or a line end missing"),
        ("a.csv", 'audio,text\na.wav,"x" y\n', r"a\.csv:2: "),
        ("a.csv", "audio,audio\na.wav,x\n", r"a\.csv:1: expected the names of the columns, each once"),
        ("a.csv", "audio,text\na.wav," + "x" * 200_000, r"a\.csv:2: field larger than"),
        ("a.jsonl", '{"audio": "a.wav"}\n[1]\n', r"a\.jsonl:2: expected an object"),
        ("a.jsonl", '{"audio": "a.wav"}\n{"audio": \n', r"a\.jsonl:2: "),
        ("a.jsonl", '{"audio": "' + "x" * (1 << 20) + '"}', r"a\.jsonl:1: a line has more than 1,048,576 bytes"),
        ("a.jsonl", '{"audio": ["a.wav"], "text": "x"}', "1 rows name no recording"),
        ("a.jsonl.gz", "no gzip", r"a\.jsonl\.gz: "),
        ("a.tsv.gz", "no gzip", r"a\.tsv\.gz: "),
        ("a.parquet", "no parquet", r"a\.parquet: not a Parquet file"),
        ("a.xlsx", "", r"a\.xlsx: expected a table that ends in tsv"),
        ("a.tsv", "audio\ttext\n", r"a\.tsv: no utterance is in it"),
        ("a.csv", "audio|text\na.wav|x\n", "name it by `audio`, or the character between columns by `separator`"),
    ],
)
def test_a_damaged_table_is_refused_in_one_sentence(tmp_path: Path, name: str, content: str, message: str) -> None:
    with pytest.raises(ManifestError, match=message):
        table(tmp_path, content, name)


@pytest.mark.parametrize("name", ["a.csv", "a.jsonl", "a.txt.tsv"])
def test_bytes_that_are_no_text_name_the_line(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(
        b'audio\n{"audio": "a\xe9"}\n' if name != "a.jsonl" else b'{"audio": "b"}\n{"audio": "a\xe9"}\n'
    )
    with pytest.raises(ManifestError, match=rf"{name}:2: byte 0xe9 is not UTF-8"):
        read_tables(tmp_path / name, TableOptions())


def test_lists_and_objects_in_other_columns_are_passed_over(tmp_path: Path) -> None:
    rows = [
        {"audio": "a.wav", "words": ["x"], "text": None},
        {"audio": "b.wav", "text": "y", "votes": 3, "more": {"k": 1}},
    ]
    found = table(tmp_path, "".join(json.dumps(row) + "\n" for row in rows), "a.jsonl")
    assert found["transcript"].to_list() == [None, "y"]


def test_a_separator_of_ones_own(tmp_path: Path) -> None:
    found = table(tmp_path, 'audio|text\na.wav|"x\n', separator="|")
    assert found["transcript"].to_list() == ['"x']
