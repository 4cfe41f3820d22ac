"""What becomes of speech when it lies in an hour of other things: long recordings against the same clips one by one.

    python research/hour.py quality --checkpoint run/checkpoint_best.pt --clips DATA/test_de_en.tsv --minutes 60
    python research/hour.py cost --clips DATA/test_de_en.tsv --minutes 10 180

``quality`` joins clips of a manifest with pauses, noise, tones and music between them, translates the recording, and prints how
word errors, BLEU and the boundaries of words differ from those of the clips alone, how many words are written where nobody
speaks, and how much speech is in no segment. ``cost`` prints speed and memory at each length, with random weights of a
published shape, which end a translation soon, so that it is the tokens of a segment rather than their worth that count.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from difflib import SequenceMatcher
from functools import partial
from pathlib import Path

import torch
from hour_recording import Clip, Stretch, write_recording

from st.audio.reading import read_audio
from st.data.manifest import read_manifest
from st.evaluation.scoring.resegmentation import resegment
from st.evaluation.scoring.scores import score_transcripts, score_translations
from st.evaluation.scoring.segment_formats import Segments
from st.inference import Translator, load_translator
from st.inference.long.segments import Segment, Word
from st.kernels.settings import tune
from st.text.languages import language
from st.text.normalisation import normalise

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "scripts"), str(ROOT / "tests")]


def decode_alone(translator: Translator, clips: Sequence[Clip], target: str) -> list[Segment]:
    """Return what is made of each clip by itself, times as in the recording."""
    waves = [read_audio(clip.audio) for clip in clips]
    decoded = translator.decode(waves, [[target]] * len(waves), times=True)
    return [
        Segment(
            clip.start,
            clip.end,
            found.transcript or "",
            tuple(
                Word(clip.start + one.start_s, clip.start + one.end_s, one.text.strip()) for one in found.words or ()
            ),
            dict(found.translations),
        )
        for clip, found in zip(clips, decoded, strict=True)
    ]


def cut(texts: Sequence[str], clips: Sequence[Clip], references: Sequence[str], code: str, folder: Path) -> list[str]:
    """Return the part of the texts of a whole recording that belongs to each clip."""
    rows = [f"{clip.start}\t{clip.end}\n" for clip in clips]
    (folder / "clips.tsv").write_text("start\tend\n" + "".join(rows), encoding="utf-8")
    given, wanted = (
        Segments(name, [(str(number), text) for number, text in enumerate(some or [""])], numbered=True)
        for name, some in (("the recording", texts), ("the clips", references))
    )
    found, _ = resegment(given, wanted, folder / "clips.tsv", code)
    return [text for _, text in found.rows]


def overlap_s(start: float, end: float, spans: Iterable[tuple[float, float]]) -> float:
    """Return how many seconds of a stretch lie in spans that do not overlap each other."""
    return sum(max(0.0, min(end, stop) - max(start, begin)) for begin, stop in spans)


def boundary_errors_ms(words: Sequence[Word], others: Sequence[Word]) -> list[float]:
    """Return how far beginnings and ends of words differ that both sides have, in the same order."""
    matcher = SequenceMatcher(None, [word.word for word in words], [word.word for word in others], autojunk=False)
    pairs = [
        (words[block.a + step], others[block.b + step])
        for block in matcher.get_matching_blocks()
        for step in range(block.size)
    ]
    return [1000 * abs(getattr(one, end) - getattr(other, end)) for one, other in pairs for end in ("start", "end")]


def lost_percent(alone: Sequence[Segment], found: Sequence[Segment]) -> float:
    """Return the share of speech in no segment; speech is what lies between the first and the last word of a clip."""
    spoken = [(one.words[0].start, one.words[-1].end) for one in alone if one.words]
    spans = [(segment.start, segment.end) for segment in found]
    total = sum(end - start for start, end in spoken)
    return 100 * (1 - sum(overlap_s(start, end, spans) for start, end in spoken) / total) if total else 0.0


def invented(stretches: Sequence[Stretch], found: Sequence[Segment]) -> Counter[str]:
    """Count the words whose middle lies in a stretch in which nobody speaks, by what is heard there."""
    counts = Counter({stretch.kind: 0 for stretch in stretches})
    for segment in found:
        for word in segment.words:
            middle = (word.start + word.end) / 2
            counts.update(one.kind for one in stretches if one.start <= middle < one.end)
    return counts


def quality(args: argparse.Namespace) -> dict[str, object]:
    """Decode the recording and the clips, and compare."""
    rows = [row for path in args.clips for row in read_manifest(path) if row.src_text.strip() and row.tgt_text.strip()]
    spoken, target = rows[0].src_lang, rows[0].tgt_lang
    translator = load_translator(args.checkpoint, device=args.device)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        clips, stretches = write_recording(
            rows, args.clips[0].parent, folder / "hour.flac", minutes=args.minutes[0], between_s=60 * args.between
        )
        result = translator.translate_long(folder / "hour.flac", to=target)
        found = list(result)
        alone = decode_alone(translator, clips, target)
        spell = partial(normalise, language=spoken)
        said = [spell(clip.row.src_text) for clip in clips]
        expected = [clip.row.tgt_text for clip in clips]
        sides = {
            "one by one": ([spell(one.text) for one in alone], [one.translations[target] for one in alone]),
            "in the recording": (
                cut([spell(one.text) for one in found], clips, said, spoken, folder),
                cut([one.translations[target] for one in found], clips, expected, target, folder),
            ),
        }
    spaced = language(spoken).spaced
    scores = {}
    for side, (transcripts, translations) in sides.items():
        errors = score_transcripts(transcripts, said, normalise=spell, where=side, spaced=spaced)
        rate = errors.wer if errors.wer is not None else errors.cer
        bleu = score_translations(target, translations, expected, where=side).bleu.value
        scores[side] = {"wer" if spaced else "cer": rate, "bleu": bleu}
    errors_ms = boundary_errors_ms(*([word for one in some for word in one.words] for some in (found, alone)))
    return {
        "recording": {"minutes": result.duration / 60, "clips": len(clips), "segments": len(found)},
        "scores": scores,
        "boundaries": {"pairs": len(errors_ms), "mean_error_ms": sum(errors_ms) / max(1, len(errors_ms))},
        "words_where_nobody_speaks": dict(invented(stretches, found)),
        "minutes_where_nobody_speaks": sum(one.end - one.start for one in stretches) / 60,
        "speech_lost_percent": lost_percent(alone, found),
    }


def random_model(folder: Path, shape: str, path: Path) -> None:
    """Write a model of random weights that ends its translations soon, for the vocabularies of a tree."""
    import reference_models as ref
    from training_checkpoints import save_training

    from st.modules.config import ctc_heads
    from st.modules.model import SpeechTranslator
    from st.modules.presets import preset
    from st.text.ctc_vocabulary import CtcVocabulary
    from st.text.vocabulary import TextVocabulary

    config = preset(shape)
    text, ctc = TextVocabulary.load(folder), CtcVocabulary.load(folder / "ctc_vocab.json")
    decoder = dataclasses.replace(config.decoder, vocab_size=len(text))
    torch.manual_seed(0)
    model = SpeechTranslator(dataclasses.replace(config, decoder=decoder, heads=ctc_heads(len(ctc))))
    save_training(ref.sharpen(ref.perturb(model), eos_bias=7.0), folder, path)


def cost_of(args: argparse.Namespace) -> dict[str, float]:
    """Translate a recording of some minutes in this process; see ``cost``."""
    from st.memory import peak_memory

    minutes, model, recording = args.worker
    target = read_manifest(args.clips[0])[0].tgt_lang
    translator = load_translator(model, device=args.device, dtype=args.dtype, keep_all=True, max_len_b=args.tokens)
    before, start = peak_memory(), time.perf_counter()
    result = translator.translate_long(recording, to=target)
    segments = sum(1 for _ in result)
    seconds = time.perf_counter() - start
    return {
        "minutes": float(minutes),
        "segments": segments,
        "rtfx": result.duration / seconds,
        "loaded_mb": before / 1e6,
        "peak_mb": peak_memory() / 1e6,
    }


def cost(args: argparse.Namespace) -> list[dict[str, object]]:
    """Measure each length in a process of its own."""
    from bench_common import run_worker

    rows, folder, found = read_manifest(args.clips[0]), args.clips[0].parent, []
    with tempfile.TemporaryDirectory() as name:
        model = args.checkpoint or Path(name) / "random.pt"
        if args.checkpoint is None:
            random_model(folder, args.shape, model)
        for minutes in args.minutes:
            recording = Path(name) / f"{minutes:g}.flac"
            write_recording(rows, folder, recording, minutes=minutes, between_s=60 * minutes * args.between / 60)
            found.append(run_worker([__file__, *sys.argv[1:], "--worker", f"{minutes:g}", str(model), str(recording)]))
            recording.unlink()
    return found


def main() -> None:
    """Measure and print JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("quality", "cost"))
    parser.add_argument(
        "--clips", type=Path, nargs="+", required=True, help="manifests of one direction of a prepared tree"
    )
    parser.add_argument("--checkpoint", type=Path, help="model; cost needs none (default: random weights of --shape)")
    parser.add_argument(
        "--minutes", type=float, nargs="+", default=[60.0], help="length of each recording (default: 60)"
    )
    parser.add_argument(
        "--between", type=float, default=10.0, help="minutes in an hour in which nobody speaks (default: 10)"
    )
    parser.add_argument("--shape", default="300m", help="published shape of random weights (default: 300m)")
    parser.add_argument("--dtype", default="bfloat16", help="numbers of cost (default: bfloat16)")
    parser.add_argument("--tokens", type=int, default=24, help="most tokens of a translation, of cost (default: 24)")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--worker", nargs=3, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.what == "quality" and args.checkpoint is None:
        parser.error("quality needs --checkpoint")
    tune(args.threads)
    found = cost_of(args) if args.worker else {"quality": quality, "cost": cost}[args.what](args)
    print(json.dumps(found, indent=None if args.worker else 2))


if __name__ == "__main__":
    main()
