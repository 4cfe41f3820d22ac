"""``st bench``: how fast a model decodes here, and what it takes."""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from st.commands.shared.options import Option, add_compute_arguments, add_options, check_threads

if TYPE_CHECKING:
    from collections.abc import Sequence

    from st.inference.audio_input import Waveform
    from st.inference.bench import Speed

DESCRIPTION = """\
Measure how fast a model decodes on this machine, on recordings of your own or on noise.

RTFx is seconds of audio decoded in a second: with 10, an hour takes six minutes. It is measured over all recordings together.
"first text" is how long one recording alone takes until its text is there, as in a program that waits for each sentence.
"encoder" is the rate of encoder and length adaptor, and its share of the rate at which this machine multiplies matrices in the
same run, with numbers of the same type: what is missing to 100 % is what other code could win at most. With --dtype int8 it is
the rate of this program's products of 8 bits; convolutions, attention and norms are of other types and slower.

The first decoding is not counted; times are medians of the rounds. Memory is the most that the process had in use, torch
included. What else runs on the machine is measured too, so repeat it. Of noise a decoder may write much or nothing: give a
recording where translation is measured.
"""

EXAMPLES = """\
examples:
  st bench checkpoint_best.pt
  st bench checkpoint_best.pt talk.wav --to de --beam 5 --dtype bfloat16 --threads 2
  st bench facebook/wav2vec2-large-960h --seconds 5 --recordings 16 --format json
"""

OPTIONS: tuple[Option, ...] = (
    (
        "--seconds",
        float,
        "S",
        15.0,
        "length of a recording: of noise, or of the pieces that AUDIO is cut into (default: 15)",
    ),
    ("--recordings", int, "N", 8, "recordings of noise, or most pieces of AUDIO (default: 8)"),
    ("--rounds", int, "N", 3, "how often all is decoded (default: 3)"),
    ("--beam", int, "K", 5, "beam size of translations (default: 5)"),
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.description, parser.epilog = DESCRIPTION, EXAMPLES
    parser.add_argument(
        "checkpoint", metavar="MODEL", help="a .pt file of a training, the folder of a model, or a hub id"
    )
    parser.add_argument("audio", nargs="?", type=Path, metavar="AUDIO", help="a recording (default: noise)")
    parser.add_argument(
        "--to", nargs="+", default=[], metavar="LANG", help="translate into these (default: transcribe)"
    )
    add_options(parser, OPTIONS)
    parser.add_argument("--data", type=Path, metavar="DATA", help="prepared tree to take the vocabularies from")
    parser.add_argument("--format", choices=("text", "json"), default="text", help="what is printed (default: text)")
    add_compute_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Measure and print."""
    from st.errors import UsageError
    from st.inference.audio_input import MAX_SECONDS

    check_threads(args.threads)
    if not 0 < args.seconds <= MAX_SECONDS:
        raise UsageError(f"--seconds is {args.seconds:g}; expected more than 0 and at most {MAX_SECONDS:g}")
    for name in ("recordings", "rounds", "beam"):
        if getattr(args, name) < 1:
            raise UsageError(f"--{name} is {getattr(args, name)}; expected at least 1")
    from st.inference import TranscriptOptions, load_translator
    from st.inference.bench import load_timed, measure
    from st.kernels.settings import tune
    from st.text.languages import canonical

    tune(args.threads)
    targets = [canonical(code) for code in args.to]
    loaded = load_timed(
        lambda: load_translator(
            args.checkpoint,
            data_dir=args.data,
            device=args.device,
            dtype=args.dtype,
            transcripts=TranscriptOptions(no_lm=True),
            keep_all=True,
            beam=args.beam,
        )
    )
    waveforms = _waveforms(args, loaded.translator.model.encoder.receptive_field)
    speed = measure(loaded, waveforms, targets, rounds=args.rounds)
    what = "noise" if args.audio is None else str(args.audio)
    if args.format == "json":
        sys.stdout.write(json.dumps({"audio": what, **dataclasses.asdict(speed)}) + "\n")
    else:
        sys.stdout.write(as_text(speed, what))
    return 0


def _waveforms(args: argparse.Namespace, least: int) -> Sequence[Waveform]:
    from st.audio.reading import read_audio
    from st.errors import AudioError
    from st.inference.bench import cut, noise

    if args.audio is None:
        pieces = noise(args.seconds, args.recordings)
    else:
        pieces = cut(read_audio(str(args.audio)), args.seconds, least)[: args.recordings]
    if not pieces or len(pieces[0]) < least:
        raise AudioError(
            f"{args.audio or '--seconds'}: too short for one frame; give {least} samples of 16 kHz or more"
        )
    return pieces


def as_text(speed: Speed, what: str) -> str:
    """Return a line for each figure."""

    def peak(size: int) -> str:
        return f", peak memory {size / 1e9:.2f} GB" if size else ""

    each = speed.audio_s / speed.recordings
    lines = {
        "model": f"{speed.parameters / 1e6:,.1f} M parameters, {speed.dtype}, {speed.device}, {speed.threads} threads",
        "loading": f"{speed.loading_s:.1f} s{peak(speed.loading_peak_bytes)}",
        "audio": f"{speed.recordings} recordings of {each:.1f} s on average: {what}",
        "decoding": f"RTFx {speed.rtfx:.1f} ({speed.audio_s:.1f} s in {speed.decoding_s:.2f} s)"
        f"{peak(speed.decoding_peak_bytes)}",
        "first text": f"after {speed.first_text_s:.2f} s",
        "encoder": f"{speed.encoder_gflops:,.0f} GFLOP/s, {speed.encoder_share:.0%} of {speed.matmul_gflops:,.0f} of products "
        f"in {speed.matmul_dtype}",
    }
    return "".join(f"{name:12}{text}\n" for name, text in lines.items())
