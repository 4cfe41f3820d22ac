"""Measure how much memory each process of a training needs, with whole weights and with divided ones, on CPUs.

    python scripts/bench_sharding.py --processes 2,4 --layers 16 --dim 512 --recompute

Each process makes two updates (AdamW, fp32) of a transformer on one second of frames. Printed is, for each process, by how
much its resident memory grew at most, in MB, beside what arithmetic says of weights, gradients and moments alone.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import nn

from st.fairseq_plugin.sharding import shard
from st.modules.encoder_config import EncoderConfig
from st.modules.speech_encoder import TransformerEncoder

FRAMES = 50
BYTES = 16
"""Of a parameter that learns: weight, gradient and two moments in fp32."""


def resident_peak_mb() -> float:
    """Return the most memory that this process has had, in MB."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return int(status.split("VmHWM:")[1].split()[0]) / 1000


def train(rank: int, folder: str, size: int, divided: bool, options: Any) -> None:
    """Make two updates in one of several processes, and write down by how much its memory grew."""
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=size)
    torch.manual_seed(1)
    width = options.dim
    config = EncoderConfig(dim=width, ffn_dim=4 * width, num_heads=width // 64, num_layers=options.layers)
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")  # let the kernel measure from here on
    before = resident_peak_mb()
    model: nn.Module = TransformerEncoder(config)
    model.recompute = options.recompute  # type: ignore[assignment]
    parameters = sum(parameter.numel() for parameter in model.parameters())
    if divided:
        model = shard(model, dist.group.WORLD, torch.device("cpu"))
        dist.barrier()
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")  # without the moment before it was divided
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, fused=True)
    states, lengths = torch.randn(1, FRAMES, width), torch.tensor([FRAMES])
    for _ in range(2):
        model(states, lengths)[0].square().mean().backward()
        if not divided:
            for parameter in model.parameters():
                if parameter.grad is not None and size > 1:
                    dist.all_reduce(parameter.grad)
        optimizer.step()
        optimizer.zero_grad()
    grown = {"parameters": parameters, "grown_mb": round(resident_peak_mb() - before)}
    Path(folder, f"{rank}.json").write_text(json.dumps(grown), encoding="ascii")
    dist.destroy_process_group()


def main() -> None:
    """Print a line for each number of processes and each kind of weights."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--processes", default="2,4", help="numbers of processes, with commas between them")
    parser.add_argument("--layers", type=int, default=16, help="layers of the transformer")
    parser.add_argument("--dim", type=int, default=512, help="its width, a multiple of 64")
    parser.add_argument("--recompute", action="store_true", help="compute activations again for the backward pass")
    options = parser.parse_args()
    # The C library keeps what is freed of smaller pieces than this, and more than that by the time.
    os.environ["MALLOC_MMAP_THRESHOLD_"] = "65536"
    for size in map(int, options.processes.split(",")):
        for divided in (False, True):
            with tempfile.TemporaryDirectory() as folder:
                torch.multiprocessing.spawn(train, (folder, size, divided, options), nprocs=size)
                found = [json.loads(path.read_text()) for path in sorted(Path(folder).glob("*.json"))]
            share = found[0]["parameters"] * BYTES / 1e6 / (size if divided else 1)
            kind = "divided" if divided else "whole"
            grown = max(process["grown_mb"] for process in found)
            print(f"{size} processes, {kind} weights: {grown} MB each; weights, gradients, moments {share:.0f} MB")


if __name__ == "__main__":
    main()
