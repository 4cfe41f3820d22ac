from __future__ import annotations

import csv
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st_

from st.data.manifest import COLUMNS, ManifestRow, clean_field, read_manifest, subset_files, write_manifest
from st.errors import ManifestError, UsageError

HEADER = "\t".join(COLUMNS)
GOOD = "a\taudio/fr/dev.zip:1:2\t16000\thello\ts\tbonjour\tfr\ten"


def row(text: str, identifier: str = "clip") -> ManifestRow:
    return ManifestRow(identifier, "audio/fr/dev.zip:0:10", 16_000, text, "speaker", text, "fr", "en")


def fairseq_rows(path: Path) -> list[dict[str, str]]:
    """Read as fairseq's ``SpeechToTextDatasetCreator._load_samples_from_tsv`` does."""
    with path.open(encoding="utf-8") as handle:
        options = {"delimiter": "\t", "quotechar": None, "doublequote": False, "lineterminator": "\n"}
        return [dict(line) for line in csv.DictReader(handle, quoting=csv.QUOTE_NONE, **options)]


def test_p12_fairseq_itself_reads_what_we_write(tmp_path: Path) -> None:
    module = pytest.importorskip("fairseq.data.audio.speech_to_text_dataset")
    texts = ['say "hi" \\ and \\"bye\\"', "a\u2028b\x85c\td\re", "'", '"', "", "NULL"]
    write_manifest(tmp_path / "dev_fr_en.tsv", [row(text, f"clip{number}") for number, text in enumerate(texts)])
    samples = module.SpeechToTextDatasetCreator._load_samples_from_tsv(str(tmp_path), "dev_fr_en")
    assert samples == fairseq_rows(tmp_path / "dev_fr_en.tsv")
    assert [sample["tgt_text"] for sample in samples] == [clean_field(text) for text in texts]


def written(tmp_path: Path, content: str | bytes) -> Path:
    path = tmp_path / "dev_fr_en.tsv"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


@given(st_.lists(st_.text(st_.characters(exclude_categories=["Cs"]), max_size=40), min_size=1, max_size=8))
@settings(max_examples=150, deadline=None)
def test_p12_any_text_is_one_row_for_us_and_for_fairseq(
    tmp_path_factory: pytest.TempPathFactory, texts: list[str]
) -> None:
    path = tmp_path_factory.mktemp("manifest") / "train_fr_en.tsv"
    write_manifest(path, [row(text, f"clip{number}") for number, text in enumerate(texts)])
    expected = [clean_field(text) for text in texts]
    assert [item.tgt_text for item in read_manifest(path)] == expected
    assert [item["tgt_text"] for item in fairseq_rows(path)] == expected


def test_p12_quotes_and_backslashes_stay_and_breaks_become_spaces(tmp_path: Path) -> None:
    text = 'say "hi" \\ \\n \\"x\\"\tTAB\rCR\nLF\u2028LS\x85NEL'
    path = tmp_path / "dev_fr_en.tsv"
    write_manifest(path, [row(text)])
    expected = 'say "hi" \\ \\n \\"x\\" TAB CR LF LS NEL'
    assert read_manifest(path)[0].src_text == fairseq_rows(path)[0]["src_text"] == expected


@pytest.mark.parametrize("bad", [GOOD + "\textra", GOOD.rsplit("\t", 1)[0], ""], ids=["extra", "missing", "blank"])
def test_p13_ragged_row_names_file_and_line(tmp_path: Path, bad: str) -> None:
    with pytest.raises(ManifestError, match=r"dev_fr_en\.tsv:3: found \d+ columns; expected 8"):
        read_manifest(written(tmp_path, f"{HEADER}\n{GOOD}\n{bad}\n{GOOD}\n"))


def test_p13_missing_column_is_named(tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match=r":1: no column tgt_text"):
        read_manifest(written(tmp_path, HEADER.replace("tgt_text", "text") + "\n" + GOOD + "\n"))


def test_p14_bom_and_crlf_are_accepted(tmp_path: Path) -> None:
    rows = read_manifest(written(tmp_path, f"\ufeff{HEADER}\r\n{GOOD}\r\n"))
    assert rows == [ManifestRow("a", "audio/fr/dev.zip:1:2", 16_000, "hello", "s", "bonjour", "fr", "en")]


def test_p14_latin1_and_nul_are_errors_with_a_line(tmp_path: Path) -> None:
    for bad in ("é".encode("latin-1"), b"\0"):
        data = f"{HEADER}\n{GOOD}\n".encode() + GOOD.encode().replace(b"hello", b"h" + bad) + b"\n"
        with pytest.raises(ManifestError, match=r"dev_fr_en\.tsv:3: "):
            read_manifest(written(tmp_path, data))


def test_p15_endless_field_is_a_manifest_error(tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match=r":2: a field is longer than 131072"):
        read_manifest(written(tmp_path, f"{HEADER}\n{GOOD.replace('hello', 'x' * 131_073)}\n"))


@pytest.mark.parametrize("text", ["NULL", "NA", "nan", "None", "", "1e5"])
def test_p16_words_that_look_like_nothing_stay_text(tmp_path: Path, text: str) -> None:
    path = tmp_path / "dev_fr_en.tsv"
    write_manifest(path, [row(text)])
    assert read_manifest(path)[0].tgt_text == text


@pytest.mark.parametrize("number", ["-1", "0", "", "1.5", "nan", "٣", "9" * 5000])
def test_n_frames_must_be_a_positive_integer(tmp_path: Path, number: str) -> None:
    with pytest.raises(ManifestError, match=r":2: n_frames is "):
        read_manifest(written(tmp_path, f"{HEADER}\n{GOOD.replace('16000', number)}\n"))


def test_missing_and_empty_files(tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match="no such file"):
        read_manifest(tmp_path / "absent.tsv")
    with pytest.raises(ManifestError, match="empty file"):
        read_manifest(written(tmp_path, ""))


def test_other_columns_and_orders_are_read(tmp_path: Path) -> None:
    names, values = HEADER.split("\t")[::-1], GOOD.split("\t")[::-1]
    text = "\t".join(["note", *names]) + "\n" + "\t".join(["x", *values]) + "\n"
    assert read_manifest(written(tmp_path, text))[0].tgt_text == "hello"


def test_a_failing_writer_leaves_nothing(tmp_path: Path) -> None:
    def rows() -> object:
        yield row("fine")
        raise RuntimeError("stop")

    with pytest.raises(RuntimeError, match="stop"):
        write_manifest(tmp_path / "train_fr_en.tsv", rows())
    assert list(tmp_path.iterdir()) == []


def test_subset_files(tmp_path: Path) -> None:
    for name in ("train_fr_en", "train_en_zh-CN", "dev_fr_en", "dev_en_zh-CN", "test_fr_en"):
        (tmp_path / f"{name}.tsv").touch()

    def names(subset: str, directions: list[str] | None = None) -> list[str]:
        return [path.stem for path in subset_files(tmp_path, subset, directions)]

    assert names("train") == ["train_en_zh-CN", "train_fr_en"]
    assert names("dev", ["fr_en"]) == ["dev_fr_en"]
    assert names("dev_en_zh-CN") == ["dev_en_zh-CN"]
    for subset, directions in (("valid", None), ("dev_de_en", None), ("dev", ["de_en"]), ("", None)):
        with pytest.raises(UsageError, match="this tree has the manifests: train_en_zh-CN"):
            subset_files(tmp_path, subset, directions)
