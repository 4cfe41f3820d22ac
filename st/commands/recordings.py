"""What ``st translate`` and ``st transcribe`` share: options, reading, writing, counting."""

from __future__ import annotations

import argparse
import logging
import signal
import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from st.errors import ConfigError, UsageError
    from st.inference import DecodedUtterance, Translation, Translator
    from st.inference.recordings import Formatter, RecordingResult, Source

    Layout = tuple[str, Formatter]

logger = logging.getLogger(__name__)

SKIPPED = 3
"""Exit code when some recordings could not be used."""
FLAGS = {"length_penalty": "--lenpen", "model_weight": "--lm-weight", "weight": "--rescore-weight"}
"""Fields of options whose flags have other names."""


FORMATS_HELP = (
    "text: one line per file, its name and a tab first if there are several files; tsv: with a header; "
    "json: one object per line (default: text)"
)


def add_recording_arguments(
    parser: argparse.ArgumentParser, formats: Sequence[str] = ("text", "tsv", "json"), formats_help: str = FORMATS_HELP
) -> None:
    """Declare the options that both commands have."""
    parser.add_argument(
        "audio",
        nargs="+",
        metavar="AUDIO",
        help="WAV, MP3, FLAC, Ogg or Opus files of up to 30 s; - reads one from standard input; names that begin with "
        "a dash go behind --",
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
    parser.add_argument(
        "--format",
        default="text",
        choices=formats,
        help=formats_help,
    )
    parser.add_argument("--out", type=Path, metavar="FILE", help="write there instead of standard output")
    parser.add_argument("--force", action="store_true", help="replace an existing --out (default: refuse)")
    parser.add_argument("--device", default="auto", help="cpu, cuda, cuda:1, or auto: the GPU if any (default: auto)")
    parser.add_argument(
        "--dtype", default="float32", choices=("float32", "bfloat16", "float16"), help="numbers (default: float32)"
    )
    parser.add_argument("--threads", type=int, metavar="N", help="CPU threads (default: torch's choice)")
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


def check_output(args: argparse.Namespace) -> None:
    """Raise UsageError before any work if the results would have nowhere to go, or only in place of what is read."""
    from st.errors import UsageError

    if args.out is None and sys.stdout is None:
        raise UsageError("standard output is closed; name a file with --out")
    if "-" in args.audio and sys.stdin is None:
        raise UsageError("standard input (-) is closed; name a file")
    if args.out is not None and args.out.is_dir():
        raise UsageError(f"--out {args.out}: is a folder; name a file")
    if args.out is not None and args.out.is_file():
        for name in (args.checkpoint, *args.audio):
            if _is_read_from(name, args.out):
                raise UsageError(f"--out {args.out}: would replace {name}, which is read; name another file")
    if args.out is not None and args.out.is_file() and not args.force:
        raise UsageError(f"--out {args.out}: exists already; add --force to replace it")
    if args.audio.count("-") > 1:
        raise UsageError("standard input (-) can be read only once")
    if args.threads is not None and args.threads < 1:
        raise UsageError(f"--threads is {args.threads}; expected at least 1")


def _is_read_from(name: str | Path, file: Path) -> bool:
    """Return whether a recording is this file, or a slice of it."""
    from st.audio.reading import parse_slice

    place = parse_slice(str(name))
    candidates = [Path(name)] if place is None else [Path(name), Path(place[0])]
    return any(path.is_file() and path.samefile(file) for path in candidates)


def in_flags(error: ConfigError) -> UsageError:
    """Return what is wrong with options as the command line calls them."""
    from st.errors import UsageError

    flag = FLAGS.get(error.field, f"--{error.field.replace('_', '-')}")
    return UsageError(str(error).replace(error.field, flag, 1) if error.field else str(error))


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


def run_recordings(
    args: argparse.Namespace, translator: Translator, targets: Sequence[str], layout: Layout | None = None
) -> int:
    """Decode the recordings, write the results, list the bad ones; return the exit code.

    Args:
        args: Of the command.
        translator: The model.
        targets: Target languages; none to transcribe.
        layout: First line and formatter, instead of those of ``--format``.
    """
    from st.files import atomic_write
    from st.inference.recordings import decode_recordings

    results = decode_recordings(translator, [(name, _source(name)) for name in args.audio], targets)
    if args.out is None:
        failed = _write(results, args, targets, _to_stdout, layout)
    else:
        from st.console import progress

        with _ended_by_sigterm(), atomic_write(args.out, follow_links=True) as handle:
            bar = progress(results, total=len(args.audio), unit="file")
            failed = _write(bar, args, targets, handle.write, layout)
            if len(failed) == len(args.audio):
                raise _all_failed(failed)
        logger.info("wrote %s", args.out)
    if len(failed) == len(args.audio):
        raise _all_failed(failed)
    for result in failed:
        sys.stderr.write(f"st: skipped {result.name}: {_reason(result)}\n")
    if failed:
        sys.stderr.write(f"st: {len(failed)} of {len(args.audio)} recordings skipped\n")
    return SKIPPED if failed else 0


def _all_failed(failed: Sequence[RecordingResult]) -> Exception:
    from st.errors import AudioError

    if len(failed) == 1 and failed[0].error is not None:
        return failed[0].error
    listed = "; ".join(f"{result.name}: {_reason(result)}" for result in failed)
    return AudioError(f"none of {len(failed)} recordings can be used: {listed}")


def _reason(result: RecordingResult) -> str:
    """Return why there is no result, without the name that many messages begin with."""
    return str(result.error).removeprefix(f"{result.name}: ")


def _source(name: str) -> Source:
    return sys.stdin.buffer if name == "-" else name


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


def _to_stdout(line: str) -> None:
    # Whole lines at once, so that an interruption leaves no half of one.
    sys.stdout.write(line)
    sys.stdout.flush()


def _write(
    results: Iterable[RecordingResult],
    args: argparse.Namespace,
    targets: Sequence[str],
    write: Callable[[str], object],
    layout: Layout | None,
) -> list[RecordingResult]:
    """Write what was decoded; return what was not."""
    from st.inference.recordings import FORMATS, header

    failed = []
    first, formatter = layout or (header(args.format, targets), FORMATS[args.format])
    for result in results:
        if result.decoded is None:
            failed.append(result)
            continue
        _warn(result.name, result.decoded, targets)
        write(first + formatter(result, targets, len(args.audio) == 1))
        first = ""
    return failed


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
