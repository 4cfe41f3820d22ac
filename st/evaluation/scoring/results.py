"""What an evaluation found: plain records, and the JSON that they become.

All scores are in percent, as sacreBLEU and fairseq print them: BLEU, chrF++ and TER, and also WER and CER.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace

from st.evaluation.scoring.averages import Average, average_groups, mean
from st.report.provenance import Provenance

JsonValue = None | bool | int | float | str | list["JsonValue"] | dict[str, "JsonValue"]

MAIN_METRICS = ("bleu", "chrf", "ter")

_DECIMALS = 4


@dataclass(frozen=True, kw_only=True, slots=True)
class MetricScore:
    """One corpus score with the signature that lets others repeat it."""

    value: float
    signature: str


@dataclass(frozen=True, slots=True)
class Interval:
    """A 95 % confidence interval."""

    low: float
    high: float

    def to_json(self) -> list[JsonValue]:
        """Return both ends, rounded like scores."""
        return [number(self.low), number(self.high)]


@dataclass(frozen=True, kw_only=True, slots=True)
class DirectionResult:
    """Translation scores of one direction."""

    bleu: MetricScore
    """BLEU with the tokenizer of the papers' convention for the target language."""
    chrf: MetricScore
    """chrF++ (six characters, two words)."""
    ter: MetricScore
    n: int
    """Segments scored."""
    empty_hypotheses: int = 0
    """Hypotheses without any text; they are scored like the others."""
    empty_references: int = 0
    """References without any text; whatever was said there is wrong."""
    other_bleu: Mapping[str, MetricScore] = field(default_factory=dict)
    """BLEU with further tokenizers, by tokenizer (``zh``, ``ja-mecab``)."""
    intervals: Mapping[str, Interval] = field(default_factory=dict)
    """Bootstrap intervals of ``bleu``, ``chrf``, ``ter`` and the further tokenizers."""
    length_ratio: float | None = None
    """Characters of the hypotheses over those of the references, spaces not counted."""
    flags: Mapping[str, int] = field(default_factory=dict)
    """Suspicious hypotheses by kind, see :mod:`st.evaluation.scoring.flags`."""
    comet: float | None = None
    """COMET in percent, if it was asked for and could be computed."""

    def to_json(self) -> dict[str, JsonValue]:
        """Return the record of the report, scores rounded to four decimals and NaN as None."""
        record: dict[str, JsonValue] = {
            "bleu": number(self.bleu.value),
            "signature": self.bleu.signature,
            "chrf": number(self.chrf.value),
            "chrf_signature": self.chrf.signature,
            "ter": number(self.ter.value),
            "ter_signature": self.ter.signature,
            "n": self.n,
            "empty_hypotheses": self.empty_hypotheses,
            "empty_references": self.empty_references,
        }
        for name in MAIN_METRICS:
            if name in self.intervals:
                record[f"{name}_ci"] = self.intervals[name].to_json()
        if self.other_bleu:
            record["other_bleu"] = {name: self._other_record(name) for name in sorted(self.other_bleu)}
        record["length_ratio"] = number(self.length_ratio)
        record["flags"] = dict(self.flags)
        if self.comet is not None:
            record["comet"] = number(self.comet)
        return record

    def signed(self, addition: str) -> DirectionResult:
        """Return the same with something added to all signatures."""

        def sign(score: MetricScore) -> MetricScore:
            return replace(score, signature=f"{score.signature}|{addition}")

        others = {name: sign(score) for name, score in self.other_bleu.items()}
        return replace(self, bleu=sign(self.bleu), chrf=sign(self.chrf), ter=sign(self.ter), other_bleu=others)

    def not_finite(self) -> list[str]:
        """Name the scores that are NaN or infinite; they are ``null`` in the JSON."""
        scores: dict[str, MetricScore] = {"bleu": self.bleu, "chrf": self.chrf, "ter": self.ter, **self.other_bleu}
        return _not_finite({name: score.value for name, score in scores.items()} | {"comet": self.comet})

    def _other_record(self, name: str) -> dict[str, JsonValue]:
        score = self.other_bleu[name]
        record: dict[str, JsonValue] = {"bleu": number(score.value), "signature": score.signature}
        if name in self.intervals:
            record["bleu_ci"] = self.intervals[name].to_json()
        return record


@dataclass(frozen=True, kw_only=True, slots=True)
class AsrResult:
    """Recognition scores of one spoken language."""

    wer: float | None
    """Word error rate in percent of the reference words; None of a language written without spaces between them."""
    cer: float | None
    """Character error rate in percent of the reference characters, spaces counted; None, like ``wer``, of a language
    without any transcript to compare with."""
    n: int
    """Recordings heard."""
    num_words: int | None
    """Reference words after normalisation; None like ``wer``."""
    num_characters: int
    """Reference characters after normalisation."""
    empty_references: int = 0
    """References without any text after normalisation; what was heard there counts as insertions."""

    def to_json(self) -> dict[str, JsonValue]:
        """Return the record of the report, rates rounded to four decimals and NaN as None."""
        return {name: number(value) for name, value in asdict(self).items()}


