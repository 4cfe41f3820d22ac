"""Speed in 8 bits beside CTranslate2, ONNX Runtime and Whisper, in turns, with random weights of true shape.

    pip install ctranslate2 onnxruntime onnx
    python scripts/bench_int8_peers.py                    # all sides, three rounds; about 12 minutes on two cores
    python scripts/bench_int8_peers.py --sides ours-int8,whisper-small-int8 --rounds 1

Sides named `ours-…` are those of bench_decoding.py: XLS-R 300M with mBART-50's decoder. CTranslate2 has the same encoder with a
CTC head and, apart from it, mBART-50's decoder: no model of it has both. The decoder attends to as many states as ours, made
of text by a single layer, whose time is in the decoder's. ONNX Runtime has the encoder with a CTC head, as
`st convert --to onnx --dtype int8` writes it. Whisper is what faster-whisper runs (CTranslate2), without its features and its
detector of speech: it hears stretches of 30 s, and as many tokens are forced as the others write of the same audio.
"""

from __future__ import annotations

import json
import sys
import time
from argparse import Namespace
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from bench_common import ROOT, markdown, median
from bench_decoding import SIDES as OURS
from bench_decoding import SPEECH, TAG, TEXT, VOCAB, main
from bench_decoding import worker as our_worker

from st.inference.rates import matmul_rate, rtfx

sys.path.insert(0, str(ROOT / "tests"))
import reference_models as ref

from st.modules.encoder_config import XLSR_CONV_LAYERS
from st.text.vocabulary import SPECIALS

SAMPLE_RATE = 16000
WHISPER_S, WHISPER_FRAMES = 30, 3000
"""What Whisper hears at a time: seconds, and frames of its spectrogram."""
WHISPER = {  # width, layers of the encoder and of the decoder, heads (Radford et al. 2022, arXiv:2212.04356)
    "small": (768, 12, 12),
    "medium": (1024, 24, 16),
}
WHISPER_VOCAB, WHISPER_END = 51865, 50257
PROMPT = [50258, 50259, 50359, 50363]  # start of transcript, English, transcribe, no timestamps
SIDES = {side: OURS[side] for side in ("ours", "ours-bf16", "ours-int8", "ours-bf16-32k", "ours-int8-32k")} | {
    "onnx-int8": "ONNX Runtime int8, encoder",
    "ctranslate2-int8": "CTranslate2 int8, encoder; decoder",
    "whisper-small-int8": "Whisper small int8 (CTranslate2)",
    "whisper-medium-int8": "Whisper medium int8 (CTranslate2)",
}


def ctc_model() -> Any:
    """Return transformers' encoder of the shape of XLS-R 300M with a head for 40 letters."""
    import transformers

    torch.manual_seed(0)
    config = ref.wav2vec2_config(SPEECH, XLSR_CONV_LAYERS, vocab_size=40, pad_token_id=0)
    return transformers.Wav2Vec2ForCTC(config).eval()


def write_ctranslate2(make: Callable[[], Any], out: Path, tokens: list[str]) -> None:
    """Write a model of transformers for CTranslate2 in int8, as its own converter does, unless it is there."""
    from ctranslate2.converters import transformers as theirs

    if out.exists():
        return
    names = SimpleNamespace(
        bos_token=tokens[0], eos_token=tokens[2], unk_token=tokens[3], additional_special_tokens=[],
        convert_ids_to_tokens=lambda number: tokens[number],
    )  # fmt: skip
    model = make()
    loader = theirs._MODEL_LOADERS[type(model.config).__name__]
    with torch.no_grad():
        spec = loader.get_model_spec(model)
        loader.set_config(spec.config, model, names)
        loader.set_vocabulary(spec, tokens)
        spec.validate()
        spec.optimize(quantization="int8")
    new = out.with_name(f"{out.name}.new")
    new.mkdir(parents=True, exist_ok=True)
    spec.save(str(new))
    new.rename(out)


