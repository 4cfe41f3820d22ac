"""MuST-C, mTEDx and IWSLT: whole talks, and lists of their segments in step with parallel texts.

``<src>-<tgt>/data/<split>/{wav/*.wav, txt/<split>.yaml, txt/<split>.<language>}``. Line n of each text belongs to entry n of the
YAML. IWSLT's low-resource sets have ``<split>/{wav,txt}`` alone. In mTEDx the YAML says ``.wav`` where the files are
``.flac``; :mod:`st.corpora.endings` finds them.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from st.corpora.lines import frame_of, read_parallel
from st.corpora.rows import SPLIT_NAMES, TRANSLATION, Corpus, as_corpus
from st.doors.readers import read_yaml_rows
from st.errors import ManifestError
from st.options import option
from st.text.languages import is_code

PATTERNS = ("txt/*.yaml", "*/txt/*.yaml", "data/*/txt/*.yaml", "*/data/*/txt/*.yaml")
_COLUMNS = ("wav", "offset", "duration", "speaker_id")


@dataclass(frozen=True, kw_only=True, slots=True)
class MustCOptions:
    """What the folders do not say."""

    language: str = option("", "ending of the transcripts, where no folder such as en-de tells the spoken language")
    test: str = option("tst-COMMON", "the set that is the test, where there are several such as tst-COMMON and tst-HE")


def read_mustc(folder: Path, options: MustCOptions) -> Corpus:
    """Read one or more pairs of languages.

    Raises:
        ManifestError: If a YAML is no list of segments, a text has another number of lines, the spoken language is not told,
            or as for :func:`st.corpora.rows.as_corpus`.
    """
    lists = sorted({path for pattern in PATTERNS for path in folder.glob(pattern)})
    frames, skipped = [], Counter[str]()
    for path in lists:
        name = path.stem
        frame = _segments(path)
        if name != options.test and name not in SPLIT_NAMES:
            skipped[f"segments of {name}"] += len(frame)
            continue
        split = "test" if name == options.test else SPLIT_NAMES[name]
        wav = (path.parents[1] / "wav").relative_to(folder).as_posix()
        frame = frame.with_columns(_texts(path, _source(path, options), len(frame)))
        source = pl.lit(_source(path, options) or None)
        audio = pl.lit(f"{wav}/") + pl.col("audio")
        frames.append(frame.with_columns(audio=audio, split=pl.lit(split), src_lang=source))
    return as_corpus(frames, folder, skipped=skipped)


def _segments(path: Path) -> pl.DataFrame:
    expected = f"a list of segments, each with {', '.join(_COLUMNS)}"
    entries = read_yaml_rows(path, ManifestError, expected=expected)
    table = frame_of(entries, _COLUMNS)
    for name in ("wav", "offset", "duration"):
        if table[name].null_count():
            number = (table[name].is_null().arg_max() or 0) + 1
            raise ManifestError(f"{path}: entry {number} has no {name}; expected {expected}")
    times = [pl.col(name).cast(pl.Float64, strict=False) for name in ("offset", "duration")]
    # What is no number stays as it is, for the message.
    end = pl.coalesce((times[0] + times[1]).cast(pl.String), "duration")
    return table.select(audio="wav", speaker="speaker_id", start_s="offset", end_s=end)


def _source(path: Path, options: MustCOptions) -> str:
    """Return the ending of the transcripts."""
    pairs = (re.fullmatch(r"([a-z]{2,3})-[a-z]{2,3}", parent.name) for parent in path.parents)
    return options.language or next((pair[1] for pair in pairs if pair), "")


def _texts(path: Path, source: str, count: int) -> list[pl.Series]:
    """Return the columns of the texts that lie beside a list."""
    codes = sorted(code for text in path.parent.glob(f"{path.stem}.*") if is_code(code := text.suffix[1:]))
    codes = [code for code in codes if (path.parent / f"{path.stem}.{code}").is_file()]
    if codes and source not in codes:
        none = f"; {source} is none of them" if source else ""
        raise ManifestError(f"{path}: which of {' '.join(codes)} is spoken? Name it by `language`{none}")
    return [
        read_parallel(path.with_suffix(f".{code}"), count, path).alias(
            "transcript" if code == source else TRANSLATION + code
        )
        for code in codes
    ]
