"""Pre-train on the same batch with this project, transformers and fairseq, in turns; compare loss, time and memory.

    python scripts/bench_pretraining.py --shape small   # 6 layers of width 256
    python scripts/bench_pretraining.py --shape 300m    # XLS-R 300M: 10 GB

A step is the draws, forward, backward and the objective's gradients on one batch; no optimizer, which is the same work for
all. Weights are random and the same on all sides, dropout is off. Masks and distractors are each side's own in time; so losses
of the first step agree within what they scatter, not to the digit: that is what the tests compare.
"""

from __future__ import annotations

import json
import math
import statistics
import sys
import time
from argparse import Namespace
from collections.abc import Callable
from typing import Any

import torch
from bench_common import ROOT, markdown, median, take_turns, turn_arguments

from st.memory import peak_memory

sys.path.insert(0, str(ROOT / "tests"))
import reference_models as ref

CONV_LAYERS = ((512, 10, 5), *((512, 3, 2),) * 4, *((512, 2, 2),) * 2)
SHAPES = {
    "small": {"dim": 256, "ffn": 1024, "heads": 4, "layers": 6, "kernel": 128, "groups": 16},
    "300m": {"dim": 1024, "ffn": 4096, "heads": 16, "layers": 24, "kernel": 128, "groups": 16},
}
FINAL_DIMS = {"small": 256, "300m": 768}
MASK_PROB, MASK_LENGTH, TEMPERATURE, NEGATIVES, ENTRIES = 0.65, 10, 2.0, 100, 320
SIDES = {
    f"{kind}{ending}": f"{name} {precision}"
    for ending, precision in (("", "fp32"), ("-bf16", "bf16"))
    for kind, name in (("transformers", "transformers"), ("fairseq", "fairseq"), ("ours", "this project"))
}
Step = Callable[[], tuple[torch.Tensor, int]]
"""Returns the loss in nats and how many frames were masked."""


def their_config(args: Namespace) -> Any:
    """Return the settings of transformers' model."""
    dim = FINAL_DIMS[args.shape]
    return ref.wav2vec2_config(
        SHAPES[args.shape], CONV_LAYERS, num_codevectors_per_group=ENTRIES, num_negatives=NEGATIVES, codevector_dim=dim,
        proj_codevector_dim=dim, feat_quantizer_dropout=0.0, activation_dropout=0.0, final_dropout=0.0,
        mask_time_prob=MASK_PROB, mask_time_length=MASK_LENGTH, mask_feature_prob=0.0,
    )  # fmt: skip


def transformers_step(args: Namespace, waves: torch.Tensor) -> Step:
    """Return a step as transformers' example script makes it."""
    import transformers
    from transformers.models.wav2vec2.modeling_wav2vec2 import _compute_mask_indices, _sample_negative_indices

    torch.manual_seed(0)
    model = transformers.Wav2Vec2ForPreTraining(their_config(args)).train()
    model.set_gumbel_temperature(TEMPERATURE)
    frames = int(model._get_feat_extract_output_lengths(waves.size(1)))

    def step() -> tuple[torch.Tensor, int]:
        shape = (len(waves), frames)
        mask = _compute_mask_indices(shape, MASK_PROB, MASK_LENGTH, min_masks=2)
        negatives = torch.from_numpy(_sample_negative_indices(shape, NEGATIVES, mask_time_indices=mask))
        output = model(waves, mask_time_indices=torch.from_numpy(mask), sampled_negative_indices=negatives)
        return output.loss, int(mask.sum())

    return step


def fairseq_step(args: Namespace, waves: torch.Tensor) -> Step:
    """Return a step of fairseq's model and the terms that its criterion adds."""
    dim = FINAL_DIMS[args.shape]
    settings = ref.w2v_settings(SHAPES[args.shape], str([*CONV_LAYERS])) | {
        "num_negatives": NEGATIVES, "latent_vars": ENTRIES, "final_dim": dim, "dropout_input": 0.0, "dropout_features": 0.0,
        "mask_prob": MASK_PROB, "mask_length": MASK_LENGTH, "latent_temp": [TEMPERATURE, 0.1, 0.999995],
    }  # fmt: skip
    model = ref.fairseq_wav2vec2(settings).train()

    def step() -> tuple[torch.Tensor, int]:
        output = model(waves, padding_mask=None, mask=True)
        logits = model.get_logits(output).float()
        targets = model.get_targets(None, output)
        loss = torch.nn.functional.cross_entropy(logits, targets, reduction="sum")
        diversity = model.get_extra_losses(output)[0]
        return loss + 0.1 * diversity * len(logits), len(logits)

    return step


