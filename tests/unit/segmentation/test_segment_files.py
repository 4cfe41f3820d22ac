"""Segments that people bring: RTTM, MuST-C's YAML, tables, Audacity's labels, and files that are none of these."""

from __future__ import annotations

from pathlib import Path

import pytest

from st.errors import ManifestError
from st.segmentation.segment_files import GivenSegments
from st.segmentation.spans import Span

FILES = {
    "a.rttm": ";; by hand\nSPEAKER talk 1 1.5 2 <NA> <NA> ann <NA> <NA>\nLEXEME talk 1 1.5 .1 hi lex ann .9\n"
    "SPEAKER talk 1 4 0.25 <NA> <NA> <NA> <NA>\n",
    "a.yaml": "- {duration: 2.0, offset: 1.5, rW: 3, speaker_id: ann, wav: talk.wav}\n- {duration: 0.25, offset: 4, wav: talk.wav}\n",
    "a.tsv": "audio\tstart\tend\tspeaker\ntalk.mp3\t1.5\t3.5\tann\ntalk.mp3\t4\t4.25\t\n",
    "b.tsv": "\ufeffstart\tduration\ttext\tspeaker\n1.5\t2\thi\tann\n4.00\t0.25\tyes\t\n",
    "labels.txt": "1.500000\t3.500000\tann\n\\\t100\t200\n4.0\t4.25\t\n",
}


@pytest.mark.parametrize("name", FILES)
def test_all_formats_say_the_same(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text(FILES[name], encoding="utf-8")
    segments = GivenSegments(tmp_path / name)
    segments.check(["folder/talk.flac"])
    speaker = None if name == "labels.txt" else "ann"
    assert segments.of("folder/talk.flac") == [Span(24_000, 56_000, speaker), Span(64_000, 68_000)]


def test_recordings_that_are_not_named_are_refused_unless_there_is_one(tmp_path: Path) -> None:
    (tmp_path / "a.rttm").write_text(FILES["a.rttm"])
    segments = GivenSegments(tmp_path / "a.rttm")
    segments.check(["another.wav"])
    with pytest.raises(ManifestError, match=r"has no segments of b\.wav; it has those of talk"):
        segments.check(["talk.wav", "b.wav"])
    (tmp_path / "labels.txt").write_text(FILES["labels.txt"])
    with pytest.raises(ManifestError, match="does not say of which of 2"):
        GivenSegments(tmp_path / "labels.txt").check(["talk.wav", "b.wav"])


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.txt", b"", "holds no segments"),
        ("a.txt", b"hello\nworld\n", "expected|not RTTM"),
        ("a.txt", b"1.0\t0.5\tx\n", "segment 1 is from 1 to 0.5 s"),
        ("a.txt", b"nan\t3\tx\n", "segment 1 is from nan"),
        ("a.txt", b"\xff\xfe\x00", "not UTF-8"),
        ("a.yaml", b"a: 1\n", "no list"),
        ("a.yaml", b"- {wav: a.wav, offset: 1}\n", "segment 1 has no start, or neither end nor duration"),
        ("a.rttm", b";; by hand\n\nSPEAKER talk 1\n", "a.rttm:3: .*expected `SPEAKER"),
        ("a.rttm", b"SPEAKER talk 1 -1 2 <NA> <NA> ann\n", "expected seconds from 0"),
        ("a.tsv", b"start\tend\nx\t3\n", "not RTTM"),
    ],
)
def test_what_is_none_of_them_is_one_sentence(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ManifestError, match=message):
        GivenSegments(tmp_path / name)
