"""``st translate``: recordings in, translations out."""

from __future__ import annotations

import argparse
from dataclasses import replace
from typing import TYPE_CHECKING

from st.commands.shared.cutting_options import add_cutting_arguments
from st.commands.shared.options import Option, add_options
from st.commands.shared.recording_files import settle_files
from st.commands.shared.recordings import FORMATS as PLAIN_FORMATS
from st.commands.shared.recordings import (
    FORMATS_HELP,
    SUBTITLES,
    add_ensemble_argument,
    add_memory_argument,
    add_recording_arguments,
    load_model,
    long_work,
    memory_transcripts,
    require_one_recording,
    run_recordings,
    use_memory,
    warn_untrained,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from st.decoding.options import BeamOptions
    from st.inference.recordings import RecordingResult
    from st.inference.rescoring import RescoreOptions

DESCRIPTION = """\
Translate recordings of any length; those of more than 30 seconds, or longer than what the model learned from, are taken apart
where nobody speaks. Results go to standard output (or --out), everything else to standard error. A recording that cannot be
used is skipped and listed; the exit code is then 3. Interrupted with --out or --output-dir, the same command goes on from
where it was.
"""

EXAMPLES = """\
examples:
  st translate clip.mp3 --checkpoint run/checkpoint_best.pt --to de
  st translate talks/*.wav --checkpoint run/checkpoint_best.pt --to en,de --out talks.tsv
  st translate talks --checkpoint run/checkpoint_best.pt --to de --format json --output-dir translated
  st translate talk.mp4 --checkpoint run/checkpoint_best.pt --to de,ja --format segments   # as they are ready
  st translate talk.mp4 --checkpoint run/checkpoint_best.pt --to de --bilingual --out talk.vtt
  st translate clip.mp3 --checkpoint run/checkpoint_best.pt --to de --rescore other/checkpoint_best.pt
  st translate clip.mp3 --checkpoint a.pt --ensemble b.pt --to de
  st translate clip.mp3 --checkpoint run/checkpoint_best.pt --to de --sample --top-p 0.9 --nbest 4 --format json
  curl -s https://example.org/clip.mp3 | st translate - --checkpoint run/checkpoint_best.pt --to en
"""

FORMATS = (*PLAIN_FORMATS, *SUBTITLES)
BEAM, RESCORE_WEIGHT = 5, 0.5

SEARCH: tuple[Option, ...] = (
    ("--beam", int, "N", None, f"hypotheses kept; 1 is greedy (default: {BEAM})"),
    ("--lenpen", float, "X", 1.0, "length penalty; above 1 favours long (default: 1.0)"),
    ("--max-len-a", float, "A", 0.0, "at most A * x + B tokens for x memory states (default: 0)"),
    ("--max-len-b", int, "B", 200, "see --max-len-a (default: 200)"),
    ("--no-repeat-ngram", int, "N", 0, "no n-gram of this size twice; 0: any (default: 0)"),
    ("--nbest", int, "N", 1, "translations per language, in --format json, with the score of every piece (default: 1)"),
)
DRAWING: tuple[Option, ...] = (
    ("--top-k", int, "K", None, "draw among the K most probable tokens (default: all)"),
    ("--top-p", float, "P", None, "draw among the fewest tokens that together have probability P (default: all)"),
    ("--temperature", float, "T", None, "above 1 draws more, below 1 less at random (default: 1)"),
    ("--seed", int, "N", None, "the same draws for the same recordings (default: 0)"),
)
"""Options that need ``--sample``."""
CHOOSING: tuple[Option, ...] = (
    ("--rescore", str, "C", None, "second checkpoint, which helps to choose among the beam's hypotheses"),
    ("--rescore-weight", float, "W", None, f"its part in the score, 0 to 1 (default: {RESCORE_WEIGHT})"),
    ("--length-reward", float, "X", 0.0, "added per token when choosing among the beam's hypotheses (default: 0)"),
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.description, parser.epilog = DESCRIPTION, EXAMPLES
    add_recording_arguments(
        parser, FORMATS, FORMATS_HELP + "; srt, vtt: subtitles of one recording; st subtitles makes others of its JSON"
    )
    add_cutting_arguments(parser)
    add_ensemble_argument(parser)
    add_memory_argument(parser)
    parser.add_argument(
        "--to",
        required=True,
        metavar="LANG",
        help="target language that the model has learned, such as de, pl or zh-CN; or a,b,c",
    )
    parser.add_argument(
        "--bilingual", action="store_true", help="what was said and its translation in each cue, in srt and vtt"
    )
    parser.add_argument(
        "--rules", metavar="NAME", help="line rules of srt and vtt: netflix, bbc or ted (default: netflix)"
    )
    add_options(parser, SEARCH)
    parser.add_argument(
        "--sample", action="store_true", help="draw --nbest translations at random instead of searching for the best"
    )
    add_options(parser, DRAWING)
    add_options(parser, CHOOSING)


def run(args: argparse.Namespace) -> int:
    """Translate and write."""
    from st.errors import UsageError
    from st.text.languages import canonical

    # What the command line got wrong is said before a large model is read.
    targets = list(dict.fromkeys(canonical(code.strip()) for code in args.to.split(",") if code.strip()))
    if not targets:
        raise UsageError("--to names no language; give a code such as de")
    settle_files(args, FORMATS)
    if args.nbest > 1 and args.format != "json":
        raise UsageError("--nbest above 1 needs --format json")
    formatter = _subtitles(args, targets)

    from st.inference import load_translator
    from st.inference.load import require_checkpoint

    options = _options(args)
    rescoring = _rescoring(args)
    if args.rescore is not None:
        require_checkpoint(args.rescore)
    heard = memory_transcripts(args.memory)
    translator = load_model(args, options=options, ensemble=args.ensemble, transcripts=heard)
    translator.check_languages(targets)
    warn_untrained(translator, targets)
    if rescoring is not None:
        from st.inference.rescoring import Rescorer

        second = None
        if args.rescore is not None:
            second = load_translator(args.rescore, device=args.device, dtype=args.dtype, options=options)
            second.check_languages(targets)
            warn_untrained(second, targets, f"--rescore {args.rescore}")
        translator.rescorer = Rescorer(rescoring, second)
    use_memory(args, translator, args.nbest)
    work = long_work(args)
    if formatter is not None:  # A cue is a part of a segment.
        work = replace(work, all_long=True)
    return run_recordings(args, translator, targets, work=work, formatter=formatter)


def _subtitles(args: argparse.Namespace, targets: list[str]) -> Callable[[RecordingResult, bool], str] | None:
    """Return what lays a result out as subtitles; None if they are not asked for.

    Raises:
        UsageError: If they would be of several languages or recordings, or an option means nothing to another format.
        ConfigError: If there are no such rules.
    """
    from st.errors import UsageError

    if args.format not in SUBTITLES:
        if args.bilingual or args.rules is not None:
            raise UsageError(f"--bilingual and --rules go with --format {' or '.join(SUBTITLES)}")
        return None
    require_one_recording(args)
    if len(targets) > 1:
        raise UsageError(f"--format {args.format} holds one translation, and --to names {len(targets)}; give one")
    from st.inference.long.pieces import Heard
    from st.subtitles.formats.documents import Recording
    from st.subtitles.make import make_subtitles
    from st.subtitles.rules import rules_for

    preset = args.rules or "netflix"
    rules_for(preset, targets[0])

    def lay_out(result: RecordingResult, _: bool) -> str:
        segments = [piece.segment for piece in result.pieces or () if isinstance(piece, Heard)]
        recording = Recording(segments, name=result.name, duration_s=result.duration_s)
        return make_subtitles(recording, args.format, to=targets[0], bilingual=args.bilingual, preset=preset)

    return lay_out


def _options(args: argparse.Namespace) -> BeamOptions:
    """Return how to search, or to draw."""
    from st.decoding.options import BeamOptions
    from st.decoding.sampling import SamplingOptions
    from st.errors import UsageError

    chooses = args.rescore is not None or bool(args.length_reward)
    beam = BEAM if args.beam is None else args.beam
    refused = {
        f"--nbest is {args.nbest}; expected at least 1": args.nbest < 1,
        "--memory excludes --rescore and --length-reward: each of them chooses among the translations": (
            args.memory is not None and chooses
        ),
        "--rescore-weight needs --rescore": args.rescore_weight is not None and args.rescore is None,
        "--beam means nothing to --sample, except with --rescore or --length-reward; --nbest tells how many to draw": (
            args.sample and args.beam is not None and not chooses
        ),
        f"--nbest is {args.nbest}; expected at most the {beam} of --beam, which are chosen from": (
            chooses and args.nbest > beam
        ),
    }
    for message, wrong in refused.items():
        if wrong:
            raise UsageError(message)
    # Whoever chooses among hypotheses is given all of them.
    several = beam if chooses else args.nbest
    common = {
        "length_penalty": args.lenpen,
        "max_len_a": args.max_len_a,
        "max_len_b": args.max_len_b,
        "no_repeat_ngram": args.no_repeat_ngram,
    }
    drawing = {flag[2:].replace("-", "_"): flag for flag, *_ in DRAWING}
    given = {name: getattr(args, name) for name in drawing if getattr(args, name) is not None}
    if args.sample:
        return SamplingOptions(beam=several, nbest=several, **common, **given)
    if given:
        raise UsageError(f"{drawing[next(iter(given))]} needs --sample")
    return BeamOptions(beam=beam, nbest=several, **common)


def _rescoring(args: argparse.Namespace) -> RescoreOptions | None:
    """Return how to choose among the hypotheses; None to leave it to the beam search."""
    if args.rescore is None and not args.length_reward:
        return None
    from st.inference.rescoring import RescoreOptions

    weight = RESCORE_WEIGHT if args.rescore_weight is None else args.rescore_weight
    return RescoreOptions(weight=weight, length_reward=args.length_reward, keep=args.nbest)
