"""What the CTC head costs beside the encoder: greedy transcripts, forced alignment, prefix beam search.

    python scripts/bench_ctc.py                          # fp32; about a minute on two cores
    python scripts/bench_ctc.py --dtype bfloat16 --threads 2

The encoder has the shape of XLS-R 300M and random weights; the head's random labels change at nearly every frame, which
is more work than speech makes. Every figure is the fastest of some runs.
"""

from __future__ import annotations

import argparse
import dataclasses
import time
from collections.abc import Callable

import torch

from st.audio.reading import SAMPLE_RATE
from st.decoding.alignment.forced import align
from st.decoding.ctc import ctc_greedy
from st.decoding.ctc_prefix import PrefixOptions, ctc_prefix_search
from st.inference.alignment.word_times import time_words
from st.inference.precision import autocast, convert_products
from st.inference.transcription.transcriber import frame_seconds
from st.kernels.settings import tune
from st.modules.config import ctc_heads
from st.modules.model import Encoded, SpeechTranslator
from st.modules.presets import preset
from st.text.ctc_vocabulary import CtcVocabulary

ALPHABET = (
    "abcdefghijklmnopqrstuvwxyzàâäçéèêëîïôöùûüÿœæñáíóúãõßабвгдежзийклмнопрстуфхцчшщъыьэюяёابتثجحخدذرزسشصضطظعغفقكلمنهوي"
)


def fastest(function: Callable[[], object], repeats: int) -> float:
    """Return the milliseconds of the fastest run, after one to warm up."""
    function()
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        function()
        times.append(time.perf_counter() - start)
    return 1000 * min(times)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--dtype", choices=("float32", "bfloat16"), default="float32")
    parser.add_argument("--preset", default="300m", help="shape of the model (default: 300m)")
    parser.add_argument("--repeats", type=int, default=5)
    args = parser.parse_args()
    tune(args.threads)
    torch.manual_seed(0)
    vocabulary = CtcVocabulary.build({"xx": [ALPHABET]})
    config = dataclasses.replace(preset(args.preset), parts=("encoder",), heads=ctc_heads(len(vocabulary)))
    model = SpeechTranslator(config).eval()
    dtype = getattr(torch, args.dtype)
    with torch.inference_mode(), autocast(torch.device("cpu"), dtype):
        if dtype != torch.float32:
            convert_products(model, dtype)
        print(f"{args.preset} encoder, {args.dtype}, {args.threads} threads, {len(vocabulary)} labels")
        measure_greedy(model, vocabulary, args.repeats)
        measure_clip(model, vocabulary, args.repeats)


def measure_greedy(model: SpeechTranslator, vocabulary: CtcVocabulary, repeats: int) -> None:
    """Print the share of the head, the best path and its text in the time of a batch."""
    waves = torch.randn(8, int(5.5 * SAMPLE_RATE))
    lengths = torch.full((8,), waves.size(1))
    encoded = model.encode(waves, lengths)
    encoder = fastest(lambda: model.encode(waves, lengths), max(2, repeats // 2))

    def transcribe() -> list[str]:
        labels = ctc_greedy(model.ctc_logits(encoded), encoded.lengths)
        return [vocabulary.decode(row, collapse=False) for row in labels]

    greedy = fastest(transcribe, 4 * repeats)
    print(
        f"8 x 5.5 s: encoder {encoder:.0f} ms, transcripts {greedy:.1f} ms: {greedy / (encoder + greedy):.2%} of the time"
    )


def measure_clip(model: SpeechTranslator, vocabulary: CtcVocabulary, repeats: int) -> None:
    """Print what alignment and prefix search of one clip of 15 s cost."""
    wave = torch.randn(1, 15 * SAMPLE_RATE)
    length = torch.tensor([wave.size(1)])
    encoder = fastest(lambda: model.encode(wave, length), max(2, repeats // 2))
    encoded: Encoded = model.encode(wave, length)
    logits = model.ctc_logits(encoded).float()
    text = " ".join("wort" for _ in range(45))
    labels = vocabulary.encode(text)
    print(f"1 x 15 s: encoder {encoder:.0f} ms, {logits.size(1)} frames, a text of {len(labels)} letters")
    head = fastest(lambda: model.ctc_logits(encoded), 4 * repeats)
    path = fastest(lambda: align(logits[0], labels), 4 * repeats)
    words = fastest(lambda: time_words(logits[0], text, vocabulary, frame_s=frame_seconds(model)), 4 * repeats)
    both = fastest(
        lambda: time_words(model.ctc_logits(encoded)[0], text, vocabulary, frame_s=frame_seconds(model)), 4 * repeats
    )
    print(
        f"  CTC head {head:.1f} ms; alignment of letters {path:.1f} ms, of words {words:.1f} ms; together {both:.1f} ms"
    )
    # A head that is trained is nearly always sure: blank at most frames, one letter at the others.
    sure = torch.zeros_like(logits)
    sure[0, :, 0] = 12
    sure[0, ::4, 0], places = 0, torch.arange(0, logits.size(1), 4)
    sure[0, places, torch.randint(5, len(vocabulary), (len(places),))] = 12
    for name, scores in (("random", logits), ("sure", sure)):
        for floor in (float("-inf"), -12.0):
            options = PrefixOptions(beam=32, label_floor=floor)
            took = fastest(lambda s=scores, o=options: ctc_prefix_search(s, encoded.lengths, o), 2)  # type: ignore[misc]
            print(f"  prefix search, beam 32, {name} scores, label_floor {floor}: {took:.0f} ms")


if __name__ == "__main__":
    main()
