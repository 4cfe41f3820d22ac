"""Each layout gives the rows that were planted in it, and its traps do no harm."""

from __future__ import annotations

from pathlib import Path

import pytest
from corpora_layouts import LAYOUTS
from corpora_planted import planted_frame
from polars.testing import assert_frame_equal

from st.corpora.rows import SCHEMA, Corpus
from st.corpora.sources import SOURCES, read_corpus, recognise


def read(root: Path, name: str, **options: object) -> Corpus:
    return read_corpus(root, SOURCES[name], SOURCES[name].options(**options))


@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_rows_of_a_layout_are_those_that_were_planted(tmp_path: Path, layout: str) -> None:
    source, write, options = LAYOUTS[layout]
    expected = planted_frame(tmp_path, write(tmp_path))
    found = read(tmp_path, source, **options).rows
    assert list(found.columns[: len(SCHEMA)]) == list(SCHEMA)
    assert_frame_equal(
        found, expected.cast({name: found.schema[name] for name in expected.columns}), check_column_order=False
    )


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_layout_is_recognised(tmp_path: Path, layout: str) -> None:
    source, write, _ = LAYOUTS[layout]
    write(tmp_path)
    assert recognise(tmp_path).name == source


@pytest.mark.parametrize(
    ("layout", "skipped"),
    [
        ("mustc", {"segments of tst-HE": 2}),
        ("mls", {"opus recordings that are there as FLAC (mls_german_opus)": 1}),
        ("europarl", {"segments of train-noisy": 3}),
        ("kaldi", {"segments of recordings that wav.scp does not have": 1}),
        ("covost", {"rows of splits that version 2 does not use": 1, "clips that validated.tsv does not have": 1}),
        ("textfiles", {"recordings without a text beside them": 1}),
        (
            "lhotse",
            {
                "supervisions of one channel of several": 2,
                "supervisions of recordings that are not one file": 2,
                "supervisions of recordings that are to be changed when they are read": 2,
                "supervisions of recordings that are not listed": 2,
            },
        ),
    ],
)
def test_what_is_not_taken_is_counted(tmp_path: Path, layout: str, skipped: dict[str, int]) -> None:
    source, write, options = LAYOUTS[layout]
    write(tmp_path)
    assert read(tmp_path, source, **options).skipped == skipped
