"""What is wrong with rows is dropped or counted, each kind with an example."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest
from corpora_planted import Row, planted_frame, put
from hypothesis import given
from hypothesis import strategies as some

from st.corpora.checks import COUNTED, DROPPED, Finding, check, leaks
from st.corpora.rows import SCHEMA
from st.errors import ManifestError

GOOD = Row("a.wav", "a", 0.0, 1.0, "train", "s1", "fr", "un", {"de": "eins"})


def frame(root: Path, *rows: Row, missing: tuple[str, ...] = ()) -> pl.DataFrame:
    for row in rows:
        if row.audio not in missing:
            put(root / row.audio, b"")
    found = planted_frame(root, rows)
    return found.cast(dict.fromkeys((name for name in found.columns if name not in ("start_s", "end_s")), pl.String))


def found(root: Path, *rows: Row, **options: float) -> dict[str, tuple[int, str]]:
    return {item.reason: (item.count, item.example) for item in check(frame(root, *rows), **options).findings}


def test_good_rows_pass(tmp_path: Path) -> None:
    rows = frame(tmp_path, GOOD, replace(GOOD, id="b", start_s=0.9995, end_s=2.0))
    checked = check(rows)
    assert checked.findings == []
    assert checked.rows.equals(rows)


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        (Row("b.wav", "b", 1.0, 1.0, "train", "s1", "fr", "x"), "impossible_times"),
        (Row("b.wav", "b", -0.5, 1.0, "train", "s1", "fr", "x"), "impossible_times"),
        (Row("b.wav", "b", None, 0.0, "train", "s1", "fr", "x"), "impossible_times"),
        (replace(GOOD, id="b"), "duplicate_slice"),
    ],
)
def test_a_row_that_cannot_be_used_goes(tmp_path: Path, row: Row, reason: str) -> None:
    checked = check(frame(tmp_path, GOOD, row))
    assert checked.findings == [Finding(reason, 1, "b")]
    assert checked.rows["id"].to_list() == ["a"]
    assert str(checked.findings[0]) == f"1 rows: {DROPPED[reason]}; such as 'b'"


@pytest.mark.parametrize(
    ("row", "reasons"),
    [
        (Row("a.wav", "b", 0.5, 2.0, "train", "s1", "fr", "x"), {"overlap": (1, "b")}),
        (Row("a.wav", "b", None, None, "train", "s1", "fr", "x"), {"overlap": (1, "b")}),
        (Row("b.wav", "b", None, None, "train", "s1", "fr"), {"no_text": (1, "b")}),
        (Row("b.wav", "b", None, None, "train", "s1", None, "x"), {"no_language": (1, "b")}),
        (Row("b.wav", "b", None, None, "train", "s1", "qx", "x"), {"unknown_language": (1, "qx")}),
        (Row("b.wav", "b", None, None, "train", "s1", "fr", "x", {"qy": "y"}), {"unknown_language": (1, "qy")}),
        (Row("b.wav", "b", None, None, "test", "s1", "fr", "x"), {"shared_speaker": (1, "b")}),
        (Row("b.wav", "b", None, None, "test", "s2", "fr", "un"), {"shared_transcript": (1, "b")}),
        (Row("b.wav", "b", None, None, "dev", "s2", "fr", "x", {"de": "eins"}), {"shared_translation": (1, "b")}),
        (Row("a.wav", "b", 2.0, 3.0, "dev", "s2", "fr", "x"), {"shared_audio": (1, "b")}),
        (Row("b.wav", "b", None, None, "dev", None, "fr", "x"), {}),
    ],
)
def test_what_deserves_a_look_is_counted_and_stays(
    tmp_path: Path, row: Row, reasons: dict[str, tuple[int, str]]
) -> None:
    assert found(tmp_path, GOOD, row) == reasons
    assert check(frame(tmp_path, GOOD, row)).rows.height == 2


def test_every_reason_is_explained_once() -> None:
    assert not DROPPED.keys() & COUNTED.keys()


def test_a_missing_recording_among_many_is_counted_and_too_many_are_an_error(tmp_path: Path) -> None:
    rows = [replace(GOOD, audio=f"clips/{number}.wav", id=str(number)) for number in range(10)]
    table = frame(tmp_path, *rows, missing=("clips/7.wav",))
    checked = check(table)
    assert checked.findings == [Finding("missing_recording", 1, "7")]
    assert checked.rows["id"].to_list() == [*"01234568", "9"]
    with pytest.raises(
        ManifestError,
        match=rf"train: found 9 of 10 recordings \(90\.0%\), less than `min_found` 0\.95; {tmp_path}/clips/7\.wav",
    ):
        check(table, min_found=0.95)


def test_a_split_that_lacks_its_recordings_is_an_error_however_small_it_is(tmp_path: Path) -> None:
    rows = [replace(GOOD, audio=f"{number}.wav", id=str(number)) for number in range(20)]
    table = frame(tmp_path, *rows, replace(GOOD, audio="t.wav", id="t", split="test"), missing=("t.wav",))
    with pytest.raises(ManifestError, match="test: found 0 of 1 recordings"):
        check(table)


def test_recordings_within_other_files_are_there_if_these_are(tmp_path: Path) -> None:
    rows = [
        replace(GOOD, audio=f"{name}#x/{name}", id=name) for name in ("t.tar.gz", "p.parquet", "lost.zip", "a#b.wav")
    ]
    for name in ("t.tar.gz", "p.parquet", "a#b.wav#x/a#b.wav"):
        put(tmp_path / name, b"")
    checked = check(planted_frame(tmp_path, rows), min_found=0.5)
    assert [(item.reason, item.example) for item in checked.findings] == [("missing_recording", "lost.zip")]


VALUES = some.lists(
    some.tuples(some.sampled_from(["train", "dev", "test"]), some.sampled_from([None, "a", "b", "c"])), max_size=12
)


@given(VALUES)
def test_leaks_are_what_a_slow_count_says(values: list[tuple[str, str | None]]) -> None:
    rows = pl.DataFrame(
        {"split": [split for split, _ in values], "speaker": [name for _, name in values]},
        schema={"split": pl.String, "speaker": pl.String},
    )
    rows = rows.with_columns(pl.int_range(pl.len()).cast(pl.String).alias("id"))
    rows = rows.with_columns(pl.col("id").alias("audio"), pl.lit(None, pl.String).alias("transcript"))
    slow = sum(
        split != "train" and name is not None and any(name == other and split != there for there, other in values)
        for split, name in values
    )
    assert {item.reason: item.count for item in leaks(rows)} == ({"shared_speaker": slow} if slow else {})
    assert set(rows.columns) < set(SCHEMA)
