"""What ``st translate``, ``st transcribe`` and ``st identify`` share: options, reading, writing, counting."""

from __future__ import annotations

import argparse
import logging
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from st.commands.shared.options import add_compute_arguments, add_overwrite_argument
from st.commands.shared.recording_files import OTHER_NAMES, STDIN
from st.errors import AudioError, StError, UsageError

if TYPE_CHECKING:
    from st.commands.shared.recording_progress import RecordingProgress
    from st.inference import TranscriptOptions, Translator
    from st.inference.recordings import LongRecordingBegun, LongWork, RecordingPiece, RecordingResult, SkippedRecording

logger = logging.getLogger(__name__)

Result = TypeVar("Result")
"""What a command makes of one recording."""

SKIPPED = 3
"""Exit code when some recordings could not be used."""

SEGMENTS = "segments"
FORMATS = ("text", "tsv", "json", SEGMENTS)
SUBTITLES = ("srt", "vtt")
"""Formats that cannot tell recordings apart."""
FORMATS_HELP = (
    "text: one line per file, its name and a tab first if there are several files; tsv: with a header; "
    "json: one object per line; segments: a JSON object for each segment, written as soon as it is there, and for each stretch "
    "without text (default: what --out ends in, else text)"
)


def add_recording_arguments(
    parser: argparse.ArgumentParser,
    formats: Sequence[str] = FORMATS,
    formats_help: str = FORMATS_HELP,
) -> None:
    """Declare the options that all these commands have."""
    parser.add_argument(
        "audio",
        nargs="+",
        metavar="AUDIO",
        help="WAV, MP3, FLAC, Ogg or Opus files of any length; a folder stands for all recordings in it and below, a "
        "quoted pattern such as 'talks/**/*.wav' for what it fits; - reads one from standard input; names that begin "
        "with a dash go behind --",
    )
    parser.add_argument(
        "--checkpoint", required=True, metavar="C", help="a .pt file of a training, the folder of a model, or a hub id"
    )
    parser.add_argument(
        "--data",
        type=Path,
        metavar="DATA",
        help="prepared tree to take the vocabularies from (default: those in the checkpoint)",
    )
    parser.add_argument("--format", type=lambda name: OTHER_NAMES.get(name, name), choices=formats, help=formats_help)
    place = parser.add_mutually_exclusive_group()
    place.add_argument("--out", type=Path, metavar="FILE", help="write there instead of standard output")
    place.add_argument(
        "--output-dir",
        type=Path,
        metavar="DIR",
        help="write a file for each recording there, named after it and laid out as the folder it comes from",
    )
    add_overwrite_argument(parser, "what is written to")
    parser.set_defaults(segments=None, no_vad=False, longest_segment=None)  # unless a command has these options
    add_compute_arguments(parser)
    parser.add_argument(
        "--keep-all",
        action="store_true",
        help="decode recordings in which nobody can be heard too, whatever the model writes there (default: no text, and "
        "the reason)",
    )


def add_ensemble_argument(parser: argparse.ArgumentParser) -> None:
    """Declare ``--ensemble``."""
    parser.add_argument(
        "--ensemble",
        action="append",
        default=[],
        metavar="C",
        help="another checkpoint with the same dictionary, whose probabilities are averaged with those of --checkpoint, of "
        "words and of letters; give it again for more",
    )


def add_memory_argument(parser: argparse.ArgumentParser) -> None:
    """Declare ``--memory``."""
    parser.add_argument(
        "--memory",
        type=Path,
        metavar="DATA",
        help="prepared tree whose training translations are candidates too, where what was said is like their transcript; its "
        "transcripts are a language model of letters: for models of little speech",
    )


def memory_transcripts(memory: Path | None) -> TranscriptOptions | None:
    """Return how to transcribe where ``--memory`` is given: with a language model of its training transcripts."""
    from st.decoding.language_model.letters import SEARCH, has_transcripts
    from st.inference import TranscriptOptions

    return None if memory is None or not has_transcripts(memory) else TranscriptOptions(search=SEARCH, lm=memory)


def use_memory(args: argparse.Namespace, translator: Translator, keep: int = 1) -> None:
    """Let a model choose among its own translations and those of ``--memory``, if that is given.

    Raises:
        DecodingError: If the model writes no transcript to search by.
    """
    if args.memory is None:
        return
    from st.inference.translation_memory import TranslationMemory

    translator.check_transcribes()
    translator.rescorer = TranslationMemory.from_tree(args.memory, keep=keep)


