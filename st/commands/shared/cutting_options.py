"""Options of the commands that decode long recordings: where these are cut."""

from __future__ import annotations

import argparse
from pathlib import Path

SEGMENTS_HELP = (
    "decode these segments: RTTM, YAML as MuST-C has it, a table with the columns start and end (and audio, speaker), or "
    "Audacity's labels, in seconds (default: found by voice activity in recordings that are long for the model)"
)
NO_VAD_HELP = (
    "decode all of a long recording, cut where it is quietest, rather than only where somebody speaks; the extra vad "
    "(pip install 'xlsr-st[vad]') finds speech best"
)


def add_cutting_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare where long recordings are cut."""
    parser.add_argument("--segments", type=Path, metavar="FILE", help=SEGMENTS_HELP)
    parser.add_argument("--no-vad", action="store_true", help=NO_VAD_HELP)
    parser.add_argument(
        "--longest-segment",
        type=float,
        metavar="S",
        help="seconds of the longest segment of a long recording, 1 to 30 (default: as long as the clips that the model "
        "learned from usually are, from 5 to 20; 20 for those of --segments, and where that is unknown)",
    )
