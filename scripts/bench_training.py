"""Train on the same batch with this project and with stock fairseq's ``xm_transformer``, in turns; compare loss and time.

    python scripts/bench_training.py                    # XLS-R 300M with mBART-50's decoder: 20 GB, half an hour
    python scripts/bench_training.py --preset tiny      # the shape of the demo: a minute

A step is forward, backward and Adam on one batch. Weights are random and the same on all sides, dropout and masking are
off, so the losses of the first step must agree. fairseq's model gets only what it needs to start on this torch; "tuned"
gives it the CPU settings that this project makes for itself.
"""

from __future__ import annotations

import dataclasses
import json
import statistics
import sys
import time
from argparse import Namespace
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from bench_common import (
    ROOT,
    markdown,
    median,
    step_work,
    take_turns,
    turn_arguments,
)

from st.inference.rates import encoder_work, matmul_rate
from st.memory import peak_memory

sys.path.insert(0, str(ROOT / "tests"))
import reference_models as ref

from st.modules.config import ModelConfig
from st.modules.presets import preset

SMALL_VOCAB = 32000
SMOOTHING = 0.2
RATE = 1e-6
SIDES = {
    "fairseq": "fairseq fp32",
    "fairseq-tuned": "fairseq fp32, our CPU settings",
    "ours": "this project fp32",
    "ours-bf16": "this project bf16",
    "ours-bf16-32k": "this project bf16, 32k vocabulary",
}
Step = Callable[[], float]


def shape(args: Namespace) -> ModelConfig:
    """Return the model's shape; the side may cut the vocabulary."""
    config = preset(args.preset)
    if (args.side or "").endswith("32k"):
        config = dataclasses.replace(config, decoder=dataclasses.replace(config.decoder, vocab_size=SMALL_VOCAB))
    return config


def weights_file(args: Namespace) -> Path:
    """Write random weights once, under fairseq's names."""
    from safetensors.torch import save_file

    from st.checkpoints.formats.fairseq.names import to_fairseq
    from st.modules.model import SpeechTranslator

    path = args.work / f"{args.preset}.safetensors"
    if not path.exists():
        args.work.mkdir(parents=True, exist_ok=True)
        torch.manual_seed(0)
        state = to_fairseq(ref.perturb(SpeechTranslator(preset(args.preset))).state_dict())
        save_file({name: tensor.contiguous() for name, tensor in state.items()}, path)
    return path


def batch(args: Namespace, vocab_size: int) -> tuple[torch.Tensor, ...]:
    """Return waves, lengths, decoder inputs and targets."""
    waves, lengths = ref.waves([round(args.seconds * 16000)] * args.batch)
    generator = torch.Generator().manual_seed(4)
    target = torch.randint(4, min(vocab_size, SMALL_VOCAB), (args.batch, args.tokens), generator=generator)
    target[:, -1] = 2
    return waves, lengths, torch.cat([torch.full_like(target[:, :1], 2), target[:, :-1]], 1), target


def fairseq_step(args: Namespace) -> Step:
    """Return a step of stock fairseq: its model, its criterion, its Adam."""
    from fairseq.criterions.label_smoothed_cross_entropy import LabelSmoothedCrossEntropyCriterion
    from fairseq.optim.adam import Adam
    from safetensors.torch import load_file

    from st.checkpoints.assemble import _NoDraws

    config = preset(args.preset)
    speech, text = config.encoder, config.decoder
    settings = ref.xm_settings(
        {"dim": speech.dim, "ffn": speech.ffn_dim, "heads": speech.num_heads, "layers": speech.num_layers,
         "kernel": speech.pos_conv_kernel, "groups": speech.pos_conv_groups},
        {"dim": text.dim, "ffn": text.ffn_dim, "heads": text.num_heads, "layers": text.num_layers,
         "positions": text.max_positions},
        str(list(speech.conv_layers)),
    )  # fmt: skip
    settings.adaptor_n_layers = config.length_adaptor.num_layers
    symbols = [f"s{n}" for n in range(text.vocab_size - 4)]
    with _NoDraws():
        model = ref.build_fairseq_xm(settings, symbols)
    missing, unexpected = model.load_state_dict(load_file(weights_file(args)), strict=False)
    left = [name for name in missing if not name.endswith(("output_projection.weight", "version"))]
    if unexpected or any("w2v_model.quantizer" not in name and "project_q" not in name for name in left):
        raise SystemExit(f"weights do not fit: {left} {unexpected}")
    model.train()
    task = Namespace(target_dictionary=ref.fairseq_dictionary(symbols))
    criterion = LabelSmoothedCrossEntropyCriterion(task, sentence_avg=False, label_smoothing=SMOOTHING)
    optimizer = Adam([p for p in model.parameters() if p.requires_grad], lr=RATE, betas=(0.9, 0.98))
    waves, lengths, previous, target = batch(args, text.vocab_size)
    net_input = {"src_tokens": waves, "src_lengths": lengths, "prev_output_tokens": previous}
    sample = {"net_input": net_input, "target": target, "ntokens": target.numel()}

    def step() -> float:
        optimizer.zero_grad()
        loss, _, _ = criterion(model, sample)
        loss.backward()
        optimizer.step()
        return float(loss.detach())

    return step


