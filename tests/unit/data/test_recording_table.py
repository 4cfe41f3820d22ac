"""Recordings of manifests as arrays: the same rows as the plain reader's, and the same errors."""

import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as some

from st.data import recording_table
from st.data.manifest import COLUMNS, ManifestRow, read_manifest, write_manifest
from st.data.recording_table import RecordingTable
from st.data.utterances import group_rows
from st.errors import ManifestError

HEADER = "\t".join(COLUMNS)


def rows_of(draw):
    return [
        ManifestRow(f"clip{number}é" * long, f"{store}.zip:{place}:{length}", frames, "", "s", "", code, "")
        for number, (long, store, place, length, frames, code) in enumerate(draw)
    ]


drawn = some.lists(
    some.tuples(
        some.sampled_from((1, 40)),
        some.sampled_from(("audio/fr/train", "b")),
        some.integers(60, 64),
        some.integers(7, 8),
        some.integers(1, 10**14 - 1),
        some.sampled_from(("fr", "de", "mdw")),
    ),
    max_size=12,
)


@given(first=drawn, second=drawn, block=some.sampled_from((1, 200, 1 << 24)), chosen=some.sampled_from((None, ("fr",))))
@settings(deadline=None)
def test_the_rows_are_those_of_the_plain_reader(tmp_path_factory, first, second, block, chosen):
    folder = tmp_path_factory.mktemp("tree")
    paths = [folder / "asr_train_fr.tsv", folder / "train_fr_en.tsv"]
    for path, draw in zip(paths, (first, second), strict=True):
        write_manifest(path, rows_of(draw))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(recording_table, "_BLOCK_BYTES", block)
        table = RecordingTable([(folder, paths)], chosen)
    rows = [row for path in paths for row in read_manifest(path) if chosen is None or row.src_lang in chosen]
    expected = group_rows(rows)
    assert [(each.id, each.audio, each.num_samples, each.src_lang) for each in table] == [
        (each.id, str(folder / each.audio), each.num_samples, each.src_lang) for each in expected
    ]
    assert table.sizes.tolist() == [each.num_samples for each in expected]
    assert [table.languages[group] for group in table.groups] == [each.src_lang for each in expected]
    assert [*table.names()] == [(each.id.encode(), each.src_lang.encode()) for each in expected]
    assert table[:] == [*table]


def test_columns_of_any_order_and_line_ends_of_any_kind(tmp_path):
    lines = ["src_lang\tmore\tn_frames\taudio\tid\ttgt_text\tspeaker\tsrc_text\ttgt_lang"]
    lines += [f"fr\tx\t{'0' * 9}{number}\ta.zip:{number}:9\tclip{number}\t\t\t\t" for number in (1, 2)]
    expected = [("clip1", str(tmp_path / "a.zip:1:9"), 1), ("clip2", str(tmp_path / "a.zip:2:9"), 2)]
    for text in ("\ufeff" + "\r\n".join(lines), "\n".join(lines) + "\n\n", "\r\n".join(lines) + "\r\n\r\n"):
        (tmp_path / "asr_train_fr.tsv").write_bytes(text.encode())
        table = RecordingTable([(tmp_path, [tmp_path / "asr_train_fr.tsv"])])
        assert [(each.id, each.audio, each.num_samples) for each in table] == expected
    (tmp_path / "last.tsv").write_bytes(
        b"id\taudio\tn_frames\ttgt_text\tspeaker\tsrc_text\ttgt_lang\tsrc_lang\r\n" + b"a\tb\t5\t\t\t\t\tfr\r\n" * 2
    )
    assert RecordingTable([(tmp_path, [tmp_path / "last.tsv"])])[0].src_lang == "fr"


def test_each_corpus_has_groups_of_its_own(tmp_path):
    places = {}
    for number, codes in enumerate((("fr", "de"), ("de",))):
        folder = tmp_path / str(number)
        folder.mkdir()
        rows = [ManifestRow(code, f"{code}.zip:1:2", 3, "", "", "", code, "") for code in codes]
        write_manifest(folder / "asr_train_x.tsv", rows)
        places[folder] = [folder / "asr_train_x.tsv"]
    table = RecordingTable([*places.items()])
    assert (table.corpora.tolist(), table.languages) == ([0, 0, 1], ["de", "fr", "de"])
    assert table.groups.tolist() == [1, 0, 2]
    assert len({each.audio for each in table}) == 3


GOOD = "a\tb.zip:1:2\t5\t\t\t\tfr\t"


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("a\tb\t-1\t\t\t\tfr\t", "n_frames is '-1'; expected a positive integer"),
        ("a\tb\t0\t\t\t\tfr\t", "n_frames is '0'"),
        ("a\tb\t\t\t\t\tfr\t", "n_frames is ''"),
        ("a\tb\t1x\t\t\t\tfr\t", "n_frames is '1x'"),
        (f"a\tb\t{'9' * 16}\t\t\t\tfr\t", "n_frames is"),
        (f"a\tb\t{'0' * 30}\t\t\t\tfr\t", "n_frames is"),
        ("\tb\t5\t\t\t\tfr\t", "id or audio is empty"),
        ("a\t\t5\t\t\t\tfr\t", "id or audio is empty"),
        ("a\tb\t5\t\t\t\tfr", "found 7 columns; expected 8"),
        ("a\tb\t5\t\t\t\tfr\t\t", "found 9 columns; expected 8"),
        ("a\tb\t5\t\t\t\tfr\n\t", "found 7 columns"),
        ("", "found 1 columns"),
        ("a\0\tb\t5\t\t\t\tfr\t", "found a NUL character"),
        (f"a\tb\t5\t\t\t{'x' * 131_073}\tfr\t", "a field is longer than 131072 characters"),
    ],
)
def test_p13_a_wrong_line_is_named_as_the_plain_reader_names_it(tmp_path, line, message):
    path = tmp_path / "asr_train_fr.tsv"
    path.write_text("\n".join([HEADER, GOOD, line, GOOD]) + "\n", encoding="utf-8")
    with pytest.raises(ManifestError, match=rf"^{re.escape(str(path))}:3: .*{re.escape(message)}"):
        RecordingTable([(tmp_path, [path])])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "no such file"),
        (b"", "empty file"),
        (b"id\taudio\n", "no column"),
        (HEADER.encode() + b"\n\xff\n", "0xff"),
    ],
)
def test_p14_a_file_that_is_no_manifest_is_refused(tmp_path, content, message):
    path = tmp_path / "asr_train_fr.tsv"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ManifestError, match=message):
        RecordingTable([(tmp_path, [path])])


def test_many_bytes_of_few_characters_are_no_long_field(tmp_path):
    path = tmp_path / "asr_train_fr.tsv"
    path.write_text(f"{HEADER}\na\tb\t5\t\t\t{'語' * 50_000}\tfr\t\n", encoding="utf-8")
    assert RecordingTable([(tmp_path, [path])]).sizes.tolist() == [5]


def test_a_recording_takes_few_bytes(tmp_path):
    write_manifest(
        tmp_path / "asr_train_fr.tsv",
        (ManifestRow(str(n), f"a.zip:{n}:5", n + 1, "", "", "", "fr", "") for n in range(1000)),
    )
    table = RecordingTable([(tmp_path, [tmp_path / "asr_train_fr.tsv"])])
    assert sum(each.nbytes for each in vars(table).values() if isinstance(each, np.ndarray)) <= 18 * 1000 + 100
