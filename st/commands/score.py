"""``st score``: score anybody's hypotheses against references."""

from __future__ import annotations

import argparse
import json
import logging
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from st.commands.shared.options import add_convention_argument

if TYPE_CHECKING:
    from st.evaluation.scoring.conventions import Convention
    from st.evaluation.scoring.hypotheses import Pair
    from st.evaluation.scoring.results import DirectionResult
    from st.evaluation.scoring.segment_formats import Segments

logger = logging.getLogger(__name__)

DESCRIPTION = """\
Score a file of hypotheses against a file of references with sacreBLEU: BLEU, chrF++ and TER with their signatures.
With --transcripts, score transcripts instead: word and character error rates.
Files with ids on both sides are joined by id, all others row by row; a row that is missing or doubled is an error.
With --segmentation, first cut texts of whole recordings to the segments of their references, in which they differ least.
With --latency, score a log of simultaneous translation instead: AL, LAAL, DAL, AP and the delay of the first unit.
"""

EXAMPLES = """\
examples:
  st score --hyp out/hypotheses/fr_en.tsv --ref DATA/test_fr_en.tsv --target en
  st score --hyp generate-test.txt --ref test.zh --target zh-CN --json
  st score --hyp out/transcripts/fr.tsv --transcripts --target fr
  st score --hyp talks.de.tsv --ref test.de --target de --segmentation test.yaml
  st score --latency instances.log --target de
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.description, parser.epilog = DESCRIPTION, EXAMPLES
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--hyp", type=Path, metavar="FILE", help="hypotheses")
    what.add_argument(
        "--latency",
        type=Path,
        metavar="LOG",
        help="SimulEval's instances.log: a JSON object per line with delays, source_length and prediction; delays "
        'beyond the source are an error unless the line says "past_source": true',
    )
    parser.add_argument(
        "--ref",
        type=Path,
        metavar="FILE",
        help="references; default: the reference column of --hyp, if that is a table of `st evaluate`",
    )
    parser.add_argument(
        "--target",
        required=True,
        metavar="LANG",
        help="language of the texts (en, zh-CN, tr_TR, tur, mr …); what a tree or report beside the files says of it counts",
    )
    add_convention_argument(parser)
    parser.add_argument(
        "--transcripts",
        action="store_true",
        help="WER and CER by jiwer, both sides normalised as `st evaluate` does it, which the output states; CER alone "
        "where no spaces stand between words (zh-CN, ja, th …)",
    )
    formats = ("text", "tsv", "csv", "jsonl", "kaldi", "trn")
    described = (
        "text: one segment per line; tsv, csv: columns id and hypothesis, reference or tgt_text; jsonl: JSON objects; "
        "kaldi: lines that begin with an id; trn: lines that end with (id)"
    )
    parser.add_argument(
        "--hyp-format",
        default="auto",
        choices=("auto", *formats, "fairseq"),
        help=f"{described}; fairseq: log of fairseq-generate (default: auto, which says what it found)",
    )
    parser.add_argument("--ref-format", default="auto", choices=("auto", *formats), help=f"{described} (default: auto)")
    parser.add_argument(
        "--segmentation",
        type=Path,
        metavar="FILE",
        help="the hypotheses are of whole recordings, cut anyhow: cut them to the segments of this file, which --ref has a "
        "row for each of, by fewest word errors; YAML as MuST-C has it, a table with the columns audio, start and end, or "
        "RTTM. Needs mweralign (pip install 'xlsr-st[resegment]'); the signatures have its version",
    )
    parser.add_argument(
        "--comet",
        metavar="MODEL",
        help="score with COMET too, such as Unbabel/wmt22-comet-da; needs unbabel-comet, is skipped without it, and "
        "reads the sources from the column source or src_text of --ref's table or else --hyp's",
    )
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table (default: a table)")


def run(args: argparse.Namespace) -> int:
    """Score and print."""
    from st.evaluation.scoring.declarations import declare_beside, warn_of_unknown
    from st.text.languages import canonical

    args.target = canonical(args.target)
    _check_options(args)
    declare_beside(args.hyp, args.ref)
    warn_of_unknown([args.target])
    if args.latency is not None:
        return _run_latency(args)
    from st.evaluation.scoring.conventions import CONVENTIONS, TRUE_CASE
    from st.evaluation.scoring.scores import score_translations
    from st.evaluation.scoring.segments import pair_segments, read_both

    hypotheses, references = read_both(
        args.hyp,
        args.ref or args.hyp,
        formats=(args.hyp_format, args.ref_format if args.ref else args.hyp_format),
        target=None if args.transcripts else args.target,
    )
    signed = None
    if args.segmentation is not None:
        from st.evaluation.scoring.resegmentation import resegment

        if args.transcripts:  # Words are the same only once they are spelled alike.
            hypotheses, references = (_spelled(segments, args.target) for segments in (hypotheses, references))
        hypotheses, signed = resegment(hypotheses, references, args.segmentation, args.target)
    pairs = pair_segments(hypotheses, references)
    if args.transcripts:
        return _run_transcripts(args, pairs, signed)
    said, expected = [pair.hypothesis for pair in pairs], [pair.reference for pair in pairs]
    convention = CONVENTIONS[args.convention or TRUE_CASE.name]
    result = score_translations(args.target, said, expected, where=references.path, convention=convention)
    result = result if signed is None else result.signed(signed)
    comet = None
    if args.comet:
        found, comet = _comet(args.comet, pairs, hypotheses, references)
        result = replace(result, comet=found)
    record = result.to_json() | {"convention": convention.name} | ({"comet_model": comet} if comet else {})
    _print(args, record, _table(result, convention, comet))
    broken = result.not_finite()
    if broken:
        logger.error("not a number: %s; there is null in the JSON", ", ".join(broken))
    return 1 if broken else 0


def _check_options(args: argparse.Namespace) -> None:
    """Refuse options that would not be looked at."""
    from st.errors import UsageError
    from st.evaluation.scoring.segments import has_references

    given = {
        "--ref": args.ref is not None,
        "--ref-format": args.ref_format != "auto",
        "--hyp-format": args.hyp_format != "auto",
        "--comet": args.comet is not None,
        "--convention": args.convention is not None,
        "--transcripts": args.transcripts,
        "--segmentation": args.segmentation is not None,
    }
    kinds = {
        "--latency": (args.latency is not None, tuple(given), "the log has everything that it scores"),
        "--transcripts": (
            args.transcripts,
            ("--comet", "--convention"),
            "COMET and conventions are of translations; transcripts have a normalisation of their own",
        ),
    }
    for kind, (chosen, refused, reason) in kinds.items():
        idle = [option for option in refused if given[option]]
        if chosen and idle:
            raise UsageError(f"{kind} goes without {', '.join(idle)}: {reason}; leave one of them out")
    if args.latency is not None or args.ref is not None:
        return
    if args.segmentation is not None:
        raise UsageError("--segmentation goes with --ref FILE, which has the texts of its segments")
    if args.ref_format != "auto":
        raise UsageError("--ref-format is given without --ref; give --ref FILE, or leave --ref-format out")
    if args.hyp_format not in ("auto", "tsv", "csv", "jsonl") or not has_references(args.hyp):
        raise UsageError(f"{args.hyp}: no table with the columns id and reference or tgt_text; give --ref FILE")


def _print(args: argparse.Namespace, record: Mapping[str, object], lines: Sequence[str]) -> None:
    text = json.dumps(record, ensure_ascii=False, indent=2) if args.json else "\n".join(lines)
    sys.stdout.write(text + "\n")


def _table(result: DirectionResult, convention: Convention, comet: str | None) -> list[str]:
    from st.evaluation.report.tables import interval_text, score_text
    from st.evaluation.scoring.resampling import METHOD

    scores = [("BLEU", "bleu", result.bleu), ("chrF++", "chrf", result.chrf), ("TER", "ter", result.ter)]
    scores += [(f"BLEU {name}", name, score) for name, score in sorted(result.other_bleu.items())]
    lines = [
        f"{label:<14} {score_text(score.value):>6}  {interval_text(result.intervals.get(name)):<15}  {score.signature}"
        for label, name, score in scores
    ]
    if comet:
        lines.append(f"{'COMET':<14} {score_text(result.comet):>6}  {'':<15}  {comet}")
    lines += [f"{'segments':<14} {result.n:>6}", f"convention: {convention.name}, {convention.description}"]
    return [*lines, f"intervals: {METHOD}"]


def _comet(model: str, pairs: Sequence[Pair], hypotheses: Segments, references: Segments) -> tuple[float | None, str]:
    """Return COMET, or why there is none."""
    from st.evaluation.scoring.comet import comet_scores, why_not
    from st.evaluation.scoring.hypotheses import HypothesisRow
    from st.evaluation.scoring.segments import read_sources

    missing = why_not()
    if missing:
        return None, missing
    rows = [
        HypothesisRow(pair.id, pair.hypothesis, pair.reference, source)
        for pair, source in zip(pairs, read_sources(pairs, hypotheses, references), strict=True)
    ]
    scores, used = comet_scores(model, {"all": rows})
    return scores.get("all"), used


def _spelled(segments: Segments, target: str) -> Segments:
    from st.text.normalisation import normalise

    return replace(segments, rows=[(key, normalise(text, target)) for key, text in segments.rows])


def _run_transcripts(args: argparse.Namespace, pairs: Sequence[Pair], signed: str | None) -> int:
    from st.evaluation.scoring.scores import NO_WORDS, score_transcripts
    from st.text.languages import language
    from st.text.normalisation import NORMALISATION, normalise

    heard, said = [pair.hypothesis for pair in pairs], [pair.reference for pair in pairs]
    spell = partial(normalise, language=args.target)
    result = score_transcripts(heard, said, normalise=spell, where=str(args.hyp), spaced=language(args.target).spaced)
    words = NO_WORDS.format(args.target) if result.wer is None else None
    lines = [
        words or f"{'WER':<14} {result.wer:>6.2f}  of {result.num_words} words",
        f"{'CER':<14} {result.cer:>6.2f}  of {result.num_characters} characters",
        f"{'recordings':<14} {result.n:>6}",
        f"normalised: {NORMALISATION}",
        *([] if signed is None else [signed]),
    ]
    record = result.to_json() | {"language": args.target, "normalisation": NORMALISATION}
    _print(args, record | ({} if signed is None else {"signature": signed}), lines)
    return 0


_LATENCY: dict[str, str] = {
    "average_lagging_ms": "AL, ms",
    "length_adaptive_average_lagging_ms": "LAAL, ms",
    "differentiable_average_lagging_ms": "DAL, ms",
    "average_proportion": "AP (SimulEval)",
    "average_proportion_of_output": "AP (by output)",
    "start_offset_ms": "first unit, ms",
    "n": "instances",
    "empty": "without output",
}
"""Fields of a latency, and what they are called in a table."""


def _run_latency(args: argparse.Namespace) -> int:
    from st.evaluation.scoring.latency import score_latency

    record = score_latency(args.latency, args.target).to_json()
    cells = {label: record[name] for name, label in _LATENCY.items()}
    lines = [f"{label:<15} {cell if isinstance(cell, int) else f'{cell:.2f}':>9}" for label, cell in cells.items()]
    _print(args, record, lines)
    return 0
