"""Time `st evaluate` of English into 15 languages at once against fifteen runs of it, one language each.

    python scripts/bench_targets.py             # XLS-R 300M's shape, about 8 minutes on two cores

A sample corpus is made and prepared, and a model of random weights whose translations have a few tokens, so that the encoder,
which hears each recording once instead of fifteen times, is most of the work. The hypotheses of both ways must be the same.
"""

from __future__ import annotations

import argparse
import dataclasses
import filecmp
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch
from bench_common import ROOT

from st.evaluation.covost2 import DIRECTIONS
from st.modules.config import ctc_heads
from st.modules.model import SpeechTranslator
from st.modules.presets import preset
from st.text.ctc_vocabulary import CtcVocabulary
from st.text.vocabulary import TextVocabulary

sys.path.insert(0, str(ROOT / "tests"))
import reference_models as ref
from training_checkpoints import save_training

TARGETS = [direction.split("_")[1] for direction in DIRECTIONS if direction.startswith("en_")]


def run(*command: object) -> float:
    """Run a command of ours and return its seconds."""
    start = time.perf_counter()
    subprocess.run([sys.executable, "-m", *map(str, command)], check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - start


def make_data(work: Path, hours: float) -> Path:
    """Make and prepare a corpus of English with all its targets."""
    if not (work / "data" / "report.json").exists():
        run("covost", "sample", "--out", work / "corpus", "--languages", "en", "--targets", ",".join(TARGETS),
            "--hours", hours)  # fmt: skip
        run("covost", "prepare", "--cv-root", work / "corpus", "--directions", "en_x", "--out", work / "data")
    return work / "data"


def make_checkpoint(work: Path, name: str) -> Path:
    """Write a model of random weights that ends its translations soon."""
    data, path = work / "data", work / f"{name}.pt"
    if path.exists():
        return path
    text, ctc = TextVocabulary.load(data), CtcVocabulary.load(data / "ctc_vocab.json")
    config = preset(name)
    decoder = dataclasses.replace(config.decoder, vocab_size=len(text))
    torch.manual_seed(0)
    model = SpeechTranslator(dataclasses.replace(config, decoder=decoder, heads=ctc_heads(len(ctc))))
    save_training(ref.sharpen(ref.perturb(model), eos_bias=7.0), data, path)
    return path


def main() -> None:
    """Run the comparison."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--preset", default="300m", help="shape of the model (default: 300m)")
    parser.add_argument("--hours", type=float, default=0.15, help="speech in the corpus (default: 0.15)")
    parser.add_argument("--threads", type=int, default=2, help="CPU threads (default: 2)")
    parser.add_argument("--dtype", default="float32", help="numbers (default: float32)")
    parser.add_argument("--work", type=Path, default=Path(tempfile.gettempdir()) / "st-bench-targets",
                        help="folder for data and model, made if they are not there (default: %(default)s)")  # fmt: skip
    args = parser.parse_args()
    data = make_data(args.work, args.hours)
    common = ("st", "evaluate", "--checkpoint", make_checkpoint(args.work, args.preset), "--data", data,
              "--threads", args.threads, "--dtype", args.dtype, "--clip-megabytes", 0)  # fmt: skip
    with tempfile.TemporaryDirectory(dir=args.work) as folder:
        out = Path(folder)
        together = run(*common, "--out", out / "all")
        single = [run(*common, "--directions", f"en_{code}", "--out", out / code) for code in TARGETS]
        names = [f"en_{code}" for code in TARGETS]
        files = [(out / "all", out / name.removeprefix("en_"), f"hypotheses/{name}.tsv") for name in names]
        same = sum(filecmp.cmp(one / name, other / name, shallow=False) for one, other, name in files)
        rows = [row.split("\t") for one, _, name in files for row in (one / name).read_text("utf-8").splitlines()[1:]]
    print(
        f"{args.preset} {args.dtype}, {args.threads} threads: all {len(TARGETS)} targets in one run {together:.1f} s, "
        f"one run each {sum(single):.1f} s: {sum(single) / together:.2f} ×; "
        f"{same} of {len(TARGETS)} files of hypotheses the same ({statistics.mean(len(row[1]) for row in rows):.0f} characters each)"
    )


if __name__ == "__main__":
    main()
