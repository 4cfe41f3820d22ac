"""A recording's frames are divided where that changes no letter of its greedy text."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from st.decoding.ctc import ctc_greedy
from st.inference.long.frame_pieces import divide_frames
from st.text.ctc_vocabulary import CtcVocabulary

labels = st.lists(st.integers(0, 5), max_size=120)


@given(labels, st.integers(4, 40), st.integers(2, 12), st.lists(st.integers(1, 30), min_size=1, max_size=9))
@settings(max_examples=150)
def test_pieces_decode_to_the_text_of_the_whole(path: list[int], longest: int, pause: int, sizes: list[int]) -> None:
    vocabulary = CtcVocabulary({"<pad>": 0, "<unk>": 1, "|": 2, "a": 3, "b": 4, "c": 5})
    logits = torch.nn.functional.one_hot(torch.tensor(path, dtype=torch.long), 6).float()
    pieces = list(divide_frames(split(logits, sizes), longest=longest, pause=pause, delimiter=2))
    assert sum(map(len, pieces)) == len(path)
    assert all(0 < len(piece) <= longest for piece in pieces)
    assert [piece.start for piece in pieces] == [sum(map(len, pieces[:number])) for number in range(len(pieces))]
    text = ""
    for piece in pieces:
        found = vocabulary.decode(ctc_greedy(piece.logits[None], torch.tensor([len(piece)]))[0], collapse=False)
        text += (" " if text and found and not piece.continues else "") + found
    assert text == vocabulary.decode(path)
    again = list(divide_frames([logits], longest=longest, pause=pause, delimiter=2)) if path else []
    assert [(piece.start, piece.continues) for piece in again] == [(piece.start, piece.continues) for piece in pieces]


def split(logits: torch.Tensor, sizes: list[int]) -> Iterator[torch.Tensor]:
    while len(logits):
        size = sizes[0]
        sizes = [*sizes[1:], size]
        yield logits[:size]
        logits = logits[size:]