def mbart() -> Any:
    """Return mBART-50's decoder behind an encoder of one layer."""
    from transformers import MBartConfig, MBartForConditionalGeneration

    torch.manual_seed(0)
    config = MBartConfig(
        vocab_size=VOCAB, d_model=TEXT["dim"], encoder_layers=1, decoder_layers=TEXT["layers"], scale_embedding=True,
        encoder_ffn_dim=TEXT["ffn"], decoder_ffn_dim=TEXT["ffn"], encoder_attention_heads=TEXT["heads"],
        decoder_attention_heads=TEXT["heads"], max_position_embeddings=TEXT["positions"],
        tokenizer_class="MBart50Tokenizer",
    )  # fmt: skip
    config.normalize_before = True
    return MBartForConditionalGeneration(config).eval()


def whisper(size: str) -> Any:
    """Return a Whisper model."""
    from transformers import WhisperConfig, WhisperForConditionalGeneration

    width, layers, heads = WHISPER[size]
    torch.manual_seed(0)
    config = WhisperConfig(
        vocab_size=WHISPER_VOCAB, d_model=width, encoder_layers=layers, decoder_layers=layers, encoder_ffn_dim=4 * width,
        decoder_ffn_dim=4 * width, encoder_attention_heads=heads, decoder_attention_heads=heads,
    )  # fmt: skip
    return WhisperForConditionalGeneration(config).eval()


def whisper_tokens() -> list[str]:
    """Return a vocabulary with the names that CTranslate2 looks for at their places."""
    tokens = [f"t{number}" for number in range(WHISPER_VOCAB)]
    names = {WHISPER_END: "<|endoftext|>", 50258: "<|startoftranscript|>", 50259: "<|en|>", 50358: "<|translate|>",
             50359: "<|transcribe|>", 50360: "<|startoflm|>", 50361: "<|startofprev|>", 50362: "<|nospeech|>",
             50363: "<|notimestamps|>", 50364: "<|0.00|>"}  # fmt: skip
    for number, name in names.items():
        tokens[number] = name
    return tokens


def timed(function: Any) -> tuple[Any, float]:
    """Return what a function returns, and the seconds it takes."""
    start = time.perf_counter()
    result = function()
    return result, time.perf_counter() - start


def run_onnx(args: Namespace) -> dict[str, float]:
    """Encode with ONNX Runtime."""
    import onnxruntime

    from st.checkpoints.convert import convert

    folder = args.work / "onnx"
    if not folder.exists():
        source = args.work / "ctc"
        ctc_model().save_pretrained(source)
        labels = ["<pad>", "<s>", "</s>", "<unk>", "|", *map(chr, range(0x430, 0x430 + 35))]
        (source / "vocab.json").write_text(json.dumps({label: number for number, label in enumerate(labels)}))
        convert(source, folder, "onnx", dtype="int8")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = args.threads
    session = onnxruntime.InferenceSession(folder / "model.int8.onnx", options)
    waves, lengths = ref.waves([round(args.seconds * SAMPLE_RATE)] * args.batch)
    given = {"input_values": waves.numpy(), "input_lengths": lengths.numpy()}
    session.run(None, given)
    return {"encoder": timed(lambda: session.run(None, given))[1]}


def settings(args: Namespace) -> dict[str, Any]:
    """Return how CTranslate2 is to compute."""
    return {"device": "cpu", "compute_type": "int8", "intra_threads": args.threads, "inter_threads": 1}


def run_ctranslate2(args: Namespace) -> dict[str, float]:
    """Encode with one model of CTranslate2, and decode with another."""
    return {"encoder": encode_ctranslate2(args), "decoder": decode_ctranslate2(args), "tokens": args.tokens}


def encode_ctranslate2(args: Namespace) -> float:
    """Return the seconds of the encoder and its CTC head."""
    import ctranslate2

    folder = args.work / "ct2-ctc"
    write_ctranslate2(ctc_model, folder, [f"c{number}" for number in range(40)])
    encoder = ctranslate2.models.Wav2Vec2(str(folder), **settings(args))
    waves, _ = ref.waves([round(args.seconds * SAMPLE_RATE)] * args.batch)
    features = ctranslate2.StorageView.from_array(np.ascontiguousarray(waves.numpy()[:, None]))
    return [timed(lambda: encoder.encode(features, to_cpu=True))[1] for _ in range(2)][1]


