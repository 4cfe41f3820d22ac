"""Which recordings ``st translate`` and ``st transcribe`` read, and which files they write."""

from __future__ import annotations

import argparse
import glob
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from st.commands.shared.options import check_threads, refuse_existing
from st.commands.shared.resumption import is_unfinished, run_key
from st.errors import UsageError

STDIN = "-"
AUDIO_ENDINGS = (
    *(".wav", ".mp3", ".flac", ".ogg", ".oga", ".opus", ".aiff", ".aif", ".caf"),
    # These need the extra `audio`.
    *(".m4a", ".mp4", ".m4b", ".mov", ".3gp", ".aac", ".webm", ".mka", ".mkv", ".wma", ".amr", ".g722", ".ac3", ".avi"),
)
"""What is taken from a folder."""
ENDINGS = {"text": ".txt", "tsv": ".tsv", "json": ".json", "srt": ".srt", "vtt": ".vtt", "segments": ".segments.jsonl"}
"""Formats, and how their files end."""
OTHER_NAMES = {"txt": "text", "jsonl": "json"}
"""Other names and endings of formats."""


def settle_files(args: argparse.Namespace, formats: tuple[str, ...]) -> None:
    """Replace folders and patterns by the recordings they stand for, choose the format and the names of what is written.

    Sets ``args.audio``, ``args.format``, ``args.files``, which are the files of ``--output-dir``, one per recording,
    ``args.given_segments``, the contents of ``--segments``, and ``args.run_key``, see :mod:`st.commands.shared.resumption`.

    Raises:
        UsageError: Before any work, if the results would have nowhere to go, or only in place of what is read or is there.
    """
    found = [pair for name in args.audio for pair in _recordings(name)]
    args.audio = [name for name, _ in found]
    _check_streams(args)
    if args.out is not None and args.out.is_dir():
        raise UsageError(f"--out {args.out}: is a folder; name a file, or give it as --output-dir")
    _settle_segments(args)
    settle_out(args, formats, args.audio)
    args.run_key = run_key(args)
    args.files = [] if args.output_dir is None else _output_files([place for _, place in found], args)


def _settle_segments(args: argparse.Namespace) -> None:
    """Read ``--segments`` and see that it is about these recordings."""
    from st.segmentation.segment_files import GivenSegments

    args.given_segments = None
    if args.longest_segment is not None and not 1 <= args.longest_segment <= 30:
        raise UsageError(f"--longest-segment is {args.longest_segment:g}; expected 1 to 30 seconds")
    if args.segments is not None:
        if args.no_vad:
            raise UsageError("--no-vad means nothing to --segments; give one of them")
        args.given_segments = GivenSegments(args.segments)
        args.given_segments.check(args.audio)


def settle_out(args: argparse.Namespace, formats: tuple[str, ...], read: Sequence[str]) -> None:
    """Choose the format by what ``--out`` ends in, unless it is given; see that ``--out`` can be written.

    Args:
        args: Of the command; sets ``args.format``.
        formats: Those of the command.
        read: Names of the files that it reads, beside ``--checkpoint``.

    Raises:
        UsageError: Before any work, if it would be written in place of what is read or is there.
    """
    args.format = args.format or _format_of(args.out, formats)
    check_threads(args.threads)
    if args.out is not None:
        if args.out.is_dir():
            raise UsageError(f"--out {args.out}: is a folder; name a file")
        _refuse_input(args.out, _inputs([args.checkpoint, *read]))
        refuse_existing(args.out, args.overwrite)


def _recordings(name: str) -> list[tuple[str, Path]]:
    """Return the recordings that a word of the command line stands for, each with its place below a folder."""
    path = Path(name)
    if name and path.is_dir():
        found = sorted(
            file
            for file in path.rglob("*")
            if file.suffix.lower() in AUDIO_ENDINGS and not file.name.startswith(".") and file.is_file()
        )
        if not found:
            raise UsageError(f"{name}: no recordings in this folder; expected files {' '.join(AUDIO_ENDINGS)}")
        return [(str(file), file.relative_to(path)) for file in found]
    if name != STDIN and glob.has_magic(name) and not path.exists():
        matching = sorted(glob.glob(name, recursive=True))  # noqa: PTH207 - Path.glob refuses absolute patterns
        if not matching:
            raise UsageError(f"{name}: nothing has a name of this pattern")
        return [pair for match in matching for pair in _recordings(match)]
    return [(name, Path("stdin" if name == STDIN else path.name))]


def _format_of(out: Path | None, formats: tuple[str, ...]) -> str:
    """Return the format that ``--out`` ends in, text if it ends in none."""
    ending = "" if out is None else out.suffix.lower().removeprefix(".")
    chosen = OTHER_NAMES.get(ending, ending)
    if chosen in ENDINGS and chosen not in formats:
        raise UsageError(f"--out {out}: {ending} cannot be written here; expected one of {', '.join(formats)}")
    return chosen if chosen in formats else "text"


def _check_streams(args: argparse.Namespace) -> None:
    if args.out is None and args.output_dir is None and sys.stdout is None:
        raise UsageError("standard output is closed; name a file with --out")
    if STDIN in args.audio and sys.stdin is None:
        raise UsageError("standard input (-) is closed; name a file")
    if args.audio.count(STDIN) > 1:
        raise UsageError("standard input (-) can be read only once")


def _output_files(places: list[Path], args: argparse.Namespace) -> list[Path]:
    """Return where each result goes: the name of the recording, its ending replaced unless others have the same name."""
    if args.output_dir.exists() and not args.output_dir.is_dir():
        raise UsageError(f"--output-dir {args.output_dir}: is a file; name a folder")
    ending = ENDINGS[args.format]
    short = [place.with_suffix(ending) for place in places]
    shared = Counter(short)
    files = [
        args.output_dir / (name if shared[name] == 1 else place.with_name(place.name + ending))
        for name, place in zip(short, places, strict=True)
    ]
    uses, inputs = Counter(files), _inputs([args.checkpoint, *args.audio])
    # Those were written before an interruption.
    unfinished = is_unfinished(args, args.run_key)
    for file, name in zip(files, args.audio, strict=True):
        if uses[file] > 1:
            raise UsageError(f"--output-dir: {name} and another recording would both be written to {file}; give one")
        _refuse_input(file, inputs, "--output-dir")
        refuse_existing(file, args.overwrite or unfinished, "--output-dir")
    return files


Inputs = dict[tuple[int, int], str]
"""Device and number of each file that is read, and what it is called."""


def _inputs(names: Sequence[str]) -> Inputs:
    from st.audio.reading import parse_slice

    inputs: Inputs = {}
    for name in names:
        place = parse_slice(name)
        for path in (Path(name), *([] if place is None else [Path(place[0])])):
            if path.is_file():
                inputs.setdefault(_identity(path), name)
    return inputs


def _identity(path: Path) -> tuple[int, int]:
    status = path.stat()
    return status.st_dev, status.st_ino


def _refuse_input(file: Path, inputs: Inputs, option: str = "--out") -> None:
    """Raise UsageError if a file that is read would be replaced."""
    if file.is_file() and _identity(file) in inputs:
        raise UsageError(f"{option} {file}: would replace {inputs[_identity(file)]}, which is read; name another file")
