"""Translate the same batch with this project, stock fairseq and transformers, in turns, and compare tokens and times.

    python scripts/bench_decoding.py                      # all sides, three rounds; about 15 minutes on two cores
    python scripts/bench_decoding.py --sides fairseq,ours --rounds 1
    python scripts/bench_decoding.py --sides ours,ours-bf16,ours-int8,ours-bf16-32k,ours-int8-32k

The model has the shape of XLS-R 300M with mBART-50's decoder (792,989,312 parameters) and random weights. A batch of
recordings goes through encoder and decoder with a beam; every sentence is forced to the same number of tokens, so that
all sides do the same work. "tuned" gives the other side the CPU settings that this project makes for itself.
"""

from __future__ import annotations

import dataclasses
import json
import sys
import time
from argparse import Namespace
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from bench_common import (
    ROOT,
    markdown,
    median,
    step_floor,
    step_work,
    take_turns,
    timed,
    turn_arguments,
)

from st.inference.rates import encoder_work, matmul_rate

sys.path.insert(0, str(ROOT / "tests"))
import reference_models as ref

from st.modules.encoder_config import XLSR_CONV_LAYERS
from st.modules.presets import preset

SPEECH = {"dim": 1024, "ffn": 4096, "heads": 16, "layers": 24, "kernel": 128, "groups": 16}
TEXT = {"dim": 1024, "ffn": 4096, "heads": 16, "layers": 12, "positions": 1024}
CONV_TEXT = str(list(XLSR_CONV_LAYERS))
VOCAB, SMALL_VOCAB = 250054, 32000
TAG = 250003
SIDES = {
    "fairseq": "fairseq fp32",
    "fairseq-tuned": "fairseq fp32, our CPU settings",
    "transformers": "transformers fp32",
    "transformers-tuned": "transformers fp32, our CPU settings",
    "transformers-bf16": "transformers bf16, our CPU settings",
    "ours": "this project fp32",
    "ours-bf16": "this project bf16",
    "ours-bf16-32k": "this project bf16, 32k vocabulary",
    "ours-int8": "this project int8",
    "ours-int8-32k": "this project int8, 32k vocabulary",
}


def numbers(side: str) -> torch.dtype:
    """Return what a side computes with."""
    return torch.int8 if "int8" in side else torch.bfloat16 if "bf16" in side else torch.float32


def make_files(folder: Path) -> None:
    """Write the model once, in fairseq's and in transformers' form."""
    from safetensors.torch import save_file

    if (folder / "done").exists():
        return
    folder.mkdir(parents=True, exist_ok=True)
    model = ref.speech_translator(VOCAB, speech=SPEECH, text=TEXT, conv_layers=XLSR_CONV_LAYERS)
    model.save_pretrained(folder / "hf")
    from st.checkpoints.formats.fairseq.names import to_fairseq
    from st.checkpoints.loading import read_contents

    save_file(
        {k: v.contiguous() for k, v in to_fairseq(read_contents(folder / "hf").state).items()},
        folder / "xm.safetensors",
    )
    (folder / "done").touch()


def batch(args: Namespace) -> tuple[torch.Tensor, torch.Tensor]:
    """Return waves of the asked length, standardised, and their lengths."""
    return ref.waves([round(args.seconds * 16000)] * args.batch)