@dataclass(frozen=True, kw_only=True, slots=True)
class Report:
    """The outcome of one evaluation."""

    subset: str
    directions: Mapping[str, DirectionResult]
    """By direction, those of CoVoST 2 in its order."""
    asr: Mapping[str, AsrResult]
    """By spoken language; empty if the model does not transcribe."""
    settings: Mapping[str, JsonValue] = field(default_factory=dict)
    """What was evaluated and how: checkpoint, decoding options, normalisation, versions."""
    notes: Mapping[str, str] = field(default_factory=dict)
    """How intervals were made and what was left out, by name."""
    published: Mapping[str, JsonValue] = field(default_factory=dict)
    """Published figures that may stand beside ours, by system."""
    comparable: tuple[str, ...] = ()
    """Directions in which they may."""
    languages: Mapping[str, Mapping[str, str | bool]] = field(default_factory=dict)
    """What the data set says of languages beyond the table, see :func:`st.text.languages.declare`."""
    provenance: Provenance | None = None
    """When the report was made, with what and how."""
    run: str = ""
    """Digest of what was evaluated on what, see :func:`st.evaluation.partial.report_key`."""

    @property
    def averages(self) -> dict[str, Average]:
        """Return macro averages of BLEU by group (``all x_en en_x`` …), missing directions of CoVoST 2 named.

        None where nothing was translated.

        Raises:
            EvaluationError: If the directions of a group were scored with different settings.
        """
        bleu = {name: (result.bleu.value, result.bleu.signature) for name, result in self.directions.items()}
        return average_groups(bleu) if bleu else {}

    @property
    def average_bleu(self) -> float | None:
        """Return BLEU averaged over the directions evaluated, or None without any."""
        averages = self.averages
        return averages["all"].value if averages else None

    @property
    def average_wer(self) -> float | None:
        """Return WER averaged over the spoken languages that have one, or None without any."""
        return mean([result.wer for result in self.asr.values() if result.wer is not None])

    @property
    def without_wer(self) -> tuple[str, ...]:
        """Return the spoken languages that have a character error rate only, and are not in the average of words."""
        return tuple(name for name, result in self.recognition.items() if result.wer is None)

    @property
    def recognition(self) -> dict[str, AsrResult]:
        """Return the results of the spoken languages that have error rates; the others have no transcripts."""
        return {name: result for name, result in self.asr.items() if result.cer is not None}

    @property
    def average_cer(self) -> float | None:
        """Return CER averaged over the spoken languages that have one, or None without any."""
        return mean([result.cer for result in self.asr.values() if result.cer is not None])

    def not_finite(self) -> list[str]:
        """Name the scores that are NaN or infinite, such as ``fr_en bleu``; they are ``null`` in the JSON."""
        broken = [f"{name} {metric}" for name, result in self.directions.items() for metric in result.not_finite()]
        for name, asr in self.asr.items():
            broken += [f"{name} {metric}" for metric in _not_finite({"wer": asr.wer, "cer": asr.cer})]
        return broken

    def _provenance_json(self) -> dict[str, JsonValue]:
        made = self.provenance
        if made is None:
            return {}
        return {"provenance": {"made": made.made, "command": made.command, "versions": {**made.versions}}}

    def to_json(self) -> dict[str, JsonValue]:
        """Return the whole report as JSON values, equal for equal results but for ``provenance``."""
        return {
            **self._provenance_json(),
            "run": self.run,
            "subset": self.subset,
            **({"languages": {code: dict(facts) for code, facts in self.languages.items()}} if self.languages else {}),
            "settings": dict(self.settings),
            "directions": {name: result.to_json() for name, result in self.directions.items()},
            "average_bleu": number(self.average_bleu),
            "averages": {
                name: {
                    "bleu": number(average.value),
                    "n": average.n,
                    "of": average.of,
                    "missing": list(average.missing),
                }
                for name, average in self.averages.items()
            },
            "asr": {name: result.to_json() for name, result in self.asr.items()},
            "average_wer": number(self.average_wer),
            "average_cer": number(self.average_cer),
            "notes": dict(self.notes),
            "published": dict(self.published),
        }


def _not_finite(values: Mapping[str, float | None]) -> list[str]:
    return [name for name, value in values.items() if value is not None and not math.isfinite(value)]


def number(value: float | None) -> float | None:
    """Round a score for JSON; NaN and infinity, which JSON does not have, become None."""
    return None if value is None or not math.isfinite(value) else round(value, _DECIMALS)
