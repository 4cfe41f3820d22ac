"""Splits for a corpus that has none: by speaker or by text, the same ones for the same seed."""

from __future__ import annotations

import hashlib
import logging
from dataclasses import dataclass

import polars as pl

from st.corpora.rows import TRANSLATION
from st.errors import ConfigError, ManifestError
from st.options import option

logger = logging.getLogger(__name__)

KEPT_TOGETHER: dict[str, tuple[str, ...]] = {
    "speaker": ("audio", "speaker"),
    "text": ("audio", "transcript", TRANSLATION),
    "row": (),
}
"""What rows of different splits may not have in common; a prefix stands for the columns that begin so."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SplitOptions:
    """How a corpus without splits is divided."""

    by: str = option(
        "speaker", "what no two splits share besides recordings: speaker, or text; row: they may share all"
    )
    dev: float = option(0.05, "share of the rows that become dev")
    test: float = option(0.05, "share of the rows that become test")
    seed: int = option(0, "another seed makes other splits")

    def __post_init__(self) -> None:
        """Check the values.

        Raises:
            ConfigError: If a share is not one, or nothing is left for train.
        """
        if self.by not in KEPT_TOGETHER:
            raise ConfigError(f"`by` is {self.by!r}; expected one of {' '.join(KEPT_TOGETHER)}")
        if not (0 <= self.dev < 1 and 0 <= self.test < 1 and self.dev + self.test < 1):
            raise ConfigError(f"`dev` {self.dev:g} and `test` {self.test:g}; expected shares with a sum below 1")


def make_splits(rows: pl.DataFrame, options: SplitOptions) -> pl.DataFrame:
    """Deal rows without a split out to train, dev and test.

    Rows that have a recording, a speaker or a text in common, even by way of others, form a group. Groups are drawn in an
    order of which the seed and their ids decide, and go to test, then to dev, while they fit into its share. Where none fits
    a split gets the smallest one.

    Args:
        rows: As in :mod:`st.corpora.rows`, with no split at all, or with all splits: then nothing is changed.
        options: The shares, and what a group has in common.

    Raises:
        ManifestError: If only some rows have a split, or the groups are too few and too large.
    """
    without = rows["split"].null_count()
    if not without:
        return rows
    if without < len(rows):
        raise ManifestError(f"{without} of {len(rows)} rows have no split; give each row one, or none")
    prefixes = KEPT_TOGETHER[options.by]
    columns = [name for name in rows.columns if name.startswith(prefixes)]
    group = _groups(rows.select("id", *columns))
    sizes = pl.DataFrame({"group": group}).group_by("group").len("rows").sort("group")
    drawn = sizes.with_columns(
        key=pl.Series([_key(name, options.seed) for name in sizes["group"]], dtype=pl.String)
    ).sort("key")
    split_of = _deal(drawn, len(rows), options)
    return rows.with_columns(split=group.replace_strict(drawn["group"], split_of))


def _key(name: str, seed: int) -> str:
    return hashlib.sha256(f"{seed}\0{name}".encode()).hexdigest()


def _groups(rows: pl.DataFrame) -> pl.Series:
    """Return the least id of each row's group: of all rows that equal values of any column join."""
    columns = [name for name in rows.columns if name != "id"]
    labels = rows.with_columns(group=pl.col("id").rank("ordinal"))
    while True:
        before = labels["group"]
        for name in columns:
            least = pl.when(pl.col(name).is_not_null()).then(pl.col("group").min().over(name))
            labels = labels.with_columns(group=pl.coalesce(least, "group"))
        if labels["group"].equals(before):
            return labels.select(pl.col("id").min().over("group"))["id"]


def _deal(drawn: pl.DataFrame, total: int, options: SplitOptions) -> pl.Series:
    shares = {"test": options.test, "dev": options.dev}
    wanted = {name: round(share * total) for name, share in shares.items()}
    left = dict(wanted)
    splits = []
    for size in drawn["rows"]:
        split = next((name for name, rest in left.items() if size <= rest), "train")
        splits.append(split)
        if split in left:
            left[split] -= size
    # Of few rows a share may be less than one; a group goes there all the same, if train can spare it: first to dev.
    small = [name for name in ("dev", "test") if shares[name] and not wanted[name]]
    _fill_empty(splits, drawn["rows"].to_list(), [*(name for name, count in wanted.items() if count), *small], total)
    empty = [name for name, count in wanted.items() if count and name not in splits]
    if empty or "train" not in splits:
        raise ManifestError(
            f"{len(drawn)} groups of rows that belong together cannot be divided by {options.by}: the largest has "
            f"{drawn['rows'].sort()[-1]} of {total} rows and {', '.join(empty) or 'train'} would be empty; "
            f"choose another `by`, or larger shares `dev` and `test`"
        )
    lacking = [name for name, share in shares.items() if share and name not in splits]
    if lacking:
        logger.warning(
            "of %d rows none is left for %s: more recordings are needed, or --split-by row",
            total,
            " and ".join(lacking),
        )
    return pl.Series("split", splits, dtype=pl.String)


def _fill_empty(splits: list[str], sizes: list[int], wanted: list[str], total: int) -> None:
    """Give each split that got nothing the smallest group of train, as long as train keeps half of all rows.

    Of a corpus of a few speakers every one has more rows than a small share.
    """
    for name in wanted:
        places = [place for place, split in enumerate(splits) if split == "train"]
        left = sum(sizes[place] for place in places)
        smallest = min(places, key=lambda place: sizes[place], default=None)
        if name not in splits and smallest is not None and left - sizes[smallest] >= total / 2:
            splits[smallest] = name
