"""Splits that are made share nothing that they must not, have their sizes, and depend on the seed alone."""

from __future__ import annotations

import contextlib
import random

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as some

from st.corpora.checks import leaks
from st.corpora.splits import SplitOptions, make_splits
from st.errors import ConfigError, ManifestError

STORED = ["00031", "00070", "00084"]


def corpus(rows: int, speakers: int, sentences: int, seed: int = 0) -> pl.DataFrame:
    rng = random.Random(seed)
    return pl.DataFrame(
        {
            "id": [f"{number:05d}" for number in range(rows)],
            "audio": [f"{number}.wav" for number in range(rows)],
            "split": pl.Series([None] * rows, dtype=pl.String),
            "speaker": [f"s{rng.randrange(speakers)}" for _ in range(rows)],
            "transcript": [f"t{rng.randrange(sentences)}" for _ in range(rows)],
            "translation_de": pl.Series([None] * rows, dtype=pl.String),
        }
    )


def sizes(rows: pl.DataFrame) -> dict[str, int]:
    return dict(rows["split"].value_counts().iter_rows())


def test_by_speaker_no_speaker_is_in_two_splits() -> None:
    rows = make_splits(corpus(2000, 200, 50), SplitOptions(dev=0.1, test=0.2))
    assert "shared_speaker" not in {item.reason for item in leaks(rows)}
    # Groups are never divided, so that a share may lack some rows; it never has too many.
    assert 195 <= sizes(rows)["dev"] <= 200
    assert 395 <= sizes(rows)["test"] <= 400


def test_by_text_no_text_is_in_two_splits() -> None:
    rows = make_splits(corpus(2000, 5, 400), SplitOptions(by="text"))
    assert {item.reason for item in leaks(rows)} == {"shared_speaker"}
    assert sizes(rows) == {"train": 1800, "dev": 100, "test": 100}


def test_the_order_of_rows_does_not_matter_and_the_seed_does() -> None:
    rows = corpus(500, 60, 50)
    one, other = SplitOptions(), SplitOptions(seed=1)
    shuffled = rows.sample(fraction=1, shuffle=True, seed=3)
    assert make_splits(shuffled, one).sort("id").equals(make_splits(rows, one))
    assert not make_splits(rows, one).equals(make_splits(rows, other))
    # Stored: another version of polars or Python must not make other splits.
    assert make_splits(rows, one).filter(split="test")["id"].to_list()[:3] == STORED


def test_slices_of_a_talk_stay_together_without_speakers() -> None:
    rows = corpus(300, 1, 300).with_columns(
        pl.lit(None, pl.String).alias("speaker"),
        pl.col("id").alias("transcript"),
        (pl.int_range(pl.len()) // 10).cast(pl.String).alias("audio"),
    )
    assert leaks(make_splits(rows, SplitOptions())) == []


def joined(rows: list[tuple[int, int]]) -> list[set[int]]:
    """Return the groups of rows that share a first or a second value, even by way of others, slowly."""
    groups: list[set[int]] = []
    for number, row in enumerate(rows):
        like = [group for group in groups if any(row[0] == rows[n][0] or row[1] == rows[n][1] for n in group)]
        groups = [group for group in groups if group not in like] + [{number}.union(*like)]
    return groups


@settings(deadline=None)
@given(some.lists(some.tuples(some.integers(0, 8), some.integers(0, 8)), min_size=1, max_size=14))
def test_what_others_join_stays_together(values: list[tuple[int, int]]) -> None:
    rows = pl.DataFrame(
        {
            "id": [str(number) for number in range(len(values))],
            "audio": [str(one) for one, _ in values],
            "speaker": [str(other) for _, other in values],
            "split": pl.Series([None] * len(values), dtype=pl.String),
        }
    )
    groups = joined(values)
    found: list[str] = []
    with contextlib.suppress(ManifestError):  # if there are too few groups
        found = make_splits(rows, SplitOptions(dev=0.3, test=0.3))["split"].to_list()
    assert not found or all(len({found[number] for number in group}) == 1 for group in groups)


def test_splits_that_are_there_stay() -> None:
    rows = corpus(4, 2, 2).with_columns(split=pl.lit("train"))
    assert make_splits(rows, SplitOptions()).equals(rows)


def test_splits_of_some_rows_are_an_error() -> None:
    rows = corpus(4, 2, 2).with_columns(split=pl.Series(["train", None, "dev", "dev"]))
    with pytest.raises(ManifestError, match="1 of 4 rows have no split"):
        make_splits(rows, SplitOptions())


def test_speakers_that_are_too_few_are_an_error() -> None:
    with pytest.raises(
        ManifestError, match="3 groups of rows that belong together cannot be divided by speaker: the largest has"
    ):
        make_splits(corpus(300, 3, 50), SplitOptions())


def test_of_a_few_speakers_each_split_has_one_though_it_is_more_than_the_share() -> None:
    rows = corpus(160, 10, 50)
    made = make_splits(rows, SplitOptions())
    smallest = rows["speaker"].value_counts()["count"].sort()[:2].to_list()
    assert sorted(sizes(made)[split] for split in ("dev", "test")) == smallest
    assert "shared_speaker" not in {item.reason for item in leaks(made)}


@pytest.mark.parametrize("rows", [4, 8, 9, 12, 30])
def test_a_small_corpus_has_a_row_in_each_split(rows: int, caplog: pytest.LogCaptureFixture) -> None:
    alone = corpus(rows, 3, 3).with_columns(pl.lit(None, pl.String).alias("speaker"))
    made = sizes(make_splits(alone, SplitOptions()))
    assert {name: made[name] for name in ("dev", "test")} == dict.fromkeys(("dev", "test"), max(1, round(0.05 * rows)))
    assert made["train"] >= rows / 2
    assert not caplog.records


@pytest.mark.parametrize(("rows", "lacking"), [(1, "test and dev"), (3, "test")])
def test_a_split_that_no_row_is_left_for_is_told_of(rows: int, lacking: str, caplog: pytest.LogCaptureFixture) -> None:
    make_splits(corpus(rows, rows, rows), SplitOptions(by="row"))
    assert f"of {rows} rows none is left for {lacking}: more recordings are needed" in caplog.text


@pytest.mark.parametrize(
    ("changes", "message"),
    [({"by": "length"}, "`by` is 'length'"), ({"dev": 1.0}, "`dev` 1"), ({"dev": 0.5, "test": 0.5}, "a sum below 1")],
)
def test_impossible_options_are_refused(changes: dict[str, float], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        SplitOptions(**changes)