def warn_untrained(translator: Translator, targets: Sequence[str], name: str = "this checkpoint") -> None:
    """Warn of each model whose decoder was not trained, or was never trained to write one of the targets."""
    for number, model in enumerate([translator, *translator.ensemble], start=1):
        called = name if number == 1 else f"checkpoint {number} of the ensemble"
        if targets and not model.decoder_trained:
            logger.warning(
                "%s was written by a training with --translation-weight 0, which teaches the decoder nothing; expect text "
                "of no worth unless the decoder was trained before",
                called,
            )
        strange = model.untrained(targets)
        if strange:
            learned = dict.fromkeys(direction.partition("_")[2] for direction in model.trained_directions)
            logger.warning(
                "%s was never trained to translate into %s, only into %s; expect text of no worth",
                called,
                " ".join(strange),
                " ".join(learned),
            )


def load_model(args: argparse.Namespace, **options: Any) -> Translator:
    """Load the model of ``--checkpoint``; ``options`` are those of :func:`st.load_translator` that a command has alone."""
    from st.inference import load_translator
    from st.kernels.settings import tune

    tune(args.threads)
    return load_translator(
        args.checkpoint,
        data_dir=args.data,
        device=args.device,
        dtype=args.dtype,
        keep_all=args.keep_all,
        **options,
    )


def run_recordings(
    args: argparse.Namespace,
    translator: Translator,
    targets: Sequence[str],
    times: str | None = None,
    *,
    work: LongWork | None = None,
    formatter: Callable[[RecordingResult, bool], str] | None = None,
) -> int:
    """Decode the recordings, write the results, list the bad ones; return the exit code.

    Args:
        args: Of the command.
        translator: The model.
        targets: Target languages; none to transcribe.
        times: ``word`` or ``segment``, to write when each was said.
        work: How the long ones are decoded, see :func:`long_work`; None is as usual, and nothing is kept if interrupted.
        formatter: Makes the file of a result, told whether it is the only one of its file; None is as ``args.format`` says.
    """
    from st.commands.shared.recording_warnings import warn
    from st.inference.recordings import decode_recordings
    from st.inference.results.formats import layout

    results = decode_recordings(translator, recording_sources(args), targets, work)
    first = ""
    if formatter is None:
        first, formatter = layout(args.format, targets, times)
    return write_results(args, results, first, formatter, lambda result: warn(result, targets), work=work)


def require_one_recording(args: argparse.Namespace) -> None:
    """Raise UsageError if several recordings would be written into one file that cannot tell them apart."""
    if len(args.audio) > 1 and not args.files:
        raise UsageError(
            f"--format {args.format} holds one recording; found {len(args.audio)}; --output-dir writes a file for each"
        )


def recording_sources(args: argparse.Namespace) -> list[tuple[str, Any]]:
    """Return the name and the audio of each recording of the command line."""
    return [(name, sys.stdin.buffer if name == STDIN else name) for name in args.audio]


def write_results(
    args: argparse.Namespace,
    results: Iterable[Result | SkippedRecording | LongRecordingBegun | RecordingPiece],
    first: str,
    formatter: Callable[[Result, bool], str],
    warn: Callable[[Result], object],
    *,
    work: LongWork | None = None,
) -> int:
    """Write results as they come, list the bad ones; return the exit code.

    Args:
        args: Of the command.
        results: One for each recording, in their order; before that of a long one its pieces.
        first: First line of the format, or nothing.
        formatter: Makes lines of a result, told whether it is the only one of its file.
        warn: Says what is strange about a result.
        work: How the long ones are decoded.

    Raises:
        StError: If no recording can be used.
    """
    from st.commands.shared.recording_progress import RecordingProgress

    kept = work is not None and work.journal is not None and work.journal.resumed > 0
    to_terminal = args.out is None and not args.files and sys.stdout.isatty()
    bars = RecordingProgress(len(args.audio), hidden=to_terminal)
    with _ended_by_sigterm(), _said_what_is_kept(work), _writer(args) as write, bars:
        failed = _write_all(args, results, first, formatter, warn, write=write, bars=bars, kept=kept)
        lost = [result for result in failed if not result.partly]
        if len(lost) == len(args.audio):
            _forget(work)
            raise _all_failed(failed)
    _forget(work)
    if args.out or args.files:
        logger.info("wrote %s", args.out or f"{len(args.files) - len(lost)} files to {args.output_dir}")
    for result in failed:
        what = "the rest of " if result.partly else ""
        sys.stderr.write(f"st: skipped {what}{result.name}: {_reason(result)}\n")
    if lost:
        sys.stderr.write(f"st: {len(lost)} of {len(args.audio)} recordings skipped\n")
    return SKIPPED if failed else 0