def decode_ctranslate2(args: Namespace) -> float:
    """Return the seconds of the decoder."""
    import ctranslate2

    folder = args.work / "ct2-mbart"
    write_ctranslate2(mbart, folder, [*SPECIALS, *(f"s{number}" for number in range(VOCAB - len(SPECIALS)))])
    translator = ctranslate2.Translator(str(folder), **settings(args))
    states = round(args.seconds * 50 / 8)  # as the length adaptor leaves
    source = [[f"s{row + 10 * n}" for n in range(states)] for row in range(args.batch)]
    prefix = [[f"s{TAG - len(SPECIALS)}"]] * args.batch

    def decode(tokens: int) -> Any:
        return translator.translate_batch(
            source, prefix, beam_size=args.beam, min_decoding_length=tokens, max_decoding_length=tokens
        )

    decode(2)
    found, seconds = timed(lambda: decode(args.tokens))
    require_tokens({len(result.hypotheses[0]) for result in found}, args.tokens)
    return seconds


def require_tokens(written: set[int], wanted: int) -> None:
    """Stop unless all sentences have as many tokens as were asked for, with or without the language's."""
    if not all(abs(length - wanted) <= 1 for length in written):
        raise SystemExit(f"CTranslate2 wrote {written} tokens; {wanted} were asked for")


def run_whisper(args: Namespace) -> dict[str, float]:
    """Encode and decode stretches of 30 s."""
    import ctranslate2

    size = args.side.split("-")[1]
    folder = args.work / f"ct2-whisper-{size}"
    write_ctranslate2(partial(whisper, size), folder, whisper_tokens())
    model = ctranslate2.models.Whisper(str(folder), **settings(args))
    stretches = -(-round(args.batch * args.seconds) // WHISPER_S)
    spectrograms = np.random.default_rng(0).standard_normal((stretches, 80, WHISPER_FRAMES), dtype=np.float32)
    features = ctranslate2.StorageView.from_array(spectrograms)
    states, encode = [timed(lambda: model.encode(features)) for _ in range(2)][1]

    def decode(tokens: int) -> Any:
        return model.generate(  # half of the length is the most that it writes
            states, [PROMPT] * stretches, beam_size=args.beam, max_length=2 * max(tokens, len(PROMPT)),
            suppress_tokens=[WHISPER_END], suppress_blank=False,
        )  # fmt: skip

    tokens = -(-args.batch * args.tokens // stretches)
    decode(2)
    found, seconds = timed(lambda: decode(tokens))
    require_tokens({len(result.sequences_ids[0]) for result in found}, tokens)
    return {"encoder": encode, "decoder": seconds, "tokens": tokens}


RUNNERS = {"onnx": run_onnx, "ctranslate2": run_ctranslate2, "whisper": run_whisper}


def worker(args: Namespace) -> dict[str, Any]:
    """Measure one side, once warm."""
    if args.side.startswith("ours"):
        return our_worker(args)
    torch.set_num_threads(args.threads)
    return {**RUNNERS[args.side.split("-")[0]](args), "rate": matmul_rate(torch.int8)}


def report(args: Namespace, results: dict[str, list[dict[str, Any]]]) -> str:
    """Return the table."""
    audio = args.batch * args.seconds
    header = ["", "encoder s", "RTFx of it", "decoder s", "ms a step", "RTFx of both"]
    rows = []
    for side, found in results.items():
        encoder = median(found, "encoder")
        row = [SIDES[side], f"{encoder:.2f}", f"{rtfx(audio, encoder):.1f}", "", "", ""]
        if "decoder" in found[0]:
            decoder = median(found, "decoder")
            steps = args.tokens if side.startswith("ours") else int(found[0]["tokens"])
            row[3:] = [f"{decoder:.2f}", f"{1e3 * decoder / (steps + 1):.0f}", f"{rtfx(audio, encoder + decoder):.1f}"]
        rows.append(row)
    note = (
        f"{args.batch} × {args.seconds} s, beam {args.beam}, {args.tokens} tokens each, {args.threads} threads, medians of "
        f"{args.rounds}; products of this machine, in GFLOP/s: "
        + ", ".join(f"{side} {median(found, 'rate'):.0f}" for side, found in results.items())
    )
    return f"{markdown(header, rows)}\n\n{note}"


if __name__ == "__main__":
    main(__file__, __doc__, list(SIDES), worker, report, seconds=7.5, holds="the models' files, 10 GB")
