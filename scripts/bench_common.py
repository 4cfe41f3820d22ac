"""What the benchmarks share: sides that take turns in processes of their own, the machine's rates, counts of work.

Every round starts each side anew, so that allocator, caches and thread pools of one never help or hurt another; the
medians over the rounds are what is reported.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch

from st.inference.rates import product
from st.modules.config import ModelConfig

ROOT = Path(__file__).resolve().parent.parent


def turn_arguments(
    description: str | None, sides: Sequence[str], *, seconds: float, tokens: str, work: str, holds: str
) -> argparse.ArgumentParser:
    """Return the command line of a benchmark whose sides take turns.

    Args:
        description: Docstring of the script.
        sides: Names of all sides.
        seconds: Length of a recording, unless another is asked for.
        tokens: Number of tokens, likewise, and what they are: ``24 target tokens of each``.
        work: Name of the folder for files that are made once.
        holds: What that folder holds.
    """
    number, _, meaning = tokens.partition(" ")
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--sides", default=",".join(sides), help=f"of: {', '.join(sides)} (default: all)")
    add("--rounds", type=int, default=3, help="turns of each side (default: 3)")
    add("--batch", type=int, default=8, help="recordings (default: 8)")
    add("--seconds", type=float, default=seconds, help=f"length of each (default: {seconds:g})")
    add("--tokens", type=int, default=int(number), help=f"{meaning} (default: {number})")
    add("--threads", type=int, default=2, help="CPU threads (default: 2)")
    add("--work", type=Path, default=Path(tempfile.gettempdir()) / work,
        help=f"folder for {holds}, made if not there (default: %(default)s)")  # fmt: skip
    add("--worker", dest="side", help=argparse.SUPPRESS)
    return parser


def take_turns(worker: Sequence[str], sides: Sequence[str], rounds: int) -> dict[str, list[dict[str, Any]]]:
    """Run ``python *worker SIDE`` for every side, ``rounds`` times over; each prints one JSON object as its last line."""
    results: dict[str, list[dict[str, Any]]] = {side: [] for side in sides}
    for number in range(rounds):
        for side in sides:
            result = run_worker([*worker, side])
            results[side].append(result)
            shown = {key: value for key, value in result.items() if isinstance(value, (int, float))}
            print(f"round {number + 1} {side}: {json.dumps(shown)}", file=sys.stderr, flush=True)
    return results


def run_worker(arguments: Sequence[str]) -> dict[str, Any]:
    """Run ``python *arguments`` and return the JSON object that is its last line."""
    command = [sys.executable, *arguments]
    run = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, env=dict(os.environ))
    result: dict[str, Any] = json.loads(run.stdout.splitlines()[-1])
    return result


def median(results: Sequence[dict[str, Any]], key: str) -> float:
    """Return the median of one figure over the rounds."""
    return statistics.median(float(result[key]) for result in results)


def markdown(header: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Return a table."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(map(str, line)) + " |" for line in lines)


def step_work(config: ModelConfig, rows: int) -> float:
    """Return the same of one decoder step of ``rows`` hypotheses, attention to keys left out (under 2 %)."""
    text = config.decoder
    return rows * (
        text.num_layers * (12.0 * text.dim**2 + 4.0 * text.dim * text.ffn_dim) + 2.0 * text.dim * text.vocab_size
    )


def step_floor(config: ModelConfig, rows: int, dtype: torch.dtype, repeats: int = 5) -> float:
    """Return the seconds that the matrix products of one decoder step take by themselves, weights out of the cache."""
    text = config.decoder
    shapes = [(text.dim, text.dim)] * 6 + [(text.dim, text.ffn_dim), (text.ffn_dim, text.dim)]
    shapes = shapes * text.num_layers + [(text.dim, text.vocab_size)]
    inputs = {width: torch.randn(rows, width) for width in (text.dim, text.ffn_dim)}
    products = [product(inputs[i], torch.randn(o, i), dtype) for i, o in shapes]
    times = []
    with torch.inference_mode():
        for _ in range(repeats):
            start = time.perf_counter()
            for multiply in products:
                multiply()
            times.append(time.perf_counter() - start)
    return statistics.median(times)


def timed(function: Callable[..., Any], totals: dict[str, float], name: str) -> Callable[..., Any]:
    """Wrap a function so that its time is added to ``totals[name]``."""

    def wrapper(*args: Any, **kwargs: Any) -> Any:
        start = time.perf_counter()
        try:
            return function(*args, **kwargs)
        finally:
            totals[name] = totals.get(name, 0.0) + time.perf_counter() - start

    return wrapper
