"""The clips of a store divided into tasks: slices of a recording stay together, so that one process decodes it once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby, islice

from st.preparation.stores.names import parse

LEAST_CLIPS = 16
"""Clips of a task, where there are so many; a message between processes costs as much as a short clip."""
MOST_SLICES = 256
"""Slices of one recording in a task, about half an hour: their FLAC waits in memory, and a recording of hours shall keep
more than one process busy. Where a format can only be read forward, each of them decodes what comes before its part."""


def divide(clips: Sequence[str]) -> Iterator[list[str]]:
    """Yield the clips in their order, in tasks of whole recordings; one of very many slices is parted."""
    task: list[str] = []
    for _, run in groupby(clips, lambda clip: parse(clip).audio):
        while part := list(islice(run, MOST_SLICES)):
            task += part
            if len(task) >= LEAST_CLIPS:
                yield task
                task = []
    if task:
        yield task
