"""Error rates of speech recognition that the papers of XLSR and XLS-R have, to stand beside ours; each with its source.

The table is ``published_asr.tsv`` beside this file. Its figures are of whole test sets, by each paper's own normalisation.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from st.errors import EvaluationError, UsageError
from st.evaluation.report.tables import score_text
from st.evaluation.scoring.averages import mean
from st.evaluation.scoring.declarations import REPORT_FILENAME, read_record
from st.evaluation.scoring.hypotheses import read_table
from st.report.tables import TextTable

TABLE = Path(__file__).with_name("published_asr.tsv")
CORPORA: dict[str, str] = {
    "mls": "MLS",
    "mls-xlsr": "MLS (XLSR paper)",
    "voxpopuli": "VoxPopuli",
    "commonvoice": "CommonVoice few-shot",
    "babel": "BABEL",
    "babel-xlsr": "BABEL-10",
    "librispeech": "LibriSpeech",
}
"""Names for options, and those of the table."""
OURS = {"WER": "wer", "CER": "cer", "PER": "wer"}
"""Which of our rates a published one is. Phonemes are written with spaces between, so that each is a word."""
_AVERAGE = "avg"


@dataclass(frozen=True, slots=True)
class Recogniser:
    """One system's error rates on a corpus."""

    name: str
    condition: str
    """What it was trained on, or decoded with."""
    metric: str
    rates: dict[str, float] = field(default_factory=dict)
    """By language or set, as the source prints them."""
    source: str = "this evaluation"

    def average(self, sets: Sequence[str]) -> float | None:
        """Return the mean over sets; None unless it has a figure for each."""
        values = [self.rates[name] for name in sets if name in self.rates]
        return mean(values) if len(values) == len(sets) else None


@cache
def published_recognisers(corpus: str) -> tuple[Recogniser, ...]:
    """Read what has been published for a corpus of :data:`CORPORA`, without the averages, which are computed.

    Raises:
        EvaluationError: If the table is malformed.
        UsageError: If it has no such corpus.
    """
    if corpus not in CORPORA:
        raise UsageError(f"no published recognition of {corpus!r}; there are: {' '.join(CORPORA)}")
    rows = read_table(TABLE)
    found: dict[tuple[str, str], Recogniser] = {}
    columns = [rows.column(name) for name in ("system", "corpus", "set", "metric", "value", "condition", "source")]
    for system, where, name, metric, value, condition, source in zip(*columns, strict=True):
        if where == CORPORA[corpus] and name != _AVERAGE:
            entry = found.setdefault((system, condition), Recogniser(system, condition, metric, source=source))
            if name in entry.rates or entry.metric != metric:
                raise EvaluationError(f"{TABLE}: {system} has {name} of {where} twice, or by two metrics")
            entry.rates[name] = float(value)
    return tuple(found.values())


def read_recogniser(text: str, corpus: str) -> Recogniser:
    """Return the error rates of an evaluation of ours, by the metric that a corpus is published by.

    Args:
        text: A folder of ``st evaluate``; ``NAME=PATH`` gives it a name.
        corpus: One of :data:`CORPORA`.

    Raises:
        UsageError: If its report has no error rates.
    """
    name, equals, path = ("", "", text) if Path(text).exists() else text.partition("=")
    folder = Path(path if equals else text)
    metric = published_recognisers(corpus)[0].metric
    asr = read_record(folder / REPORT_FILENAME).get("asr")
    results = asr if isinstance(asr, dict) else {}
    rates = {code: result.get(OURS[metric]) for code, result in results.items() if isinstance(result, dict)}
    numbers = {code: float(rate) for code, rate in rates.items() if isinstance(rate, int | float)}
    if not numbers:
        raise UsageError(
            f"{folder}: no {metric} in its {REPORT_FILENAME}; expected a folder of `st evaluate` of a model that transcribes"
        )
    return Recogniser(name or folder.resolve().name, "", metric, numbers)


def recognition_table(corpus: str, ours: Sequence[Recogniser]) -> TextTable:
    """Set recognisers of ours above published ones, language by language.

    The average is over the languages that ours have, where there are any of the corpus, and else over all of it; a system
    that lacks one of them has none.
    """
    known = published_recognisers(corpus)
    sets = list(dict.fromkeys(name for entry in known for name in entry.rates))
    common = [name for name in sets if all(name in entry.rates for entry in ours)]
    if ours and not common:
        raise UsageError(f"none of the languages of {CORPORA[corpus]} is in all evaluations; it has: {' '.join(sets)}")
    shown = common if ours else sets
    rows = tuple(
        (
            entry.name,
            entry.condition or "–",
            *(score_text(entry.rates[name]) if name in entry.rates else "–" for name in shown),
            score_text(entry.average(shown)),
            entry.source,
        )
        for entry in (*ours, *known)
    )
    columns = ("system", "condition", *shown, "average", "source")
    title = f"{CORPORA[corpus]}: {known[0].metric}, %"
    return TextTable(title, columns, rows, frozenset({*shown, "average"}), long=frozenset({"source"}))


def recognition_json(corpus: str, ours: Sequence[Recogniser]) -> list[dict[str, object]]:
    """Return the same as records: system, condition, metric, rates by language, source."""
    return [
        {name: getattr(entry, name) for name in ("name", "condition", "metric", "source")} | {"rates": entry.rates}
        for entry in (*ours, *published_recognisers(corpus))
    ]


CAVEAT = (
    "Published figures are of the whole test sets, by the normalisation of each paper; those of an evaluation are of what was "
    "evaluated, by ours. PER: rates of words, if each phoneme of a transcript is a word."
)
