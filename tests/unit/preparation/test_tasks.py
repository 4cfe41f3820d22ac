"""How the clips of a store are divided among processes."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Future
from itertools import groupby
from pathlib import Path

import pytest

from st.engines.local import LocalEngine
from st.preparation.stores.decode import ClipDecoder, DecodedClip
from st.preparation.stores.names import clip_name, parse
from st.preparation.stores.store import StoreRecord
from st.preparation.stores.tasks import LEAST_CLIPS, MOST_SLICES, divide


def slices(audio: str, count: int) -> list[str]:
    return [clip_name(audio, second, second + 1) for second in range(count)]


@pytest.mark.parametrize("counts", [[0], [5], [15, 1, 40], [3] * 20, [256, 257, 1], [255, 256], [1000, 20], [16] * 4])
def test_every_recording_is_in_one_task_but_for_very_long_ones(counts: list[int]) -> None:
    clips = [clip for number, count in enumerate(counts) for clip in slices(f"{number:03}.mp3", count)]
    tasks = list(divide(clips))
    assert [clip for task in tasks for clip in task] == clips
    assert all(len(task) >= LEAST_CLIPS for task in tasks[:-1])
    for number, count in enumerate(counts):
        holders = [task for task in tasks if any(parse(clip).audio == f"{number:03}.mp3" for clip in task)]
        assert len(holders) == -(-count // MOST_SLICES)
    for task in tasks:
        assert all(len(list(run)) <= MOST_SLICES for _, run in groupby(task, lambda clip: parse(clip).audio))


def test_whole_recordings_are_dealt_out_evenly() -> None:
    tasks = list(divide([f"{number:03}.mp3" for number in range(50)]))
    assert [len(task) for task in tasks] == [LEAST_CLIPS] * 3 + [2]


class Watched(LocalEngine):
    """Decodes nothing, in this process; notes which tasks are under way."""

    def __init__(self, jobs: int) -> None:
        super().__init__(jobs)
        self.tasks: list[int] = []

    def _start(self, _: object, item: Sequence[str]) -> Future[list[DecodedClip]]:
        self.tasks.append(len(item))
        done: Future[list[DecodedClip]] = Future()
        done.set_result([DecodedClip(StoreRecord(clip)) for clip in item])
        return done


@pytest.mark.parametrize(("count", "waiting"), [(1, 6), (16, 6), (40, 4), (1000, 4)])
def test_no_more_is_under_way_than_keeps_two_processes_busy(count: int, waiting: int) -> None:
    clips = [clip for number in range(2000 // count) for clip in slices(f"{number:04}.mp3", count)]
    engine = Watched(2)
    found = ClipDecoder(engine).decode(Path(), clips)
    first = next(found)
    assert len(engine.tasks) == waiting
    assert [first.record.clip, *(decoded.record.clip for decoded in found)] == clips
