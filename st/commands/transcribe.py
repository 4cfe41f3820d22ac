"""``st transcribe``: recordings in, what was said out."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from st.commands.options import Option, add_options
from st.commands.recording_files import settle_files
from st.commands.recordings import FORMATS as PLAIN_FORMATS
from st.commands.recordings import FORMATS_HELP, add_recording_arguments, load_model, run_recordings

if TYPE_CHECKING:
    from st.inference import TranscriptOptions

DESCRIPTION = """\
Write down what is said in recordings of up to 30 seconds: by the model's CTC head; with --lm helped by an n-gram language
model; with --joint-ctc-weight by the decoder and the CTC head together, if the decoder was trained to transcribe
(--add-transcripts). Results go to standard output (or --out), everything else to standard error. A recording that cannot
be used is skipped and listed; the exit code is then 3.
"""

EXAMPLES = """\
examples:
  st transcribe clip.mp3 --checkpoint run/checkpoint_best.pt
  st transcribe talks/*.wav --checkpoint run/checkpoint_best.pt --out talks.tsv
  st transcribe talks --checkpoint run/checkpoint_best.pt --format srt --output-dir subtitles
  st transcribe clip.mp3 --checkpoint run/checkpoint_best.pt --times word
  st transcribe clip.mp3 --checkpoint run/checkpoint_best.pt --out clip.srt
  st transcribe clip.mp3 --checkpoint run/checkpoint_best.pt --lang fr --lm fr.arpa --lm-weight 0.6
  st transcribe clip.mp3 --checkpoint run/checkpoint_best.pt --lang fr --joint-ctc-weight 0.3
"""

SUBTITLES = ("srt", "vtt")
"""Formats that cannot tell recordings apart."""
FORMATS = (*PLAIN_FORMATS, *SUBTITLES)
LM_BEAM, DECODER_BEAM = 32, 5
LM_WEIGHT = 0.5
LABEL_FLOOR = -12.0
"""Letters less probable than e^-12 at a frame are not tried there: the search is several times faster."""

BEAM_HELP = f"hypotheses kept (default: 1, the best path; {LM_BEAM} with --lm, {DECODER_BEAM} with the decoder)"
JOINT_HELP = "let the decoder write, with this weight of the CTC head: 0 the decoder alone, 0.3 is usual; needs --lang"
LANG_HELP = (
    "language that is spoken, such as fr: letters of other scripts are left out, and MMS gets its adapter and head"
)
SEARCH: tuple[Option, ...] = (
    ("--lang", str, "CODE", None, LANG_HELP),
    ("--beam", int, "N", None, BEAM_HELP),
    ("--lm", Path, "FILE", None, "n-gram language model, ARPA or KenLM binary"),
    ("--lm-weight", float, "X", None, f"its weight (default: {LM_WEIGHT})"),
    ("--label-bonus", float, "X", None, "added per letter, with --lm (default: 0)"),
    ("--joint-ctc-weight", float, "W", None, JOINT_HELP),
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.description, parser.epilog = DESCRIPTION, EXAMPLES
    add_recording_arguments(
        parser, FORMATS, FORMATS_HELP + "; srt, vtt: subtitles of one recording, with --times (default: segment)"
    )
    parser.add_argument(
        "--times",
        choices=("word", "segment"),
        help="when each word, or each stretch between pauses, was said, in seconds; tsv and json also tell how sure the "
        "model is of it",
    )
    add_options(parser, SEARCH)


def run(args: argparse.Namespace) -> int:
    """Transcribe and write."""
    # What the command line got wrong is said before a large model is read.
    settle_files(args, FORMATS)
    _check_usage(args)
    translator = load_model(args, transcripts=_options(args))
    translator.check_transcribes()
    return run_recordings(args, translator, [], args.times)


def _check_usage(args: argparse.Namespace) -> None:
    from st.errors import UsageError
    from st.text.languages import canonical

    if args.format in SUBTITLES:
        args.times = args.times or "segment"
        if len(args.audio) > 1 and not args.files:
            raise UsageError(
                f"--format {args.format} holds one recording; found {len(args.audio)}; --output-dir writes a file for each"
            )
    if args.lang is not None:
        args.lang = canonical(args.lang)
    if args.joint_ctc_weight is not None and args.lang is None:
        raise UsageError("--joint-ctc-weight needs --lang: the decoder is told which language it writes")
    if args.joint_ctc_weight is not None and args.lm is not None:
        raise UsageError("--lm and --joint-ctc-weight do not go together; choose one")
    for name in ("lm_weight", "label_bonus"):
        if getattr(args, name) is not None and args.lm is None:
            raise UsageError(f"--{name.replace('_', '-')} needs --lm")
    if args.lm is not None and not args.lm.is_file():
        raise UsageError(f"--lm {args.lm}: no such file")


def _options(args: argparse.Namespace) -> TranscriptOptions:
    from st.decoding.ctc_prefix import PrefixOptions
    from st.decoding.options import BeamOptions
    from st.inference import TranscriptOptions

    search = decoder = None
    if args.joint_ctc_weight is not None:
        decoder = BeamOptions(
            beam=DECODER_BEAM if args.beam is None else args.beam, joint_ctc_weight=args.joint_ctc_weight
        )
    elif args.lm is not None or args.beam not in (None, 1):
        weight = LM_WEIGHT if args.lm_weight is None else args.lm_weight
        search = PrefixOptions(
            beam=args.beam if args.beam is not None else LM_BEAM,
            label_floor=LABEL_FLOOR,
            model_weight=weight if args.lm is not None else 0.0,
            label_bonus=args.label_bonus or 0.0,
        )
    return TranscriptOptions(
        language=args.lang,
        times=args.times is not None,
        search=search,
        lm=args.lm,
        decoder=decoder,
        data_dir=args.data,
    )
