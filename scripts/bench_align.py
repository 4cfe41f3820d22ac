"""How well `st align` finds words in long recordings, and in how much memory.

    python scripts/bench_align.py --checkpoint demo/ctc/checkpoint_best.pt --clips demo/data/train_de_en.tsv --minutes 10 60

Clips of prepared manifests are joined, 0.3 s apart, into recordings of some minutes, each clip once. Their transcripts are
aligned with them: as they are; with three in ten left out; with three foreign ones for every ten; with both. What is right
is known in two ways: a word lies in its own clip, and it begins where it does if its clip is aligned alone.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile
from bench_common import markdown, take_turns

from st.audio.reading import SAMPLE_RATE, read_audio
from st.data.manifest import ManifestRow, read_manifest
from st.errors import DecodingError
from st.inference import Translator, load_translator
from st.inference.alignment.recording import align_recording
from st.kernels.settings import tune
from st.memory import peak_memory

PAUSE_S = 0.3
SHARE = 0.3
TEXTS = {"whole": (False, False), "missing": (True, False), "extra": (False, True), "both": (True, True)}
"""Whether a text lacks clips, and whether it has foreign ones."""


@dataclass(frozen=True, slots=True)
class Line:
    """A line of the text: of a clip with its place in the recording, or a foreign one."""

    text: str
    begins_s: float = -1.0
    ends_s: float = -1.0
    audio: str = ""


def join_clips(
    rows: list[ManifestRow], folder: Path, minutes: float, path: Path
) -> tuple[list[Line], list[ManifestRow]]:
    """Write a recording; return its lines, and the clips that are left."""
    lines: list[Line] = []
    now, pause = 0.0, np.zeros(round(PAUSE_S * SAMPLE_RATE), dtype=np.float32)
    with soundfile.SoundFile(path, "w", SAMPLE_RATE, 1, format="FLAC") as file:
        for number, row in enumerate(rows):
            if now >= 60 * minutes:
                return lines, rows[number:]
            samples = read_audio(str(folder / row.audio))
            file.write(samples)
            file.write(pause)
            length = len(samples) / SAMPLE_RATE
            lines.append(Line(row.src_text, now, now + length, str(folder / row.audio)))
            now += length + PAUSE_S
    raise SystemExit(f"the clips are {now / 60:.1f} minutes together; name more manifests, or fewer --minutes")


def change(lines: list[Line], left: list[ManifestRow], missing: bool, extra: bool) -> Iterator[Line]:
    """Leave lines out, and put foreign ones in."""
    generator = random.Random(1)
    foreign = iter(left)
    for line in lines:
        if extra and generator.random() < SHARE:
            yield Line(next(foreign).src_text)
        if not missing or generator.random() >= SHARE:
            yield line


def alone(translator: Translator, line: Line) -> list[float] | None:
    """Return where the words of a clip begin in the recording, found in the clip alone."""
    try:
        return [line.begins_s + word.start_s for word in translator.align(line.audio, line.text)]
    except DecodingError:
        return None


def measure(args: argparse.Namespace) -> dict[str, float]:
    """Align one text with one recording."""
    minutes, _, kind = args.side.partition("-")
    clips = [row for path in args.clips for row in read_manifest(path) if row.src_text.strip()]
    rows = list({row.src_text: row for row in clips}.values())
    random.Random(0).shuffle(rows)
    translator = load_translator(args.checkpoint, device="cpu")
    with tempfile.TemporaryDirectory() as work:
        recording = Path(work) / "long.flac"
        lines, left = join_clips(rows, args.clips[0].parent, float(minutes), recording)
        text = list(change(lines, left, *TEXTS[kind]))
        start = time.perf_counter()
        alignment = align_recording(translator, recording, "\n".join(line.text for line in text))
        seconds, memory = time.perf_counter() - start, peak_memory()
    found = [[word for word in alignment.words if word.line == number] for number in range(len(text))]
    inside = [
        line.begins_s - 0.1 <= word.timed.start_s <= line.ends_s + 0.1
        for line, words in zip(text, found, strict=True)
        for word in words
        if line.audio and word.heard
    ]
    errors = []
    for line, words in zip(text, found, strict=True):
        starts = alone(translator, line) if line.audio else None
        if starts is not None and len(starts) == len(words):
            errors += [abs(one.timed.start_s - other) for one, other in zip(words, starts, strict=True) if one.heard]
    said = [word.heard for line, words in zip(text, found, strict=True) for word in words if line.audio]
    unsaid = [word.heard for line, words in zip(text, found, strict=True) for word in words if not line.audio]
    return {
        "words": len(alignment.words),
        "inside_percent": 100 * statistics.mean(inside),
        "mean_error_ms": 1000 * statistics.mean(errors),
        "median_error_ms": 1000 * statistics.median(errors),
        "missed_percent": 100 * (1 - statistics.mean(said)),
        "invented_percent": 100 * statistics.mean(unsaid) if unsaid else 0.0,
        "memory_mb": memory / 1e6,
        "seconds": seconds,
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkpoint", type=Path, required=True)
    parser.add_argument("--clips", type=Path, nargs="+", required=True, help="manifests of one prepared tree")
    parser.add_argument("--minutes", nargs="+", default=["10", "60"], help="lengths (default: 10 60)")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--worker", dest="side", help=argparse.SUPPRESS)
    args = parser.parse_args()
    tune(args.threads)
    if args.side:
        print(json.dumps(measure(args)))
        return
    sides = [f"{minutes}-{kind}" for minutes in args.minutes for kind in TEXTS]
    results = take_turns([__file__, *sys.argv[1:], "--worker"], sides, 1)
    keys = list(results[sides[0]][0])
    print(
        markdown(
            ["recording and text", *keys], [[side, *(f"{results[side][0][key]:.1f}" for key in keys)] for side in sides]
        )
    )


if __name__ == "__main__":
    main()
