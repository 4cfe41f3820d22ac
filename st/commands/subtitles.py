"""``st subtitles``: segments in, subtitles and documents out; or subtitles in, and which rules they break."""

from __future__ import annotations

import argparse
import json
import logging
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from st.commands.shared.options import Option, add_options, add_overwrite_argument, refuse_existing
from st.errors import UsageError

if TYPE_CHECKING:
    from st.subtitles.cues import Cue
    from st.subtitles.formats.documents import Recording

logger = logging.getLogger(__name__)

DESCRIPTION = """\
Lay segments with times out as subtitles, or as a document. FILE is JSON: that of `st transcribe --times` and `st align`, of
Whisper, faster-whisper and whisperX, or OpenAI's verbose_json. Nothing is decoded again, so that rules can be tried.

Lines are broken at sentences, clauses and phrases, never inside a number or a name unless nothing else fits. A cue that cannot
obey a rule is named on standard error, and listed in --report. A translation without times of its own is divided at the
pauses of the speaker, in proportion of its characters.

With --check, FILE is a file of subtitles, of anybody; printed is how many of its cues break each rule. Exit code 1 means
that some do.
"""

EXAMPLES = """\
examples:
  st subtitles talk.json --out talk.srt                                  # of the transcript, by the rules of Netflix
  st subtitles talk.json --to de --out talk.de.vtt --rules ted           # of the translation
  st subtitles talk.json --to de --bilingual --out talk.ass              # both in each cue
  st subtitles talk.json --to de --bilingual files --out talk.srt        # talk.en.srt and talk.de.srt, with equal times
  st subtitles talk.json --speakers talk.rttm --word-times --out talk.vtt
  st subtitles talk.json --format text                                   # paragraphs
  st subtitles --check talk.srt --rules bbc --max-speed 17               # which rules does it break?
"""