def _write_all(
    args: argparse.Namespace,
    results: Iterable[Result | SkippedRecording | LongRecordingBegun | RecordingPiece],
    first: str,
    formatter: Callable[[Result, bool], str],
    warn: Callable[[Result], object],
    *,
    write: Callable[[int, str], object],
    bars: RecordingProgress,
    kept: bool,
) -> list[SkippedRecording]:
    """Write results as they come and say how fast that was; return the recordings that cannot be used."""
    from st.inference.rates import speed_sentence
    from st.inference.recordings import LongRecordingBegun, RecordingPiece, SkippedRecording
    from st.inference.results.formats import piece_line

    single = bool(args.files) or len(args.audio) == 1
    at_once = args.format == SEGMENTS and not args.files
    failed: list[SkippedRecording] = []
    number, audio_s, begun = 0, 0.0, time.perf_counter()
    for result in results:
        if isinstance(result, LongRecordingBegun):
            bars.begin(result.name, result.duration_s)
            if result.truncated:
                logger.warning("%s: the file ends before its header says; using what is there", result.name)
            continue
        if isinstance(result, RecordingPiece):
            bars.reach(result.piece.end)
            if at_once:
                write(number, piece_line(result.name, result.piece))
            continue
        if isinstance(result, SkippedRecording):
            failed.append(result)
            if result.partly:
                continue
        else:
            warn(result)
            audio_s += getattr(result, "duration_s", 0.0)
            write(number, "" if at_once else first + formatter(result, single))
            first = first if args.files else ""
        bars.end()
        number += 1
    if audio_s and not kept:  # What was decoded before an interruption took no time now.
        logger.info("decoded %s", speed_sentence(audio_s, time.perf_counter() - begun))
    return failed


@contextmanager
def _said_what_is_kept(work: LongWork | None) -> Iterator[None]:
    """Say of an interruption that nothing is lost, if so."""
    try:
        yield
    except (KeyboardInterrupt, SystemExit):
        kept = None if work is None or work.journal is None else work.journal.kept_in
        if kept is not None:
            logger.info("what was decoded is kept in %s; the same command goes on from there", kept)
        raise


def _forget(work: LongWork | None) -> None:
    """Delete what was kept for the case of an interruption."""
    if work is not None and work.journal is not None:
        work.journal.remove()


def long_work(args: argparse.Namespace, times: str | None = None) -> LongWork:
    """Return how the long ones among the recordings are decoded; say it if an interrupted run goes on.

    Args:
        args: Of the command, with what :func:`st.commands.shared.recording_files.settle_files` has set.
        times: As for :func:`run_recordings`.
    """
    from st.commands.shared.resumption import open_journal
    from st.inference.long.types import LongOptions
    from st.inference.recordings import LongWork

    segments, longest = None, args.longest_segment
    if args.segments is not None:
        given, alone = args.given_segments, len(args.audio) == 1
        segments = lambda name: given.of(name, alone=alone)  # noqa: E731
    return LongWork(
        options=LongOptions(longest_s=longest, vad=not args.no_vad),
        journal=open_journal(args, args.run_key),
        segments=segments,
        all_long=args.format == SEGMENTS,
        times=times is not None,
    )


def _all_failed(failed: Sequence[SkippedRecording]) -> StError:
    if len(failed) == 1:
        return failed[0].error
    listed = "; ".join(f"{result.name}: {_reason(result)}" for result in failed)
    return AudioError(f"none of {len(failed)} recordings can be used: {listed}")


def _reason(result: SkippedRecording) -> str:
    """Return why there is no result, without the name that many messages begin with."""
    return str(result.error).removeprefix(f"{result.name}: ")


@contextmanager
def _ended_by_sigterm() -> Iterator[None]:
    """Let SIGTERM end the block as Ctrl-C does, with what is unfinished removed, instead of the process at once."""
    if threading.current_thread() is not threading.main_thread():  # Only there signals can be handled.
        yield
        return
    before = signal.signal(signal.SIGTERM, _exit)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _exit(number: int, _: object) -> None:
    raise SystemExit(128 + number)


@contextmanager
def _writer(args: argparse.Namespace) -> Iterator[Callable[[int, str], object]]:
    """Give what writes the result of a recording, told its number: to its own file, to ``--out`` or to standard output."""
    from st.files import atomic_write, write_text

    if args.out is not None:
        with atomic_write(args.out, follow_links=True) as handle:
            yield lambda _, text: handle.write(text)
    elif args.files:
        yield lambda number, text: write_text(args.files[number], text)
    else:
        yield lambda _, text: _to_stdout(text)


def _to_stdout(text: str) -> None:
    # Whole lines at once, so that an interruption leaves no half of one.
    sys.stdout.write(text)
    sys.stdout.flush()
