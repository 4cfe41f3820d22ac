"""The audio side of ``covost prepare`` against the plain loop, and its stores against loose files."""

from __future__ import annotations

import argparse
import multiprocessing
import os
import random
import shutil
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import soxr

from st.audio.reading import SAMPLE_RATE, encode_flac, read_audio
from st.engines.local import LocalEngine
from st.preparation.stores.build import StorePlan, build_store
from st.preparation.stores.decode import ClipDecoder, DecodedClip
from st.preparation.stores.names import clip_name
from st.preparation.stores.store import StorePaths, StoreRecord
from st.workers import start_worker

Side = Callable[[], float]
"""Does the work once and returns its seconds."""


def take_turns(sides: dict[str, Side], rounds: int) -> dict[str, float]:
    """Return the median seconds of each side; one round to warm up is not counted."""
    times: dict[str, list[float]] = {name: [] for name in sides}
    for number in range(rounds + 1):
        for name, side in sides.items():
            seconds = side()
            if number:
                times[name].append(seconds)
                print(f"round {number} {name}: {seconds:.3f} s", file=sys.stderr)
    return {name: statistics.median(values) for name, values in times.items()}


def per_clip(work: Callable[[Any], object], items: Sequence[Any]) -> float:
    """Return the milliseconds per item, the best of three passes."""
    best = float("inf")
    for _ in range(3):
        start = time.perf_counter()
        for item in items:
            work(item)
        best = min(best, time.perf_counter() - start)
    return 1000 * best / len(items)


def table(header: Sequence[str], rows: Sequence[Sequence[object]]) -> list[str]:
    """Return the lines of a Markdown table."""
    return ["| " + " | ".join(map(str, row)) + " |" for row in (header, ["---"] * len(header), *rows)]


def plain_loop(clips: Sequence[Path], out: Path, threads: int | None) -> float:
    """Run the loop that people write, in this process."""
    import torch
    import torchaudio

    if threads:
        torch.set_num_threads(threads)
    out.mkdir(exist_ok=True)
    start = time.perf_counter()
    for clip in clips:
        samples, rate = soundfile.read(clip, dtype="float32")
        wave = torchaudio.functional.resample(torch.from_numpy(samples), rate, SAMPLE_RATE)
        soundfile.write(out / f"{clip.stem}.flac", wave.numpy(), SAMPLE_RATE)
    return time.perf_counter() - start


def decode_only(folder: str, clip: str) -> DecodedClip:
    """Decode an MP3 and throw the samples away."""
    samples, _ = soundfile.read(f"{folder}/{clip}", dtype="float32")
    return DecodedClip(StoreRecord(clip, n_frames=len(samples)))


def drain(decoder: ClipDecoder, folder: Path, names: Sequence[str]) -> float:
    """Decode clips in the pool and drop the results."""
    start = time.perf_counter()
    for _ in decoder.decode(folder, names):
        pass
    return time.perf_counter() - start


def make_store(decoder: ClipDecoder, folder: Path, names: Sequence[str], out: Path) -> float:
    """Build a store from nothing."""
    shutil.rmtree(out, ignore_errors=True)
    plan = StorePlan(StorePaths(out / "train.zip"), folder, names)
    start = time.perf_counter()
    build_store(plan, decoder, before_change=lambda: None, on_clip=lambda: None)
    return time.perf_counter() - start


