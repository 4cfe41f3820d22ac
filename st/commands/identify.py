"""``st identify``: which language, emotion, accent or speaker a recording has."""

from __future__ import annotations

import argparse
import logging
from typing import TYPE_CHECKING

from st.commands.shared.options import Option, add_options
from st.commands.shared.recording_files import settle_files
from st.commands.shared.recordings import add_recording_arguments, recording_sources, write_results

if TYPE_CHECKING:
    from st.inference.identification.formats import IdentifiedRecording

logger = logging.getLogger(__name__)

DESCRIPTION = """\
Say which language is spoken in recordings of any length, or whatever else a model was trained to tell: emotion, accent,
speaker. It takes what fairseq-train made with a head of kind `utterance` (docs/classification.md), and
Wav2Vec2ForSequenceClassification of transformers or wav2vec_classification of fairseq, such as facebook/mms-lid-126.

Each recording gets the model's labels with their probabilities, the best first. The model knows its own labels alone: of
a language that it never heard it names the one that sounds most like it, so look at the probabilities.

A recording longer than --window-seconds is heard in windows of that length, evenly spaced from its beginning to its end,
and the mean of their scores counts; windows in which nobody can be heard do not. XLS-R was measured on VoxLingua107 with
ten windows of 10 s: --windows 10 --window-seconds 10.

Results go to standard output (or --out), everything else to standard error. A recording that cannot be used is skipped and
listed; the exit code is then 3.
"""

EXAMPLES = """\
examples:
  st identify clip.mp3 --checkpoint run/checkpoint_best.pt
  st identify talks/*.wav --checkpoint facebook/mms-lid-126 --top 1 --format tsv --out languages.tsv
  st identify lecture.mp3 --checkpoint mms-lid-126 --windows 10 --window-seconds 10
  st identify calls --checkpoint emotions --format json --output-dir results
"""

FORMATS = ("text", "tsv", "json")
FORMATS_HELP = (
    "text: one line per file, labels with their probabilities, the name of the file first if there are several; tsv: a line "
    "per label, with a header; json: one object per line (default: what --out ends in, else text)"
)
TOP = 3
OPTIONS: tuple[Option, ...] = (
    ("--top", int, "K", TOP, f"labels to write for each recording, the most probable ones (default: {TOP})"),
    ("--window-seconds", float, "S", 30.0, "longest stretch that is heard in one piece (default: 30)"),
    ("--windows", int, "N", None, "windows of a recording that is longer than one (default: as many as cover it)"),
    ("--head", str, "NAME", None, "which head to ask, if the model has several that classify (st inspect lists them)"),
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.description, parser.epilog = DESCRIPTION, EXAMPLES
    add_recording_arguments(parser, FORMATS, FORMATS_HELP)
    add_options(parser, OPTIONS)


def run(args: argparse.Namespace) -> int:
    """Classify and write."""
    from st.inference.identification.formats import FORMATS as FORMATTERS
    from st.inference.identification.formats import HEADERS, identify_recordings
    from st.inference.identification.identifier import IdentifyOptions, load_identifier
    from st.kernels.settings import tune

    # What the command line got wrong is said before a large model is read.
    settle_files(args, FORMATS)
    options = IdentifyOptions(
        top=args.top, window_s=args.window_seconds, windows=args.windows, head=args.head, keep_all=args.keep_all
    )
    tune(args.threads)
    identifier = load_identifier(
        args.checkpoint, data_dir=args.data, device=args.device, dtype=args.dtype, options=options
    )
    results = identify_recordings(identifier, recording_sources(args))
    return write_results(args, results, HEADERS.get(args.format, ""), FORMATTERS[args.format], _warn)


def _warn(result: IdentifiedRecording) -> None:
    """Warn of a recording without a label."""
    from st.inference.results.decoded import REASONS

    if (reason := result.found.reason) is not None:
        remedy = "; --keep-all names labels all the same" if reason in ("silent", "no_speech") else ""
        logger.warning("%s: no label: %s (%s)%s", result.name, reason.replace("_", " "), REASONS[reason], remedy)