def run_fairseq(args: Namespace, tokens: int, totals: dict[str, float]) -> list[list[int]]:
    """Translate with stock ``xm_transformer`` and ``SequenceGenerator``."""
    from fairseq.sequence_generator import SequenceGenerator
    from safetensors.torch import load_file

    model = args.state.get("model")
    if model is None:
        from st.checkpoints.assemble import _NoDraws

        symbols = [f"s{n}" for n in range(VOCAB - 4)]
        with _NoDraws():
            model = ref.build_fairseq_xm(ref.xm_settings(SPEECH, TEXT, CONV_TEXT), symbols)
        weights = load_file(args.work / "xm.safetensors")
        missing, unexpected = torch.nn.Module.load_state_dict(model, weights, strict=False, assign=True)
        left = [key for key in missing if not key.endswith(("output_projection.weight", "version"))]
        left = [key for key in left if "quantizer" not in key and "project_q" not in key and "final_proj" not in key]
        if left or unexpected:
            raise SystemExit(f"weights do not fit: {left} {unexpected}")
        model.decoder.output_projection.weight = model.decoder.embed_tokens.weight
        model.eval()
        args.state.update(model=model, dictionary=ref.fairseq_dictionary(symbols))
    waves, lengths = batch(args)
    generator = SequenceGenerator(
        [model], args.state["dictionary"], beam_size=args.beam, max_len_a=0, max_len_b=tokens, min_len=tokens
    )
    generator.model.forward_encoder = timed(generator.model.forward_encoder, totals, "encoder")
    sample = {"net_input": {"src_tokens": waves, "src_lengths": lengths}}
    found = generator.generate([model], sample, prefix_tokens=torch.full((args.batch, 1), TAG))
    return [hypotheses[0]["tokens"].tolist()[:-1] for hypotheses in found]


def run_transformers(args: Namespace, tokens: int, totals: dict[str, float]) -> list[list[int]]:
    """Translate with ``SpeechEncoderDecoderModel.generate``."""
    from transformers import SpeechEncoderDecoderModel

    model = args.state.get("model")
    if model is None:
        model = SpeechEncoderDecoderModel.from_pretrained(args.work / "hf", dtype=numbers(args.side)).eval()
        model.encoder.forward = timed(model.encoder.forward, args.state.setdefault("totals", {}), "encoder")
        args.state["model"] = model
    args.state["totals"].clear()
    waves, _ = batch(args)
    with torch.inference_mode():
        found = model.generate(
            inputs=waves.to(model.dtype), num_beams=args.beam, forced_bos_token_id=TAG, min_new_tokens=tokens,
            max_new_tokens=tokens + 1, do_sample=False, length_penalty=1.0,
        )  # fmt: skip
    totals |= args.state["totals"]
    return [row[1 : 1 + tokens].tolist() for row in found]


def run_ours(args: Namespace, tokens: int, totals: dict[str, float]) -> list[list[int]]:
    """Translate with this project's model and beam search."""
    from st.checkpoints.assemble import build_model
    from st.checkpoints.loading import read_contents
    from st.decoding.beam_search import beam_search
    from st.decoding.options import BeamOptions
    from st.inference.precision import autocast, prepare

    small = args.side.endswith("32k")
    dtype = numbers(args.side)
    tag = SMALL_VOCAB - 1 if small else TAG
    model = args.state.get("model")
    if model is None:
        contents = read_contents(args.work / "hf", verify=False)
        config = contents.config
        config = dataclasses.replace(
            config, length_adaptor=dataclasses.replace(config.length_adaptor, legacy_padding=False, mask_input=True)
        )
        if small:
            name = "decoder.embed_tokens.weight"
            rows = torch.tensor([*range(SMALL_VOCAB - 1), TAG])
            contents.state[name] = contents.state[name].index_select(0, rows)
            config = dataclasses.replace(config, decoder=dataclasses.replace(config.decoder, vocab_size=SMALL_VOCAB))
        wanted = dtype if dtype == torch.int8 else None
        model = build_model(config, contents.state, source="benchmark", dtype=wanted, mapped=not small)
        args.state.update(model=model, computed=prepare(model, dtype))
    waves, lengths = batch(args)
    options = BeamOptions(beam=args.beam, max_len_b=tokens, min_len=tokens)
    with torch.inference_mode(), autocast(torch.device("cpu"), args.state["computed"]):
        memory = timed(lambda: model.adapt(model.encode(waves, lengths)), totals, "encoder")()
        found = beam_search(model, memory, torch.full((args.batch,), tag), options)
    return [list(hypotheses[0].tokens) for hypotheses in found]


RUNNERS = {"fairseq": run_fairseq, "transformers": run_transformers, "ours": run_ours}