def our_step(args: Namespace, waves: torch.Tensor) -> Step:
    """Return a step of this project."""
    from st.modules.encoder_config import EncoderConfig
    from st.modules.pretraining.config import PretrainingConfig
    from st.modules.pretraining.model import SpeechPretrainer

    shape = SHAPES[args.shape]
    encoder = EncoderConfig(
        conv_layers=CONV_LAYERS, dim=shape["dim"], ffn_dim=shape["ffn"], num_heads=shape["heads"],
        num_layers=shape["layers"], pos_conv_kernel=shape["kernel"], pos_conv_groups=shape["groups"],
        mask_time_prob=MASK_PROB, mask_time_length=MASK_LENGTH,
    )  # fmt: skip
    torch.manual_seed(0)
    model = SpeechPretrainer(encoder, PretrainingConfig(final_dim=FINAL_DIMS[args.shape])).train()
    lengths = torch.full((len(waves),), waves.size(1))
    updates = 0

    def step() -> tuple[torch.Tensor, int]:
        nonlocal updates
        updates += 1
        draws = model.draw(waves, lengths, [(0, updates, row) for row in range(len(waves))])
        found = model(waves, lengths, draws)
        return found.contrastive_loss() + 0.1 * found.diversity * found.num_targets, found.num_targets

    return step


STEPS = {"transformers": transformers_step, "fairseq": fairseq_step, "ours": our_step}


def worker(args: Namespace) -> dict[str, Any]:
    """Measure one side: a first step, which also warms up, then the steps that count."""
    from st.kernels.settings import tune

    torch.set_num_threads(args.threads)
    tune(args.threads)  # for all sides alike
    kind, _, precision = args.side.partition("-")
    waves, _ = ref.waves([round(args.seconds * 16000)] * args.batch)
    step = STEPS[kind](args, waves)
    bits, times, work = [], [], []
    for _ in range(1 + args.steps):
        start, busy = time.perf_counter(), time.process_time()
        with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16"):
            loss, targets = step()
        loss.backward()
        times.append(time.perf_counter() - start)
        work.append(time.process_time() - busy)
        bits.append(float(loss.detach()) / targets / math.log(2))
    middle = {"seconds": statistics.median(times[1:]), "cpu": statistics.median(work[1:])}
    return {**middle, "bits": bits[0], "memory": peak_memory() / 1e9}


def report(args: Namespace, results: dict[str, list[dict[str, Any]]]) -> str:
    """Return the table: each side against the faster of the references in fp32.

    Seconds of the processor, of one thread, are what to go by on a machine that others use.
    """
    rows = []
    for side, found in results.items():
        cells = [SIDES[side]]
        for key in ("seconds", "cpu"):
            references = [median(results[name], key) for name in ("transformers", "fairseq") if name in results]
            value = median(found, key)
            cells += [f"{value:.2f}", f"{min(references) / value:.2f}" if references else "–"]
        rows.append([*cells, f"{median(found, 'memory'):.2f}", f"{found[0]['bits']:.2f}"])
    faster = "× the faster reference in fp32"
    header = ["", "s a step", faster, "processor s", faster, "peak GB", "bits of step 1"]
    note = f"{args.shape}: {args.batch} × {args.seconds:g} s, {args.threads} threads, medians of {args.rounds} × {args.steps}"
    return f"{markdown(header, rows)}\n\n{note}"


def main() -> None:
    """Run the benchmark, or one side of it."""
    parser = turn_arguments(__doc__, list(SIDES), seconds=4.0, tokens="0 not used", work="st-bench-pretraining",
                            holds="nothing")  # fmt: skip
    parser.add_argument("--shape", choices=list(SHAPES), default="small", help="of the model (default: small)")
    parser.add_argument("--steps", type=int, default=3, help="steps of a turn, after one to warm up (default: 3)")
    parser.set_defaults(batch=4)
    args = parser.parse_args()
    if args.side:
        print(json.dumps(worker(args)))
        return
    options = [f"--{name}={getattr(args, name)}" for name in ("shape", "steps", "batch", "seconds", "threads")]
    print(report(args, take_turns([__file__, *options, "--worker"], args.sides.split(","), args.rounds)))


if __name__ == "__main__":
    main()
