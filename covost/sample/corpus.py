"""Make the sample corpus: draw sentences, have them spoken, write the tables of Common Voice and CoVoST 2."""

from __future__ import annotations

import itertools
import logging
import multiprocessing
import random
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from covost.sample.clips import Clip, make_clip
from covost.sample.config import SampleConfig, claim_folder
from covost.sample.draw import Sentence, SentencePool
from covost.sample.voices import HELD_OUT_VOICES, Voice, voices
from st.console import progress
from st.errors import StError
from st.files import atomic_write
from st.text.languages import split_direction
from st.workers import start_worker

logger = logging.getLogger(__name__)

VALIDATED_COLUMNS = ("client_id", "path", "sentence", "up_votes", "down_votes", "age", "gender", "accent")
COVOST_COLUMNS = ("path", "translation", "split")

MakeClips = Callable[[Iterable[Clip]], Iterator[float]]


@dataclass(frozen=True, slots=True)
class Utterance:
    """A sentence said by a speaker in one split of one language."""

    split: str
    sentence: Sentence
    clip: Clip


@dataclass(frozen=True, slots=True)
class SplitSummary:
    """What a split of a language came to."""

    language: str
    split: str
    num_clips: int
    num_speakers: int
    duration_s: float


def make_corpus(folder: Path, config: SampleConfig, *, jobs: int = 1) -> list[SplitSummary]:
    """Make a sample corpus, or finish one that was interrupted.

    The files depend on ``config`` alone: not on ``jobs``, nor on interruptions.

    Args:
        folder: Empty, missing, or holding a corpus of the same settings.
        config: What to make.
        jobs: Processes that speak.

    Returns:
        One summary per language and split.

    Raises:
        UsageError: If ``folder`` holds something else.
        StError: If eSpeak NG fails.
        OSError: If a file cannot be written.
    """
    claim_folder(folder, config)
    pool = SentencePool(config.text_languages)
    plans = {
        code: [_held_out(folder, pool, config, code, split) for split in ("test", "dev")] for code in config.languages
    }
    summaries: list[SplitSummary] = []
    total_s = round(config.hours * 3600)
    with _clip_makers(jobs) as make, progress(total=total_s, unit="s", desc="speech") as bar:
        for code in config.languages:
            held_out = [utterance for plan in plans[code] for utterance in plan]
            stream = itertools.chain(held_out, _training(folder, pool, config, code))
            spoken = _speak_until(stream, len(held_out) + 1, config.seconds_per_language, make, bar)
            _write_tables(folder, config, code, [utterance for utterance, _ in spoken])
            summaries += _summarise(code, spoken)
    return summaries


def _held_out(folder: Path, pool: SentencePool, config: SampleConfig, code: str, split: str) -> list[Utterance]:
    """Plan one held-out split of a language; test clips are numbered first, then dev, then train."""
    start = 1 if split == "test" else 1 + config.num_held_out("test")
    rng = random.Random(f"{config.seed}/{code}/{split}")
    sentences = pool.hold_out(config.num_held_out(split), rng)
    speakers = voices(split, HELD_OUT_VOICES[split])
    return list(_utterances(folder, code, split, sentences, speakers, start))


def _training(folder: Path, pool: SentencePool, config: SampleConfig, code: str) -> Iterator[Utterance]:
    """Plan the train split of a language, without end."""
    start = 1 + config.num_held_out("test") + config.num_held_out("dev")
    sentences = pool.training(code, random.Random(f"{config.seed}/{code}/train"))
    return _utterances(folder, code, "train", sentences, voices("train", config.num_train_voices), start)


def _utterances(
    folder: Path, code: str, split: str, sentences: Iterable[Sentence], speakers: Sequence[Voice], start: int
) -> Iterator[Utterance]:
    for number, (sentence, voice) in enumerate(zip(sentences, itertools.cycle(speakers), strict=False), start):
        path = folder / code / "clips" / f"common_voice_{code}_{number:08d}.mp3"
        yield Utterance(split, sentence, Clip(path, sentence.write(code), code, voice))


def _speak_until(
    stream: Iterator[Utterance], least: int, budget_s: float, make: MakeClips, bar: Any
) -> list[tuple[Utterance, float]]:
    """Speak the stream in order until at least ``least`` clips and ``budget_s`` seconds are reached.

    Durations are known only afterwards, so the stream is spoken in blocks that approach the budget; where it ends
    depends on the durations in order, and not on the blocks.
    """
    spoken: list[tuple[Utterance, float]] = []
    seconds = 0.0
    size = least
    while len(spoken) < least or seconds < budget_s:
        block = list(itertools.islice(stream, size))
        for utterance, duration_s in zip(block, make(utterance.clip for utterance in block), strict=True):
            if len(spoken) >= least and seconds >= budget_s:
                utterance.clip.path.unlink()  # one too many
                continue
            spoken.append((utterance, duration_s))
            seconds += duration_s
            bar.update(duration_s)
        size = max(1, int((budget_s - seconds) * len(spoken) / seconds))
    return spoken


@contextmanager
def _clip_makers(jobs: int) -> Iterator[MakeClips]:
    """Give a function that makes clips in ``jobs`` processes and returns their durations in order."""
    if jobs == 1:
        yield lambda clips: map(make_clip, clips)
        return
    # A fresh interpreter, not a copy of this one, whose threads a copy would lack.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(jobs, context, initializer=start_worker) as executor:
        try:
            yield lambda clips: executor.map(make_clip, clips, chunksize=4)
        except BrokenProcessPool as error:
            raise StError("a process that speaks was killed; run again to go on, with fewer `jobs`") from error
        except BaseException:
            executor.shutdown(cancel_futures=True)
            raise


def _write_tables(folder: Path, config: SampleConfig, code: str, utterances: Sequence[Utterance]) -> None:
    """Write ``validated.tsv`` and one CoVoST table per direction out of a language, all clips being there."""
    names = {utterance.clip.path.name for utterance in utterances}
    for path in (folder / code / "clips").iterdir():
        if path.name not in names:
            path.unlink()  # left by an interrupted run
    for direction in config.directions:
        source, target = split_direction(direction)
        if source == code:
            rows = [(u.clip.path.name, u.sentence.write(target), u.split) for u in utterances]
            _write_table(folder / code / f"covost_v2.{direction}.tsv", COVOST_COLUMNS, rows)
    validated = [
        (u.clip.voice.client_id(code), u.clip.path.name, u.clip.text, "2", "0", "", u.clip.voice.gender, "")
        for u in utterances
    ]
    _write_table(folder / code / "validated.tsv", VALIDATED_COLUMNS, validated)


def _write_table(path: Path, columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Write tab-separated values without quoting; the texts hold neither tabs nor line breaks."""
    with atomic_write(path) as handle:
        for row in (columns, *rows):
            handle.write("\t".join(row) + "\n")


def _summarise(code: str, spoken: Sequence[tuple[Utterance, float]]) -> list[SplitSummary]:
    summaries = []
    for split in ("train", "dev", "test"):
        mine = [(utterance, duration_s) for utterance, duration_s in spoken if utterance.split == split]
        speakers = {utterance.clip.voice for utterance, _ in mine}
        summaries.append(SplitSummary(code, split, len(mine), len(speakers), sum(seconds for _, seconds in mine)))
    logger.info("%s: %s", code, ", ".join(f"{s.num_clips} {s.split}" for s in summaries))
    return summaries
