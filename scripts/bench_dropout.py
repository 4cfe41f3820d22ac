"""Dropout of this project and of torch, forward and backward, in turns.

python scripts/bench_dropout.py                     # half a minute; prints milliseconds and the ratio
"""

from __future__ import annotations

import argparse
import statistics
import time

import torch
import torch.nn.functional as F

from st.kernels.dropout import dropout

SHAPES = {"small encoder, 8 x 4 s": (8, 100, 192), "300M, 8 x 15 s": (8, 750, 1024)}
SIDES = {"torch": lambda inputs: F.dropout(inputs, 0.1), "ours": lambda inputs: dropout(inputs, 0.1)}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=30)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    for name, shape in SHAPES.items():
        for dtype in (torch.float32, torch.bfloat16):
            inputs = torch.randn(shape, dtype=dtype, requires_grad=True)
            gradient = torch.ones_like(inputs)
            times: dict[str, list[float]] = {side: [] for side in SIDES}
            for _ in range(args.repeats):
                for side, function in SIDES.items():
                    start = time.perf_counter()
                    function(inputs).backward(gradient)
                    times[side].append(time.perf_counter() - start)
            theirs, ours = (1000 * statistics.median(times[side]) for side in SIDES)
            print(f"{name}, {dtype}: torch {theirs:.2f} ms, ours {ours:.2f} ms, {theirs / ours:.1f} times as fast")


if __name__ == "__main__":
    main()
