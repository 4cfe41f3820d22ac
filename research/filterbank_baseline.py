"""fairseq's own speech translation as a baseline: filter banks, ``s2t_transformer``, the recipe of its CoVoST example.

A prepared tree becomes what fairseq's ``speech_to_text`` task reads; ``fairseq-train`` and ``fairseq-generate`` do the
rest, unchanged but for ``fairseq_shim``. Used by ``compare_learning.py``.
"""

from __future__ import annotations

import argparse
import re
import shutil
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from learning_plan import ENDLESS, ROOT, Job, executable
from tqdm import tqdm

from st.audio.reading import read_audio
from st.checkpoints.door import read_pickled
from st.checkpoints.formats.standins import plain
from st.data.manifest import SPLITS, ManifestRow, read_manifest, write_manifest
from st.errors import EvaluationError
from st.files import atomic_write, write_text

BINS = 80
AVERAGED = 5
"""Checkpoints of the end that are averaged, as the recipe does (the last ten epochs there)."""
SAVES = 50
"""Checkpoints in a run, so that those averaged are from its last tenth."""
CURVE_EVERY = 10
"""Saves from one point of the curve to the next."""
FREEZING = 1 / 30
"""Share of the updates in which a pre-trained encoder rests: 1,000 of 30,000 in the recipe."""
# fairseq's policy "lb" of its CoVoST example, its key for time warping as it is spelled there.
_SPECAUGMENT = {
    "time_wrap_W": 0, "freq_mask_N": 1, "freq_mask_F": 27, "time_mask_N": 1, "time_mask_T": 100, "time_mask_p": 1.0,
}  # fmt: skip
_HYPOTHESIS = re.compile(r"D-(\d+)\t[^\t]*\t(.*)")


@dataclass(frozen=True, slots=True)
class BaselineOptions:
    """What of the recipe may be set; the rest is in :func:`train_command`."""

    lr: float = 2e-3
    batch_seconds: float = 25.0
    """Audio in an update, padding included."""


def prepare_features(data: Path, out: Path, directions: Sequence[str]) -> None:
    """Compute filter banks of a prepared tree and write ``{train,dev,test,train_asr,dev_asr}.tsv`` and ``config.yaml``.

    Directions stand in the tables one after the other, ids as ``fr_en/id``. What is there already is kept.
    """
    if (out / "config.yaml").exists():
        return
    frames: dict[str, tuple[str, int]] = {}
    for split in SPLITS:
        rows = [(d, row) for d in directions for row in read_manifest(data / f"{split}_{d}.tsv")]
        for row in tqdm([row for _, row in rows], desc=f"filter banks of {split}", disable=None):
            if row.audio not in frames:
                path = out / "features" / f"{row.src_lang}_{split}_{row.id}.npy"
                frames[row.audio] = (str(path), _write_features(data / row.audio, path))
        write_manifest(out / f"{split}.tsv", (_feature_row(d, row, frames) for d, row in rows))
        write_manifest(out / f"{split}_asr.tsv", _recognition_rows((row for _, row in rows), frames))
    for name in ("dict.txt", "spm.model"):
        shutil.copyfile(data / name, out / name)
    config = {
        "vocab_filename": "dict.txt",
        "bpe_tokenizer": {"bpe": "sentencepiece", "sentencepiece_model": str(out / "spm.model")},
        "input_channels": 1,
        "input_feat_per_channel": BINS,
        "prepend_tgt_lang_tag": True,
        "shuffle": True,
        "specaugment": _SPECAUGMENT,
        "feature_transforms": {"_train": ["utterance_cmvn", "specaugment"], "*": ["utterance_cmvn"]},
    }
    write_text(out / "config.yaml", yaml.safe_dump(config))


def _write_features(recording: Path, path: Path) -> int:
    """Write the filter banks of a recording, if they are not there; return the number of frames of 10 ms."""
    from torchaudio.compliance.kaldi import fbank

    if path.exists():
        return len(np.load(path))
    wave = torch.from_numpy(np.asarray(read_audio(recording), dtype=np.float32))
    # Kaldi's scale, as fairseq computes them: 16-bit numbers.
    banks = fbank(wave[None] * 2**15, num_mel_bins=BINS, sample_frequency=16000).numpy()
    with atomic_write(path, "wb") as handle:
        np.save(handle, banks)
    return len(banks)


def _feature_row(direction: str, row: ManifestRow, frames: Mapping[str, tuple[str, int]]) -> ManifestRow:
    path, count = frames[row.audio]
    return replace(row, id=f"{direction}/{row.id}", audio=path, n_frames=count)


def _recognition_rows(rows: Iterable[ManifestRow], frames: Mapping[str, tuple[str, int]]) -> list[ManifestRow]:
    """Return each recording once, its transcript for a target."""
    unique = {row.audio: row for row in rows}
    return [
        replace(_feature_row(row.src_lang, row, frames), tgt_text=row.src_text, tgt_lang=row.src_lang)
        for row in unique.values()
    ]


