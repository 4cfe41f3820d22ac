"""``st transcribe``: recordings in, what was said out."""

from __future__ import annotations

import argparse

from st.commands.recordings import add_recording_arguments, check_output, run_recordings

DESCRIPTION = """\
Write down what is said in recordings of up to 30 seconds, with the model's CTC head. Results go to standard output (or
--out), everything else to standard error. A recording that cannot be used is skipped and listed; the exit code is then 3.
"""

EXAMPLES = """\
examples:
  st transcribe clip.mp3 --checkpoint run/checkpoint_best.pt
  st transcribe talks/*.wav --checkpoint run/checkpoint_best.pt --format tsv --out talks.tsv
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.description, parser.epilog = DESCRIPTION, EXAMPLES
    add_recording_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Transcribe and write."""
    check_output(args)

    from st.inference import load_translator
    from st.runtime import tune

    tune(args.threads)
    translator = load_translator(args.checkpoint, data_dir=args.data, device=args.device, dtype=args.dtype)
    translator.check_transcribes()
    return run_recordings(args, translator, [])