def run_audio(folder: Path, work: Path, args: argparse.Namespace) -> list[str]:
    """Compare the plain loop, covost's stores with one process and with several, and decoding alone."""
    names = sorted(path.name for path in folder.iterdir())[: args.limit]
    paths = [folder / name for name in names]
    seconds = sum(len(read_audio(path)) for path in paths) / SAMPLE_RATE
    jobs = args.jobs
    # Pools are started and warm before the clock runs, as the plain loop's imports are not counted either.
    with (
        ClipDecoder(LocalEngine(1)) as one,
        ClipDecoder(LocalEngine(jobs)) as several,
        ClipDecoder(LocalEngine(jobs), decode=decode_only) as bare,
    ):
        sides: dict[str, Side] = {
            "plain loop, 1 process": lambda: plain_loop(paths, work / "plain", args.plain_threads),
            "covost, 1 process": lambda: make_store(one, folder, names, work / "one"),
            f"covost, {jobs} processes": lambda: make_store(several, folder, names, work / "several"),
            "decoding alone, 1 process": lambda: _decode_all(paths),
            f"decoding alone, {jobs} processes": lambda: drain(bare, folder, names),
        }
        medians = take_turns(sides, args.rounds)
    flacs = sum(path.stat().st_size for path in (work / "plain").iterdir())
    store = (work / "several" / "train.zip").stat().st_size
    own = sum(len(encode_flac(read_audio(path))) for path in paths)
    rows = [
        [name, f"{len(names) / t:.0f}", f"{seconds / t:.0f} x", f"{medians['plain loop, 1 process'] / t:.2f}"]
        for name, t in medians.items()
    ]
    ours, bare_time = medians[f"covost, {jobs} processes"], medians[f"decoding alone, {jobs} processes"]
    plain = medians["plain loop, 1 process"]
    return [
        f"{len(names)} clips of {seconds / len(names):.2f} s on average; medians of {args.rounds} rounds",
        "",
        *table(["side", "clips/s", "of real time", "of the plain loop"], rows),
        "",
        f"share of decoding alone, {jobs} processes: {bare_time / ours:.0%}",
        f"with {args.targets} targets, against the plain loop once per direction: {args.targets * plain / ours:.1f} x",
        f"store: {store} bytes, {store / own:.4f} of its FLAC files; the plain loop's files: {flacs} bytes",
        "",
        *_parts(paths[:200]),
    ]


def _decode(path: Path) -> object:
    return soundfile.read(path, dtype="float32")


def _decode_all(paths: Sequence[Path]) -> float:
    start = time.perf_counter()
    for path in paths:
        _decode(path)
    return time.perf_counter() - start


SLICED_SECONDS = 7200
NUM_SLICES = 1000
_FORMATS = (("wav", "WAV", "PCM_16"), ("flac", "FLAC", "PCM_16"), ("mp3", "MP3", "MPEG_LAYER_III"))


def run_slices(work: Path, args: argparse.Namespace) -> list[str]:
    """Compare stores of the slices of two hours, in one or several recordings, with those of as many files."""
    rows = []
    for ending, container, subtype in _FORMATS:
        folder = work / "slices" / ending
        names = _write_talks(folder, ending, container, subtype, args.recordings)
        with ClipDecoder(LocalEngine(args.jobs)) as decoder:
            sides: dict[str, Side] = {
                side: partial(make_store, decoder, folder, clips, work / "sliced" / side)
                for side, clips in names.items()
            }
            medians = take_turns(sides, args.rounds)
        rows += [[container, side, f"{t:.2f}", f"{t / medians['files']:.2f}"] for side, t in medians.items()]
    header = ["recording", "side", "seconds", "of the files"]
    return [
        f"{NUM_SLICES} clips of two hours in {args.recordings} recordings, {args.jobs} processes",
        "",
        *table(header, rows),
    ]


def _write_talks(folder: Path, ending: str, container: str, subtype: str, recordings: int) -> dict[str, list[str]]:
    """Write recordings and their slices as files; return the clips of either side."""
    folder.mkdir(parents=True, exist_ok=True)
    seconds, rng = SLICED_SECONDS / NUM_SLICES, np.random.default_rng(0)
    names: dict[str, list[str]] = {"files": [], "slices": []}
    for recording, numbers in enumerate(np.array_split(np.arange(NUM_SLICES), recordings)):
        talk = f"talk{recording:04}.{ending}"
        with soundfile.SoundFile(folder / talk, "w", SAMPLE_RATE, 1, subtype, format=container) as file:
            for place, number in enumerate(numbers):
                part = rng.uniform(-0.3, 0.3, round(seconds * SAMPLE_RATE)).astype(np.float32)
                file.write(part)
                soundfile.write(folder / f"{number:04}.{ending}", part, SAMPLE_RATE, subtype, format=container)
                names["files"].append(f"{number:04}.{ending}")
                names["slices"].append(clip_name(talk, place * seconds, (place + 1) * seconds))
    return names


