"""What ``st translate``, ``st transcribe`` and ``st identify`` share: options, reading, writing, counting."""

from __future__ import annotations

import argparse
import logging
import signal
import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from st.commands.options import add_compute_arguments, add_overwrite_argument
from st.commands.recording_files import OTHER_NAMES, STDIN
from st.errors import AudioError, StError

if TYPE_CHECKING:
    from st.inference import DecodedUtterance, Translation, Translator
    from st.inference.recordings import SkippedRecording

logger = logging.getLogger(__name__)

Result = TypeVar("Result")
"""What a command makes of one recording."""

SKIPPED = 3
"""Exit code when some recordings could not be used."""

FORMATS = ("text", "tsv", "json")
FORMATS_HELP = (
    "text: one line per file, its name and a tab first if there are several files; tsv: with a header; "
    "json: one object per line (default: what --out ends in, else text)"
)


def add_recording_arguments(
    parser: argparse.ArgumentParser,
    formats: Sequence[str] = FORMATS,
    formats_help: str = FORMATS_HELP,
    *,
    length: str = "up to 30 s",
) -> None:
    """Declare the options that all these commands have; ``length`` is that of recordings."""
    parser.add_argument(
        "audio",
        nargs="+",
        metavar="AUDIO",
        help=f"WAV, MP3, FLAC, Ogg or Opus files of {length}; a folder stands for all recordings in it and below, a "
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
    add_compute_arguments(parser)
    parser.add_argument(
        "--keep-all",
        action="store_true",
        help="decode recordings in which nobody can be heard too, whatever the model writes there (default: no text, and "
        "the reason)",
    )


def add_ensemble_argument(parser: argparse.ArgumentParser) -> None:
    """Declare ``--ensemble``, for translations."""
    parser.add_argument(
        "--ensemble",
        action="append",
        default=[],
        metavar="C",
        help="another checkpoint with the same dictionary, whose probabilities are averaged with those of --checkpoint; "
        "give it again for more",
    )


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
    args: argparse.Namespace, translator: Translator, targets: Sequence[str], times: str | None = None
) -> int:
    """Decode the recordings, write the results, list the bad ones; return the exit code.

    Args:
        args: Of the command.
        translator: The model.
        targets: Target languages; none to transcribe.
        times: ``word`` or ``segment``, to write when each was said.
    """
    from st.inference.formats import layout
    from st.inference.recordings import decode_recordings

    results = decode_recordings(translator, recording_sources(args), targets)
    first, formatter = layout(args.format, targets, times)
    return write_results(args, results, first, formatter, lambda result: _warn(result.name, result.decoded, targets))


def recording_sources(args: argparse.Namespace) -> list[tuple[str, Any]]:
    """Return the name and the audio of each recording of the command line."""
    return [(name, sys.stdin.buffer if name == STDIN else name) for name in args.audio]


def write_results(
    args: argparse.Namespace,
    results: Iterable[Result | SkippedRecording],
    first: str,
    formatter: Callable[[Result, bool], str],
    warn: Callable[[Result], object],
) -> int:
    """Write results as they come, list the bad ones; return the exit code.

    Args:
        args: Of the command.
        results: One for each recording, in their order.
        first: First line of the format, or nothing.
        formatter: Makes lines of a result, told whether it is the only one of its file.
        warn: Says what is strange about a result.

    Raises:
        StError: If no recording can be used.
    """
    from st.console import progress
    from st.inference.recordings import SkippedRecording

    single = bool(args.files) or len(args.audio) == 1
    to_terminal = args.out is None and not args.files and sys.stdout.isatty()
    failed: list[SkippedRecording] = []
    with _ended_by_sigterm(), _writer(args) as write:
        for number, result in enumerate(progress(results, total=len(args.audio), unit="file", hidden=to_terminal)):
            if isinstance(result, SkippedRecording):
                failed.append(result)
                continue
            warn(result)
            write(number, first + formatter(result, single))
            first = first if args.files else ""
        if len(failed) == len(args.audio):
            raise _all_failed(failed)
    if args.out or args.files:
        logger.info("wrote %s", args.out or f"{len(args.files) - len(failed)} files to {args.output_dir}")
    for result in failed:
        sys.stderr.write(f"st: skipped {result.name}: {_reason(result)}\n")
    if failed:
        sys.stderr.write(f"st: {len(failed)} of {len(args.audio)} recordings skipped\n")
    return SKIPPED if failed else 0


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


def _warn(name: str, decoded: DecodedUtterance, targets: Sequence[str]) -> None:
    """Warn of a text that is empty, cut off or goes in circles."""
    from st.inference.results import REASONS

    if decoded.reason is not None:
        remedy = "; --keep-all decodes it all the same" if decoded.reason in ("silent", "no_speech") else ""
        called = decoded.reason.replace("_", " ")
        logger.warning("%s: no text: %s (%s)%s", name, called, REASONS[decoded.reason], remedy)
    written: Mapping[str, DecodedUtterance | Translation]
    written = {code: found[0] for code, found in decoded.nbest.items()} if targets else {"the transcript": decoded}
    cut = [called for called, text in written.items() if text.truncated]
    if cut:
        logger.warning("%s: cut off at the length limit: %s", name, " ".join(cut))
    circling = [called for called, text in written.items() if text.repetition]
    if circling:
        remedy = "; --no-repeat-ngram 3, or 2, lets no three, or two, pieces come twice" if targets else ""
        logger.warning("%s: goes in circles, as happens where nobody speaks: %s%s", name, " ".join(circling), remedy)
