from __future__ import annotations

from pathlib import Path

import pytest

from covost.corpus.tables import read_table
from st.corpora import tsv
from st.errors import ManifestError


def table(tmp_path: Path, content: str | bytes) -> Path:
    path = tmp_path / "validated.tsv"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def column(path: Path, name: str = "b") -> list[str]:
    return read_table(path, [name])[name].to_list()


def test_p12_quotes_are_text_and_backslash_escapes_as_in_the_official_script(tmp_path: Path) -> None:
    rows = ['"open', 'a "b" c', '""x""', r"\"q\"", r"a\\b", "ends with \\", "\u2028 and \x85"]
    path = table(tmp_path, "a\tb\n" + "".join(f"x\t{row}\n" for row in rows))
    assert column(path) == ['"open', 'a "b" c', '""x""', '"q"', r"a\b", "ends with \\", "\u2028 and \x85"]


def test_p12_backslash_before_a_tab_does_not_merge_columns(tmp_path: Path) -> None:
    assert read_table(table(tmp_path, "a\tb\nx\\\ty\n"), ["a", "b"]).rows() == [(2, "x\\", "y")]


@pytest.mark.parametrize("bad", ["x", "x\ty\tz", ""], ids=["missing", "extra", "blank"])
def test_p13_ragged_row_names_file_and_line(tmp_path: Path, bad: str) -> None:
    with pytest.raises(ManifestError, match=r"validated\.tsv:3: found \d columns; the header has 2"):
        read_table(table(tmp_path, f"a\tb\nx\ty\n{bad}\nx\ty\n"), ["a"])


def test_p13_the_line_is_right_in_a_later_chunk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tsv, "_CHUNK_BYTES", 50)
    good = "".join(f"x{n}\ty{n}\n" for n in range(100))
    assert len(read_table(table(tmp_path, f"a\tb\n{good}"), ["a"])) == 100
    with pytest.raises(ManifestError, match=r":102: found 3 columns"):
        read_table(table(tmp_path, f"a\tb\n{good}1\t2\t3\n"), ["a"])
    with pytest.raises(ManifestError, match=r":102: byte 0xe9"):
        read_table(table(tmp_path, f"a\tb\n{good}".encode() + b"\xe9\ty\n"), ["a"])


def test_p14_bom_crlf_and_blank_end_are_accepted(tmp_path: Path) -> None:
    path = table(tmp_path, "\ufeffa\tb\r\nx\ty\r\n\r\n")
    assert read_table(path, ["a", "b"]).rows() == [(2, "x", "y")]
    assert column(table(tmp_path, "a\tb\nx\tno end"), "b") == ["no end"]
    assert column(table(tmp_path, "a\tb\nx\tlone\rreturn\n"), "b") == ["lone return"]


@pytest.mark.parametrize("bad", ["é".encode("latin-1"), b"\0"], ids=["latin-1", "nul"])
def test_p14_wrong_bytes_name_the_line(tmp_path: Path, bad: bytes) -> None:
    with pytest.raises(ManifestError, match=r"validated\.tsv:3: "):
        read_table(table(tmp_path, b"a\tb\nx\ty\nx\t" + bad + b"\n"), ["a"])


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be"])
def test_p14_a_utf_16_table_is_told_without_its_bytes(encoding: str, tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match=r"validated\.tsv:1: .*re-encode") as caught:
        read_table(table(tmp_path, "path\tb\nx\ty\n".encode(encoding)), ["path"])
    assert "\0" not in str(caught.value)


def test_p15_endless_field_is_a_manifest_error(tmp_path: Path) -> None:
    assert len(column(table(tmp_path, "a\tb\nx\t" + "y" * 131_072 + "\n"))[0]) == 131_072
    with pytest.raises(ManifestError, match=r":3: a field is longer"):
        read_table(table(tmp_path, "a\tb\nx\ty\nx\t" + "y" * 131_073 + "\n"), ["a"])
    # Characters are counted, not bytes.
    assert len(column(table(tmp_path, "a\tb\nx\t" + "é" * 131_072 + "\n"))[0]) == 131_072
    with pytest.raises(ManifestError, match=r":3: a field is longer than 131072 characters"):
        read_table(table(tmp_path, "a\tb\nx\ty\n" + "é" * 131_073 + "\tx\n"), ["a"])


@pytest.mark.parametrize("text", ["NULL", "NA", "nan", "None", "", " ", "001", "1e5", "true", "#x", "2020-01-01"])
def test_p16_every_field_stays_text(tmp_path: Path, text: str) -> None:
    assert column(table(tmp_path, f"a\tb\nx\t{text}\n")) == [text]
    assert column(table(tmp_path, f"b\ta\n{text}\tx\n")) == [text]


def test_headers_are_checked(tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match=r":1: no column sentence; found the columns a b"):
        read_table(table(tmp_path, "a\tb\nx\ty\n"), ["a", "sentence"])
    with pytest.raises(ManifestError, match="repeated"):
        read_table(table(tmp_path, "a\ta\nx\ty\n"), ["a"])
    with pytest.raises(ManifestError, match="empty file"):
        read_table(table(tmp_path, "\n\n"), ["a"])
    with pytest.raises(ManifestError, match="no such file"):
        read_table(tmp_path / "absent.tsv", ["a"])
    assert len(read_table(table(tmp_path, "a\tb\n"), ["a"])) == 0