def train_command(job: Job, features: Path, options: BaselineOptions) -> list[str]:
    """Return the ``fairseq-train`` of a stage: the CoVoST recipe, its numbers of updates scaled to the job's."""
    suffix = "_asr" if job.stage.name == "asr" else ""
    step = save_step(job.updates)
    command = [executable("fairseq-train"), str(features), *_common(), "--train-subset", f"train{suffix}",
        "--valid-subset", f"dev{suffix}", "--arch", "s2t_transformer_xs", "--dropout", "0.1",
        "--share-decoder-input-output-embed", "--criterion", "label_smoothed_cross_entropy", "--label-smoothing", "0.1",
        "--ignore-prefix-size", "1", "--optimizer", "adam", "--lr", str(options.lr), "--lr-scheduler", "inverse_sqrt",
        "--warmup-updates", str(job.warmup_updates), "--clip-norm", "10.0", "--max-tokens",
        str(round(options.batch_seconds * 100)), "--max-update", str(job.updates), "--seed", str(job.seed),
        "--num-workers", "0", "--log-format", "json", "--log-interval", "1" if job.pilot else "50",
        "--disable-validation", "--save-dir", str(job.folder), "--no-epoch-checkpoints", "--save-interval", str(ENDLESS),
        "--save-interval-updates", "0" if job.pilot else str(step), "--keep-interval-updates", str(AVERAGED), "--no-save-optimizer-state"]  # fmt: skip
    if job.curve:
        command += ["--keep-interval-updates-pattern", str(step * CURVE_EVERY)]
    elif not job.pilot:  # nothing is kept, and so nothing saved, before the last tenth
        command += ["--validate-after-updates", str(max(0, job.updates - AVERAGED * step))]
    if job.previous is not None:
        resting = max(1, round(FREEZING * job.updates))
        command += ["--load-pretrained-encoder-from", str(job.previous), "--encoder-freezing-updates", str(resting)]
    return command


def _common() -> list[str]:
    # By its default of 8 for the multiple, fairseq loses the last batch.
    return ["--user-dir", str(ROOT / "research" / "fairseq_shim"), "--config-yaml", "config.yaml", "--task",
            "speech_to_text", "--cpu", "--required-batch-size-multiple", "1"]  # fmt: skip


def save_step(updates: int) -> int:
    """Return after how many updates each checkpoint is saved."""
    return max(1, updates // SAVES)


def average_last(folder: Path) -> Path:
    """Average the last checkpoints of a training into a file that fairseq reads, and return it."""
    numbered = sorted(folder.glob("checkpoint_*_*.pt"), key=lambda path: int(path.stem.rpartition("_")[2]))
    paths = numbered[-AVERAGED:] or [folder / "checkpoint_last.pt"]
    states = [read_pickled(path) for path in paths]
    first: dict[str, Any] = states[0]
    weights = {
        name: torch.stack([state["model"][name].float() for state in states]).mean(0).to(value.dtype)
        for name, value in first["model"].items()
    }
    config = {name: _namespace(value) for name, value in first["cfg"].items()}
    # What fairseq's reader looks at besides the weights.
    kept = {name: first[name] for name in ("args", "criterion", "optimizer_history", "task_state", "extra_state")}
    target = folder / "averaged.pt"
    with atomic_write(target, "wb") as handle:
        torch.save(kept | {"cfg": config, "model": weights, "last_optimizer_state": None}, handle)
    return target


def _namespace(value: Any) -> Any:
    """Give settings that the guarded reader left as a stand-in their class back."""
    return value if value is None or isinstance(value, dict) else argparse.Namespace(**plain(value))


def decode(checkpoint: Path, features: Path, subset: str, out: Path, *, beam: int, env: Mapping[str, str]) -> None:
    """Translate ``dev`` or ``test`` with ``fairseq-generate`` into ``out/hypotheses/<direction>.tsv``.

    Raises:
        EvaluationError: If it fails; its log is ``out/generate.log``.
    """
    out.mkdir(parents=True, exist_ok=True)
    command = [executable("fairseq-generate"), str(features), *_common(), "--gen-subset", subset, "--path",
               str(checkpoint), "--beam", str(beam), "--max-tokens", "12000", "--prefix-size", "1"]  # fmt: skip
    log = out / "generate.log"
    with log.open("w", encoding="utf-8") as handle:
        ended = subprocess.run(command, stdout=handle, stderr=subprocess.STDOUT, env=dict(env), check=False)
    if ended.returncode:
        raise EvaluationError(f"fairseq-generate failed with exit code {ended.returncode}; see {log}")
    ids = [row.id for row in read_manifest(features / f"{subset}.tsv")]
    for direction, rows in split_hypotheses(log.read_text(encoding="utf-8"), ids).items():
        lines = [f"{name}\t{text}\n" for name, text in rows]
        write_text(out / "hypotheses" / f"{direction}.tsv", "id\thypothesis\n" + "".join(lines))


def split_hypotheses(log: str, ids: Sequence[str]) -> dict[str, list[tuple[str, str]]]:
    """Sort the ``D-`` lines of a log of ``fairseq-generate`` by direction.

    Args:
        log: Its text.
        ids: ``direction/id`` of every row of the table that was decoded.

    Returns:
        Id and hypothesis of every row of a direction, in the table's order.

    Raises:
        EvaluationError: If a row has no hypothesis.
    """
    found = {int(match[1]): match[2] for match in map(_HYPOTHESIS.fullmatch, log.split("\n")) if match}
    missing = [name for number, name in enumerate(ids) if number not in found]
    if missing:
        raise EvaluationError(
            f"fairseq-generate left out {len(missing)} of {len(ids)} recordings, such as {missing[0]}"
        )
    directions: dict[str, list[tuple[str, str]]] = {}
    for number, name in enumerate(ids):
        direction, _, own = name.partition("/")
        directions.setdefault(direction, []).append((own, found[number].replace("\t", " ")))
    return directions
