"""What a parser of foreign bytes raises becomes one sentence of its door."""

from __future__ import annotations

import lzma
import struct
import tarfile
import zipfile
import zlib

import pytest

from st.doors.parsing import parsing
from st.errors import ArchiveError, CheckpointError, ManifestError


@pytest.mark.parametrize(
    "raised",
    [
        KeyError("GNU.sparse.size"),
        IndexError("list index out of range"),
        ValueError("invalid literal"),
        OverflowError("too large"),
        RecursionError("maximum recursion depth"),
        MemoryError(),
        EOFError(),
        NotImplementedError("compression"),
        UnicodeDecodeError("utf-8", b"\xff", 0, 1, "invalid start byte"),
        struct.error("unpack requires"),
        zlib.error("invalid block"),
        lzma.LZMAError("corrupt"),
        tarfile.ReadError("bad checksum"),
        zipfile.BadZipFile("bad magic"),
        OSError("Not a gzipped file"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_fault_17_what_parsers_raise_is_told_with_file_and_advice(raised: Exception) -> None:
    sentence = r"^x\.tar: not a sound archive: \S.*; get it again$"
    with (
        pytest.raises(ArchiveError, match=sentence) as caught,
        parsing("x.tar", ArchiveError, expected="a sound archive"),
    ):
        raise raised
    assert caught.value.__cause__ is raised


def test_fault_17_a_reason_is_one_short_printable_line() -> None:
    with pytest.raises(CheckpointError) as caught, parsing("x", CheckpointError, expected="a table"):
        raise ValueError("a\nb \ud800" + "x" * 1000)
    message = str(caught.value)
    assert "a b " in message
    assert len(message) < 400
    message.encode("utf-8")


def test_fault_17_errors_of_the_project_of_the_system_and_of_users_pass() -> None:
    for error in (ManifestError("told already"), FileNotFoundError(2, "gone"), KeyboardInterrupt()):
        with pytest.raises(type(error)) as caught, parsing("x", ArchiveError, expected="a sound archive"):
            raise error
        assert caught.value is error


def test_fault_17_errors_of_another_library_are_named() -> None:
    class YamlError(Exception):
        pass

    reading = parsing("x", ManifestError, expected="a recipe", advice="mend it", also=(YamlError,))
    with pytest.raises(ManifestError, match="not a recipe: bad indent; mend it"), reading:
        raise YamlError("bad indent")