def our_step(args: Namespace) -> Step:
    """Return a step of this project: its model, its loss, its optimizer."""
    from safetensors.torch import load_file

    from st.checkpoints.assemble import build_model
    from st.checkpoints.formats.fairseq.names import from_fairseq
    from st.kernels.cross_entropy import smoothed_cross_entropy

    config = shape(args)
    state = from_fairseq(load_file(weights_file(args)))
    name = "decoder.embed_tokens.weight"
    state[name] = state[name][: config.decoder.vocab_size]
    model = build_model(config, {name: tensor.clone() for name, tensor in state.items()}, source="benchmark").train()
    del state
    optimizer = torch.optim.AdamW(model.parameters(), lr=RATE, betas=(0.9, 0.98), weight_decay=0.0, fused=True)
    waves, lengths, previous, target = batch(args, config.decoder.vocab_size)

    def step() -> float:
        optimizer.zero_grad()
        with torch.autocast("cpu", torch.bfloat16, enabled="bf16" in args.side):
            logits = model(waves, lengths, previous)
            loss, _ = smoothed_cross_entropy(logits, target, SMOOTHING, config.decoder.pad)
        loss.backward()
        optimizer.step()
        return float(loss.detach())

    return step


def worker(args: Namespace) -> dict[str, Any]:
    """Measure one side: a first step, which also warms up, then the steps that count."""
    torch.set_num_threads(args.threads)
    if args.side != "fairseq":
        from st.kernels.settings import tune

        tune(args.threads)
    step = fairseq_step(args) if args.side.startswith("fairseq") else our_step(args)
    losses, times = [step()], []
    for _ in range(args.steps):
        start = time.perf_counter()
        losses.append(step())
        times.append(time.perf_counter() - start)
    dtype = torch.bfloat16 if "bf16" in args.side else torch.float32
    return {
        "seconds": statistics.median(times),
        "first_loss": losses[0],
        "last_loss": losses[-1],
        "memory": peak_memory() / 1e9,
        "rate": matmul_rate(dtype),
    }


def report(args: Namespace, results: dict[str, list[dict[str, Any]]]) -> str:
    """Return the table."""
    bases = [side for side in ("fairseq", "fairseq-tuned") if side in results]
    header = ["", "s a step", "utterances/s", "GFLOP/s", "of matmul", *(f"× {side}" for side in bases), "peak GB",
              "loss of step 1"]  # fmt: skip
    rows = []
    for side, found in results.items():
        config = shape(Namespace(preset=args.preset, side=side))
        samples = round(args.seconds * 16000)
        work = 3 * (encoder_work(config, args.batch, samples) + step_work(config, args.batch * args.tokens))
        seconds, rate = median(found, "seconds"), median(found, "rate")
        rows.append([
            SIDES[side], f"{seconds:.2f}", f"{args.batch / seconds:.2f}", f"{work / seconds / 1e9:.0f}",
            f"{work / seconds / 1e9 / rate:.0%}", *(f"{median(results[base], 'seconds') / seconds:.2f}" for base in bases),
            f"{median(found, 'memory'):.1f}", f"{found[0]['first_loss']:.4f}",
        ])  # fmt: skip
    note = (
        f"{args.preset}: {args.batch} × {args.seconds} s, {args.tokens} tokens each, {args.threads} threads, medians of "
        f"{args.rounds} rounds of {args.steps} steps; matrix products: "
        + ", ".join(f"{SIDES[side]} {median(found, 'rate'):.0f} GFLOP/s" for side, found in results.items())
    )
    return f"{markdown(header, rows)}\n\n{note}"


def main() -> None:
    """Run the benchmark, or one side of it."""
    parser = turn_arguments(__doc__, list(SIDES), seconds=4.0, tokens="24 target tokens of each",
                            work="st-bench-training", holds="the weights, 3.2 GB")  # fmt: skip
    parser.add_argument("--preset", default="300m", help="shape of the model (default: 300m)")
    parser.add_argument("--steps", type=int, default=3, help="steps of a turn, after one to warm up (default: 3)")
    args = parser.parse_args()
    if args.side:
        print(json.dumps(worker(args)))
        return
    weights_file(args)
    names = ("preset", "steps", "batch", "seconds", "tokens", "threads", "work")
    options = [f"--{name}={getattr(args, name)}" for name in names]
    sides = [side for side in args.sides.split(",") if args.preset != "tiny" or not side.endswith("32k")]
    results = take_turns([__file__, *options, "--worker"], sides, args.rounds)
    print(report(args, results))


if __name__ == "__main__":
    main()
