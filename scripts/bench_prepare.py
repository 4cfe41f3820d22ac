#!/usr/bin/env python3
"""Benchmarks of ``covost prepare``: both sides on the same work, taking turns, medians."""

from __future__ import annotations

import argparse
import platform
import sys
import tempfile
from pathlib import Path

EXAMPLES = """\
examples:
  covost sample --out corpus --languages en --targets de --hours 0.5
  python scripts/bench_prepare.py audio corpus/en/clips
  python scripts/bench_prepare.py access corpus/en/clips
  python scripts/bench_prepare.py slices
  python scripts/bench_prepare.py tables --work /tmp/full     # half an hour for the corpus, then minutes

Results go to stdout, progress to stderr. Run them on a machine that does nothing else.
"""


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of all sub-commands."""
    form = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, epilog=EXAMPLES, formatter_class=form)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    audio = commands.add_parser(
        "audio",
        help="clips per second from MP3 to 16 kHz FLAC",
        description="Decode, resample and store the clips of a folder: the plain loop that people write (soundfile, "
        "torchaudio.functional.resample, one FLAC file per clip; one process), covost's stores, and decoding alone.",
    )
    access = commands.add_parser(
        "access",
        help="random reads at training time",
        description="Read recordings in random order from one store and from loose FLAC files of the same bytes, from "
        "one process and from several, with all files in the page cache.",
    )
    for command in (audio, access):
        command.add_argument("clips", type=Path, help="folder of recordings, such as corpus/en/clips")
        command.add_argument("--limit", type=int, default=400, help="use at most so many clips (default: %(default)s)")
        command.add_argument("--rounds", type=int, default=5, help="turns of each side (default: %(default)s)")
    audio.add_argument("--jobs", type=int, default=2, help="processes of covost's side (default: %(default)s)")
    audio.add_argument(
        "--plain-threads", type=int, help="torch's threads in the plain loop (default: torch's own default)"
    )
    audio.add_argument("--targets", type=int, default=15, help="directions that share the audio (default: %(default)s)")
    access.add_argument("--jobs", type=int, default=4, help="processes of the second comparison (default: %(default)s)")
    slices = commands.add_parser(
        "slices",
        help="stores of slices of long recordings",
        description="Make a store of 1,000 slices of two hours of recordings, and of as many files; WAV, FLAC and MP3.",
    )
    slices.add_argument("--rounds", type=int, default=3, help="turns of each side (default: %(default)s)")
    slices.add_argument("--jobs", type=int, default=2, help="processes (default: %(default)s)")
    slices.add_argument("--recordings", type=int, default=1, help="that the slices are of (default: %(default)s)")
    tables = commands.add_parser(
        "tables",
        help="all 36 directions at true size, audio not counted",
        description="Make tables of the true sizes of all directions, with empty recordings and stores that say they "
        "were decoded, and run `covost prepare` on them. Needs 3 GB of disk and 1.2 million inodes.",
    )
    tables.add_argument("--work", type=Path, help="folder of the corpus, kept for the next time (default: a temporary)")
    tables.add_argument("--directions", default="all", help="as for covost prepare (default: %(default)s)")
    tables.add_argument(
        "extra", nargs="*", help="more options for covost prepare, after --, such as -- --vocab-type bpe"
    )
    return parser


def main() -> int:
    """Run a benchmark and print its table."""
    args = build_parser().parse_args()
    print(f"{platform.platform()}, Python {platform.python_version()}", file=sys.stderr)
    with tempfile.TemporaryDirectory(prefix="bench-prepare-") as folder:
        if args.command == "audio":
            from bench_prepare_audio import run_audio

            lines = run_audio(args.clips, Path(folder), args)
        elif args.command == "access":
            from bench_prepare_audio import run_access

            lines = run_access(args.clips, Path(folder), args)
        elif args.command == "slices":
            from bench_prepare_audio import run_slices

            lines = run_slices(Path(folder), args)
        else:
            from bench_prepare_tables import run_tables

            lines = run_tables(args.work or Path(folder), args.directions, args.extra)
    sys.stdout.write("\n".join(lines) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
