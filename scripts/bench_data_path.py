"""Time and memory of the data path before the first batch: open trees, plan an epoch, resume in its middle.

    python scripts/bench_data_path.py                      # a million recordings, some minutes on one core
    python scripts/bench_data_path.py --rows 10000000

No audio is decoded: the manifests are made up, of recordings of 10 s on average in 23 languages of very different sizes. For
`speech_pretraining` they have no text, for `speech_translation` each has a transcript and a translation of ten words. Each
stage is told in seconds of the processor and peak memory (VmHWM) of the process of one rank beyond that of the libraries. Every
rank does the same. A reading process is forked; what counts is what it does not share.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import pickle
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import fairseq.tasks  # noqa: F401 (fairseq registers its own things first)
import numpy as np
from bench_common import ROOT, markdown, run_worker
from fairseq.data import data_utils

import st

st.register_plugins()

from st.data.dataset import TranslationDataset  # noqa: E402
from st.data.manifest import COLUMNS  # noqa: E402
from st.data.pretraining import PretrainingDataset, read_recordings  # noqa: E402
from st.fairseq_plugin.data.dataset import FairseqTranslationDataset  # noqa: E402
from st.fairseq_plugin.data.iterator import EpochIterator  # noqa: E402
from st.fairseq_plugin.pretraining.dataset import FairseqPretrainingDataset  # noqa: E402
from st.memory import peak_memory  # noqa: E402
from st.text.ctc_vocabulary import CtcVocabulary  # noqa: E402
from st.text.vocabulary import TextVocabulary  # noqa: E402

sys.path.insert(0, str(ROOT / "tests"))
from tone_tree import WORDS, make_tree  # noqa: E402

LANGUAGES = (
    "en",
    "de",
    "fr",
    "es",
    "it",
    "pl",
    "nl",
    "pt",
    "ro",
    "hu",
    "cs",
    "sv",
    "fi",
    "bg",
    "hr",
    "sk",
    "sl",
    "el",
    "et",
    "lt",
    "lv",
    "mt",
    "ca",
)
RANKS = 8
TASKS = ("speech_pretraining", "speech_translation")
MAX_TOKENS = {"speech_pretraining": 1_940_000, "speech_translation": 2_000_000}
"""Samples of a batch: 121 s, as XLS-R has on each GPU; 125 s."""


def make_manifests(work: Path, rows: int, tasks: Sequence[str]) -> None:
    """Write a tree for each of these tasks."""
    generator = np.random.default_rng(0)
    shares = 1 / np.arange(1, len(LANGUAGES) + 1) ** 1.5
    for task in tasks:
        folder = work / task
        if (folder / "complete").exists():
            continue
        make_tree(folder, train=2, dev=2, directions=("en_de", "de_en"))
        for path in folder.glob("*train_*.tsv"):
            path.unlink()
        for language, share in zip(LANGUAGES, shares / shares.sum(), strict=True):
            name = (
                "asr_train_{}.tsv" if task == TASKS[0] else "train_{}_" + ("de" if language == "en" else "en") + ".tsv"
            )
            with (folder / name.format(language)).open("w", encoding="utf-8") as file:
                file.write("\t".join(COLUMNS) + "\n")
                file.writelines(lines(language, max(1, round(rows * share)), task == TASKS[1], generator))
        (folder / "complete").touch()


def lines(language: str, count: int, texts: bool, generator: np.random.Generator) -> Iterator[str]:
    """Yield the lines of a manifest."""
    other = "de" if language == "en" else "en"
    frames = (np.clip(generator.lognormal(np.log(9.0), 0.5, count), 1.0, 30.0) * 16_000).astype(np.int64)
    ends = np.cumsum(frames) // 2
    words = generator.integers(0, 6, (1009, 10)).tolist()
    sources, targets = ([" ".join(WORDS[code][word] for word in some) for some in words] for code in ("en", "de"))
    for number, (samples, end) in enumerate(zip(frames.tolist(), ends.tolist(), strict=True)):
        text = ("", "", "")
        if texts:
            # Each is another, so that none is kept once for all.
            text = (f"{targets[number % 1009]} {number}", f"{sources[number % 1009]} {number}", other)
        name = f"{language}_broadcast_{number // 300:07}.flac@{number % 300}.25-{number % 300 + 9}.5"
        place = f"audio/{language}/train.zip:{end}:{samples // 2}"
        speaker = f"{language}{number // 300}"
        yield "\t".join((name, place, str(samples), text[0], speaker, text[1], language, text[2])) + "\n"


def open_data(task: str, folder: Path) -> FairseqTranslationDataset:
    """Open the training set of a task."""
    if task == TASKS[0]:
        inner = PretrainingDataset(read_recordings([folder], "train", None), max_samples=320_000, sampling_alpha=0.5)
        return FairseqPretrainingDataset(inner, shuffle=True, name="train")
    text, ctc = TextVocabulary.load(folder), CtcVocabulary.load(folder / "ctc_vocab.json")
    translations = TranslationDataset.load(folder, "train", None, text, {"ctc": ctc}, sampling_alpha=0.5)
    return FairseqTranslationDataset(translations, shuffle=True, name="train")


def plan(task: str, data: FairseqTranslationDataset) -> EpochIterator:
    """Plan the second epoch, as the tasks do, and take the part of one rank."""
    data.dataset.begin_epoch(1, 2, MAX_TOKENS[task], 1)
    with data_utils.numpy_seed(3):
        indices = data.ordered_indices()
    indices = data.within_limits(indices, 1e9, 1e9, leave_out=False, min_samples=16_000)
    batches = data.batch_by_size(indices, MAX_TOKENS[task])
    data.describe_epoch(batches, 2)
    part = EpochIterator(data, batches, seed=1, epoch=2, num_shards=RANKS, shard_id=3)
    part.next_epoch_itr()
    return part


class Stages:
    """Seconds of the processor and peak memory of what is done, one after the other."""

    def __init__(self) -> None:
        gc.collect()
        self.found: dict[str, float] = {}
        self._before = _memory("VmRSS")

    def run(self, name: str, function: Callable[..., Any], *arguments: Any) -> Any:
        """Do something, and note what it took."""
        start = time.process_time()
        result = function(*arguments)
        self.found[f"{name}_s"] = time.process_time() - start
        self.found[f"{name}_peak"] = peak_memory() - self._before
        self.found[f"{name}_after"] = _memory("VmRSS") - self._before
        return result


def work_on(task: str, folder: Path) -> dict[str, float]:
    """Open, plan, save in the middle; then read names in another process."""
    stages = Stages()
    data = stages.run("open", open_data, task, folder)
    part = stages.run("plan", plan, task, data)
    part._current.n = len(part) // 2
    state = stages.run("save", part.state_dict)
    with (folder / "state.pkl").open("wb") as file:
        pickle.dump(state, file)
    stages.found |= {"items": len(data), "batches": len(part.batches), "reader": reader(data)}
    return stages.found


def resume(task: str, folder: Path) -> dict[str, float]:
    """Open, plan, and go on where another process stood."""
    with (folder / "state.pkl").open("rb") as file:
        state = pickle.load(file)  # noqa: S301 (this script wrote it)
    stages = Stages()
    data = stages.run("open", open_data, task, folder)
    part = stages.run("plan", plan, task, data)
    stages.run("resume", part.load_state_dict, state)
    if part.iterations_in_epoch != len(part) // 2:
        raise SystemExit("resumed at another place")
    return stages.found


def reader(data: FairseqTranslationDataset) -> float:
    """Return the bytes that a forked process has written for itself after it looked up 10,000 recordings."""
    out, into = os.pipe()
    child = os.fork()
    if not child:
        before = _private()
        for number in np.random.default_rng(0).integers(0, len(data.dataset.utterances), 10_000).tolist():
            _ = data.dataset.utterances[number].audio
        os.write(into, str(_private() - before).encode())
        os._exit(0)
    os.waitpid(child, 0)
    return float(os.read(out, 100))


def _private() -> int:
    text = Path("/proc/self/smaps_rollup").read_text(encoding="ascii")
    # Pages of the manifests are clean, and the system's.
    return sum(int(line.split()[1]) for line in text.splitlines() if line.startswith("Private_Dirty")) * 1024


def _memory(field: str) -> int:
    text = Path("/proc/self/status").read_text(encoding="ascii")
    return next(int(line.split()[1]) for line in text.splitlines() if line.startswith(field)) * 1024


def main() -> None:
    """Run the stages of each task, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000, help="recordings (default: a million)")
    parser.add_argument("--tasks", default=",".join(TASKS), help="of: %(default)s (default: both)")
    parser.add_argument("--work", type=Path, default=Path(tempfile.gettempdir()) / "bench_data_path")
    parser.add_argument("--worker", nargs=2, help=argparse.SUPPRESS)
    args = parser.parse_args()
    work = args.work / str(args.rows)
    if args.worker:
        what, task = args.worker
        print(json.dumps({"run": work_on, "resume": resume}[what](task, work / task)))
        return
    tasks = args.tasks.split(",")
    make_manifests(work, args.rows, tasks)
    table = []
    for task in tasks:
        command = [__file__, "--rows", str(args.rows), "--work", str(args.work), "--worker"]
        found = run_worker([*command, "run", task])
        found |= {f"again_{key}": value for key, value in run_worker([*command, "resume", task]).items()}
        for name in ("open", "plan", "save", "again_resume"):
            memory = (f"{found[f'{name}_{kind}'] / 1e6:.0f} MB" for kind in ("peak", "after"))
            table.append((task, name.removeprefix("again_"), f"{found[f'{name}_s']:.2f} s", *memory))
        table.append((task, "a reading process", "", "", f"{found['reader'] / 1e6:.1f} MB of its own"))
        table.append((task, f"{found['items']} items in {found['batches']} batches", "", "", ""))
    print(markdown(("task", "stage", "processor", "peak so far", "afterwards"), table))


if __name__ == "__main__":
    main()