def _parts(paths: Sequence[Path]) -> list[str]:
    """Say what one clip costs, part by part, in one process."""
    waves = [soundfile.read(path, dtype="float32") for path in paths]
    resampled = [soxr.resample(wave, rate, SAMPLE_RATE, quality="HQ") for wave, rate in waves]
    costs = {
        "decoding the MP3": per_clip(_decode, paths),
        "resampling, soxr HQ": per_clip(lambda w: soxr.resample(w[0], w[1], SAMPLE_RATE, quality="HQ"), waves),
        "encoding FLAC": per_clip(encode_flac, resampled),
    }
    total = sum(costs.values())
    return table(["part", "ms per clip", "share"], [[k, f"{v:.2f}", f"{v / total:.0%}"] for k, v in costs.items()])


def run_access(folder: Path, work: Path, args: argparse.Namespace) -> list[str]:
    """Compare random reads from a store with reads of loose files of the same bytes."""
    names = sorted(path.name for path in folder.iterdir())[: args.limit]
    with ClipDecoder(LocalEngine(1)) as decoder:
        make_store(decoder, folder, names, work / "store")
    records = [line.split("\t") for line in (work / "store" / "train.index.tsv").read_text().splitlines()[1:]]
    slices = [f"{work}/store/train.zip:{offset}:{length}" for _, offset, length, *_ in records if length != "0"]
    (work / "loose").mkdir()
    loose = []
    for number, place in enumerate(slices):
        path, offset, length = place.rsplit(":", 2)
        loose.append(str(work / "loose" / f"{number:06}.flac"))
        with Path(path).open("rb") as handle:
            handle.seek(int(offset))
            Path(loose[-1]).write_bytes(handle.read(int(length)))
    rows = []
    for jobs in (1, args.jobs):
        work_items = slices * 4 * jobs, loose * 4 * jobs
        used: dict[str, list[float]] = {"loose files, soundfile.read": [], "store, read_audio": []}
        with ProcessPoolExecutor(
            jobs, mp_context=multiprocessing.get_context("spawn"), initializer=start_worker
        ) as pool:
            reads: list[Callable[[str], object]] = [_read_loose, read_audio]
            sides: dict[str, Side] = {
                name: partial(_read_share, pool, jobs, read, names, used[name])
                for name, read, names in zip(used, reads, reversed(work_items), strict=True)
            }
            medians = take_turns(sides, args.rounds)
        cpu = {name: 1000 * statistics.median(seconds[1:]) / len(work_items[0]) for name, seconds in used.items()}
        names = list(used)
        rows += [
            [
                jobs, name, f"{len(work_items[0]) / medians[name]:.0f}", f"{medians[names[0]] / medians[name]:.2f}",
                f"{cpu[name]:.3f}", f"{cpu[names[0]] / cpu[name]:.2f}",
            ]
            for name in names
        ]  # fmt: skip
    header = ["processes", "side", "utterances/s", "of loose files", "CPU ms per utterance", "loose files / this"]
    return [
        f"{len(slices)} recordings, each process four times each, in random order; {os.cpu_count()} cores",
        "",
        *table(header, rows),
    ]


def _read_loose(name: str) -> object:
    return soundfile.read(name, dtype="float32")[0]


def _read_share(
    pool: ProcessPoolExecutor, jobs: int, read: Callable[[str], object], names: Sequence[str], used: list[float]
) -> float:
    """Return the seconds until every process has read its share; add their processor time to ``used``."""
    order = list(names)
    random.Random(0).shuffle(order)
    start = time.perf_counter()
    used.append(sum(future.result() for future in [pool.submit(_read_all, read, order[k::jobs]) for k in range(jobs)]))
    return time.perf_counter() - start


def _read_all(read: Callable[[str], object], names: Sequence[str]) -> float:
    start = time.process_time()
    for name in names:
        read(name)
    return time.process_time() - start