CUES = ("srt", "vtt", "ttml", "ass")
DOCUMENTS = ("text", "tsv", "json", "verbose_json")
FORMATS_HELP = (
    "srt, vtt, ttml, ass: subtitles; text: paragraphs; tsv: Whisper's table of segments; json: Whisper's, with translations "
    "and speakers; verbose_json: OpenAI's (default: what --out ends in, else srt)"
)
BILINGUAL_HELP = (
    "show transcript and translation together: cue, both in each cue, half of its lines each; files, one file each, with "
    "equal times (default without a word: cue)"
)
RULE_OPTIONS: tuple[Option, ...] = (
    (
        "--max-characters",
        float,
        "N",
        None,
        "on a line; full-width ones count 1 in rules for Chinese, Japanese, Korean, else 2",
    ),
    ("--max-lines", int, "N", None, "in a cue"),
    ("--max-speed", float, "N", None, "characters in a second"),
    ("--min-duration", float, "S", None, "of a cue, in seconds"),
    ("--max-duration", float, "S", None, "likewise"),
    ("--min-gap", float, "S", None, "between two cues, in seconds"),
    ("--join-gap", float, "S", None, "a gap shorter than this is closed, but for --min-gap"),
)
ENDINGS = {"txt": "text", "xml": "ttml", "ssa": "ass", "dfxp": "ttml"}
"""Other endings of formats."""
SHOWN = 10
"""Cues named on standard error, at most."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.description, parser.epilog = DESCRIPTION, EXAMPLES
    parser.add_argument("file", type=Path, metavar="FILE", help="JSON of segments; with --check a file of subtitles")
    parser.add_argument("--format", choices=(*CUES, *DOCUMENTS), help=FORMATS_HELP)
    parser.add_argument("--to", metavar="CODE", help="the translation into this language (default: the transcript)")
    parser.add_argument("--bilingual", nargs="?", const="cue", choices=("cue", "files"), help=BILINGUAL_HELP)
    parser.add_argument(
        "--lang", metavar="CODE", help="language of the transcript, or of the file of --check, if it does not say"
    )
    parser.add_argument(
        "--speakers", type=Path, metavar="RTTM", help="who speaks when; each word goes to whom it overlaps most"
    )
    parser.add_argument(
        "--word-times", action="store_true", help="write when each word is said, in vtt and ass (karaoke)"
    )
    parser.add_argument("--rules", default="netflix", metavar="NAME", help="netflix, bbc or ted (default: netflix)")
    add_options(parser, RULE_OPTIONS)
    parser.add_argument("--report", type=Path, metavar="FILE", help="write which cue breaks which rule there, as JSON")
    parser.add_argument("--check", action="store_true", help="check a file of subtitles")
    parser.add_argument(
        "--against",
        type=Path,
        metavar="FILE",
        help="with --check: subtitles by people; SubER is printed, too, if its package is there",
    )
    parser.add_argument("--json", action="store_true", help="with --check: print JSON instead of a table")
    parser.add_argument("--out", type=Path, metavar="FILE", help="write there instead of standard output")
    add_overwrite_argument(parser)


def run(args: argparse.Namespace) -> int:
    """Lay out, or check."""
    _check_options(args)
    return _run_check(args) if args.check else _run_layout(args)


def _check_options(args: argparse.Namespace) -> None:
    """Refuse options that would not be looked at, and files that would be replaced."""
    idle = ("format", "to", "bilingual", "speakers", "word_times", "out") if args.check else ("against", "json")
    given = [f"--{name.replace('_', '-')}" for name in idle if getattr(args, name)]
    if given:
        raise UsageError(f"{'--check goes without' if args.check else 'only --check goes with'} {', '.join(given)}")
    for path, option in ((args.out, "--out"), (args.report, "--report")):
        if path is not None:
            refuse_existing(path, args.overwrite, option)
    if args.check:
        return
    ending = "" if args.out is None else args.out.suffix.lower().removeprefix(".")
    known = ENDINGS.get(ending, ending)
    args.format = args.format or (known if known in (*CUES, *DOCUMENTS) else "srt")
    if args.bilingual and (args.to is None or args.format not in CUES):
        raise UsageError("--bilingual needs --to and a format of subtitles: srt, vtt, ttml or ass")
    if args.bilingual == "files" and args.out is None:
        raise UsageError("--bilingual files needs --out; the language is written into the names of both files")
    if args.word_times and args.format not in ("vtt", "ass"):
        raise UsageError(f"--word-times: {args.format} has no place for them; expected vtt or ass")


def _changes(args: argparse.Namespace) -> dict[str, Any]:
    return {
        "max_characters": args.max_characters,
        "max_lines": args.max_lines,
        "max_speed": args.max_speed,
        "min_s": args.min_duration,
        "max_s": args.max_duration,
        "min_gap_s": args.min_gap,
        "join_gap_s": args.join_gap,
    }


def _run_layout(args: argparse.Namespace) -> int:
    from st.subtitles.formats.documents import write_document
    from st.subtitles.make import make_cues

    recording, code = _recording(args)
    if args.format in DOCUMENTS:
        _write(args.out, write_document(recording, args.format, code))
        return 0
    languages = [None, code] if args.bilingual else [code]
    cues = make_cues(
        recording,
        languages,
        output_format=args.format,
        preset=args.rules,
        separate=args.bilingual == "files",
        changes=_changes(args),
    )
    for path, content in _files(args, cues, recording, languages):
        _write(path, content)
    _tell_breaches(cues)
    if args.report is not None:
        _write_report(args.report, cues)
    return 0


def _recording(args: argparse.Namespace) -> tuple[Recording, str | None]:
    """Read the segments, and find the translation that is asked for, by any code of its language."""
    from dataclasses import replace

    from st.subtitles.formats.segment_files import read_segments
    from st.subtitles.speakers import assign_speakers, read_rttm, split_by_speaker
    from st.text.languages import canonical, is_same

    recording = read_segments(args.file)
    segments = list(recording.segments)
    if args.lang is not None:
        spoken = canonical(args.lang)
        segments = [replace(segment, language=spoken) for segment in segments]
        recording = replace(recording, language=spoken)
    if args.speakers is not None:
        stem = Path(recording.name).stem if recording.name else args.file.stem
        segments = assign_speakers(segments, read_rttm(args.speakers, stem))
    there = dict.fromkeys(code for segment in segments for code in segment.translations)
    code = None if args.to is None else next((own for own in there if own == args.to or is_same(own, args.to)), None)
    if args.to is not None and code is None and segments:
        raise UsageError(f"--to {args.to}: {args.file} has no such translation; it has {', '.join(there) or 'none'}")
    return replace(recording, segments=split_by_speaker(segments)), code or args.to


def _files(
    args: argparse.Namespace, cues: Sequence[Cue], recording: Recording, languages: Sequence[str | None]
) -> list[tuple[Path | None, str]]:
    """Return what is written where."""
    from dataclasses import replace

    from st.subtitles.formats.cue_formats import CueFile, write_cues

    codes = [code or recording.language for code in languages]
    if args.bilingual != "files":
        return [(args.out, write_cues(cues, args.format, CueFile(codes, args.word_times)))]
    files: list[tuple[Path | None, str]] = []
    for number, code in enumerate(codes):
        path = args.out.with_suffix(f".{code or 'source'}{args.out.suffix}")
        refuse_existing(path, args.overwrite)
        own = [
            replace(cue, texts=(cue.texts[number],), pieces=() if number else cue.pieces)
            for cue in cues
            if cue.texts[number]
        ]
        files.append((path, write_cues(own, args.format, CueFile([code], args.word_times))))
    return files


def _write(path: Path | None, content: str) -> None:
    from st.files import atomic_write

    if path is None:
        sys.stdout.write(content)
        return
    with atomic_write(path, follow_links=True) as handle:
        handle.write(content)
    logger.info("wrote %s", path)


def _tell_breaches(cues: Sequence[Cue]) -> None:
    from st.inference.results.cue_text import clock
    from st.subtitles.cues import RULE_NAMES, count_breaches

    broken = [(number, cue) for number, cue in enumerate(cues, start=1) if cue.breaches]
    if not broken:
        logger.info("%d cues, all by the rules", len(cues))
        return
    counts = ", ".join(f"{RULE_NAMES[rule]}: {count}" for rule, count in count_breaches(cues).items())
    logger.warning("%d of %d cues break a rule (%s)", len(broken), len(cues), counts)
    for number, cue in broken[:SHOWN]:
        told = "; ".join(_told(breach.rule, breach.found, breach.limit) for breach in cue.breaches)
        logger.warning("cue %d at %s: %s", number, clock(cue.start_ms), told)
    if len(broken) > SHOWN:
        logger.warning("and %d more; --report FILE lists all", len(broken) - SHOWN)


def _told(rule: str, found: float, limit: float) -> str:
    from st.subtitles.cues import RULE_NAMES

    return RULE_NAMES[rule] if rule == "divided" else f"{RULE_NAMES[rule]}, {found:g} (limit {limit:g})"


def _write_report(path: Path, cues: Sequence[Cue]) -> None:
    from st.files import write_json

    write_json(path, [_reported(number, cue) for number, cue in enumerate(cues, start=1) if cue.breaches])
    logger.info("wrote %s", path)


def _reported(number: int, cue: Cue) -> Mapping[str, object]:
    breaches = [{"rule": breach.rule, "found": breach.found, "limit": breach.limit} for breach in cue.breaches]
    times = {"start": cue.start_ms / 1000, "end": cue.end_ms / 1000}
    return {"cue": number, **times, "text": "\n".join(cue.lines), "breaks": breaches}


def _run_check(args: argparse.Namespace) -> int:
    from st.subtitles.conformity import check_cues, limits
    from st.subtitles.cues import RULE_NAMES
    from st.subtitles.formats.cue_files import read_cues
    from st.subtitles.make import SAMPLE, rules_of_text
    from st.subtitles.suber import suber

    cues = read_cues(args.file)
    some = "".join(line for cue in cues[:SAMPLE] for line in cue.lines)
    rules = rules_of_text(args.rules, args.lang, some, _changes(args))
    found = check_cues(cues, rules)
    record: dict[str, Any] = {"cues": len(cues), "breaking": found.broken, "preset": args.rules}
    figures = limits(rules)
    record["rules"] = {
        rule: {"limit": figures[rule], "cues": count, "share": round(count / len(cues), 4)}
        for rule, count in found.counts.items()
    }
    if args.against is not None:
        record["suber"], record["signature"] = suber(cues, read_cues(args.against), args.lang)
    lines = [
        f"{RULE_NAMES[rule]:<36} limit {of['limit']:<6g} {of['cues']:>6} cues  {100 * of['share']:6.2f} %"
        for rule, of in record["rules"].items()
    ]
    lines += [f"{found.broken} of {len(cues)} cues break a rule of {args.rules}"]
    if "suber" in record:
        lines.append(f"SubER {record['suber']:.2f}  {record['signature']}")
    sys.stdout.write((json.dumps(record, indent=2) if args.json else "\n".join(lines)) + "\n")
    if args.report is not None:
        _write_report(args.report, found.cues)
    return 1 if found.broken else 0