def worker(args: Namespace) -> dict[str, Any]:
    """Measure one side: a short run to warm up, then the run that counts."""
    torch.set_num_threads(args.threads)
    if args.side.startswith("ours") or args.side.endswith(("tuned", "bf16")):
        from st.kernels.settings import tune

        tune(args.threads)
    run = RUNNERS[args.side.split("-")[0]]
    args.state = {}
    run(args, 2, {})
    totals: dict[str, float] = {}
    start = time.perf_counter()
    tokens = run(args, args.tokens, totals)
    seconds = time.perf_counter() - start
    dtype = numbers(args.side)
    result = {"seconds": seconds, "encoder": totals["encoder"], "decoder": seconds - totals["encoder"]}
    del args.state["model"]
    if args.side.startswith("ours"):
        config = preset("300m")
        if args.side.endswith("32k"):
            config = dataclasses.replace(config, decoder=dataclasses.replace(config.decoder, vocab_size=SMALL_VOCAB))
        result["step_floor"] = step_floor(config, args.batch * args.beam, dtype)
    return result | {"rate": matmul_rate(dtype), "tokens": tokens}


def report(args: Namespace, results: dict[str, list[dict[str, Any]]]) -> str:
    """Return the tables."""
    config = preset("300m")
    work = encoder_work(config, args.batch, round(args.seconds * 16000))
    steps = step_work(config, args.batch * args.beam) * args.tokens
    bases = [side for side in ("fairseq", "fairseq-tuned", "transformers", "transformers-tuned") if side in results]
    header = ["", "s", "encoder s", "GFLOP/s", "of matmul", "decoder s", "ms a step", "of its floor", "tokens/s",
              *(f"× {side}" for side in bases), "same tokens"]  # fmt: skip
    rows = []
    reference = results[next(iter(results))][0]["tokens"]
    for side, found in results.items():
        total, encoder, decoder = (median(found, key) for key in ("seconds", "encoder", "decoder"))
        rate, step = median(found, "rate"), decoder / (args.tokens + 1)
        floor = f"{step / median(found, 'step_floor'):.2f}" if "step_floor" in found[0] else ""
        same = sum(one == other for one, other in zip(found[0]["tokens"], reference, strict=True))
        rows.append([
            SIDES[side], f"{total:.2f}", f"{encoder:.2f}", f"{work / encoder / 1e9:.0f}", f"{work / encoder / 1e9 / rate:.0%}",
            f"{decoder:.2f}", f"{1e3 * step:.0f}", floor, f"{args.batch * args.tokens / decoder:.0f}",
            *(f"{median(results[base], 'seconds') / total:.2f}" for base in bases), f"{same}/{args.batch}",
        ])  # fmt: skip
    note = (
        f"{args.batch} × {args.seconds} s, beam {args.beam}, {args.tokens} tokens, {args.threads} threads, "
        f"medians of {args.rounds}; encoder {work / 1e9:.0f} GFLOP, decoder {steps / 1e9:.0f} GFLOP; matrix products: "
        + ", ".join(f"{SIDES[side]} {median(found, 'rate'):.0f} GFLOP/s" for side, found in results.items())
    )
    return f"{markdown(header, rows)}\n\n{note}"


def main(
    script: str,
    description: str | None,
    sides: Sequence[str],
    work: Callable[[Namespace], dict[str, Any]],
    table: Callable[[Namespace, dict[str, list[dict[str, Any]]]], str],
    *,
    seconds: float,
    holds: str,
) -> None:
    """Run a benchmark of decoding, or one side of it: ``work`` measures a side, ``table`` tells what all have found."""
    parser = turn_arguments(description, sides, seconds=seconds, tokens="30 forced tokens of each sentence",
                            work="st-bench-300m", holds=holds)  # fmt: skip
    parser.add_argument("--beam", type=int, default=5, help="default: 5")
    args = parser.parse_args()
    if args.side:
        print(json.dumps(work(args)))
        return
    make_files(args.work)
    options = [f"--{name}={getattr(args, name)}" for name in ("batch", "seconds", "beam", "tokens", "threads", "work")]
    results = take_turns([script, *options, "--worker"], args.sides.split(","), args.rounds)
    print(table(args, results))


if __name__ == "__main__":
    main(__file__, __doc__, list(SIDES), worker, report, seconds=5.5, holds="the model's files, 6.4 GB")
