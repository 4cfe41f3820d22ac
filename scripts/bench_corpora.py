"""Time and memory to read a table of a million rows, look for what is wrong with it, and make splits of it.

``python scripts/bench_corpora.py WORK`` writes the table and empty recordings below ``WORK`` once, and prints a line for each
kind of table.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path

import polars as pl

from st.corpora.checks import check
from st.corpora.sources import SOURCES, read_corpus
from st.corpora.splits import SplitOptions, make_splits
from st.memory import peak_memory

ROWS, SPEAKERS = 1_000_000, 20_000
WORDS = [
    "la",
    "maison",
    "est",
    "grande",
    "et",
    "le",
    "jardin",
    "petit",
    "mais",
    "nous",
    "aimons",
    "bien",
    "les",
    "deux",
    "parce",
    "que",
    "rien",
    "ne",
    "manque",
    "ici",
]


def make_tables(work: Path, rows: int) -> None:
    """Write the same table as TSV, CSV, JSON Lines and Parquet, and its recordings, empty."""
    (work / "clips").mkdir(parents=True, exist_ok=True)
    for number in range(rows):
        (work / "clips" / f"{number}.mp3").touch()
    words = [WORDS[number % len(WORDS) :] + WORDS[: number % 7] for number in range(rows)]
    table = pl.DataFrame(
        {
            "audio": [f"clips/{number}.mp3" for number in range(rows)],
            "speaker": [f"speaker{number * 7919 % SPEAKERS}" for number in range(rows)],
            "transcript": [f"{' '.join(text)} {number}" for number, text in enumerate(words)],
            "translation_en": [f"{number} {' '.join(reversed(text))}" for number, text in enumerate(words)],
        }
    )
    table.write_csv(work / "corpus.tsv", separator="\t", quote_style="never")
    table.write_csv(work / "corpus.csv")
    table.write_ndjson(work / "corpus.jsonl")
    table.write_parquet(work / "corpus.parquet")
    (work / "complete").touch()


def measure(table: Path) -> dict[str, float]:
    """Return the seconds of each step, those of all CPUs together, and the peak of this process's memory in GB."""
    source = SOURCES["tables"]
    seconds, start = {}, time.perf_counter()
    rows = read_corpus(table, source, source.options(language="fr")).rows
    seconds["read"], start = time.perf_counter() - start, time.perf_counter()
    rows = check(rows).rows
    seconds["check"], start = time.perf_counter() - start, time.perf_counter()
    sizes = dict(make_splits(rows, SplitOptions()).group_by("split").len().iter_rows())
    seconds["splits"] = time.perf_counter() - start
    seconds["cpu"] = time.process_time()
    return {**seconds, "peak_gb": peak_memory() / 1e9, **sizes}


def main() -> None:
    """Make the tables unless they are there, and measure each in a process of its own."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("work", type=Path, help="folder for the tables, or with --measure one of them")
    parser.add_argument("--rows", type=int, default=ROWS)
    parser.add_argument("--measure", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.measure:
        print(json.dumps(measure(args.work)))
        return
    if not (args.work / "complete").exists():
        make_tables(args.work, args.rows)
    for ending in ("tsv", "csv", "jsonl", "parquet"):
        command = [sys.executable, __file__, str(args.work / f"corpus.{ending}"), "--measure"]
        print(ending, subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip(), flush=True)


if __name__ == "__main__":
    main()
