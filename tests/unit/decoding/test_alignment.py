from __future__ import annotations

import itertools

import pytest
import torch
from decoding_models import collapse
from hypothesis import given, settings
from hypothesis import strategies as st

from st.decoding.alignment.forced import LabelSpan, align
from st.errors import DecodingError


def _path(spans: list[LabelSpan], frames: int) -> list[int]:
    path = [0] * frames
    for span in spans:
        path[span.start : span.end] = [span.label] * (span.end - span.start)
    return path


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 6), st.lists(st.integers(1, 2), min_size=1, max_size=3), st.integers(0, 10_000))
def test_i19_alignment_is_the_best_of_all_paths(frames: int, labels: list[int], seed: int) -> None:
    logits = 2 * torch.randn(frames, 3, generator=torch.Generator().manual_seed(seed))
    log_probs = logits.log_softmax(-1)
    paths = [path for path in itertools.product(range(3), repeat=frames) if collapse(list(path)) == labels]
    if not paths:
        with pytest.raises(DecodingError, match="frames"):
            align(logits, labels)
        return
    spans = align(logits, labels)
    assert [span.label for span in spans] == labels
    assert all(one.end <= other.start for one, other in itertools.pairwise(spans))
    assert all(0 <= span.start < span.end <= frames for span in spans)

    def score(path) -> float:
        return float(log_probs[range(frames), list(path)].sum())

    assert score(_path(spans, frames)) == pytest.approx(max(map(score, paths)), abs=1e-4)
    for span in spans:
        expected = log_probs[span.start : span.end, span.label].exp().mean()
        assert span.confidence == pytest.approx(float(expected), abs=1e-5)


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ([], "no label"),
        ([1, 9], r"labels \[9\]"),
        ([1, -1], r"labels \[-1\]"),
        ([1, 0], r"labels \[0\]"),
        ([1, 2, 1, 2, 1], "at least 5 frames and the audio has 4"),
        ([1, 1, 1], "at least 5 frames and the audio has 4"),
    ],
)
def test_i19_texts_that_cannot_be_aligned_are_errors(labels: list[int], message: str) -> None:
    with pytest.raises(DecodingError, match=message):
        align(torch.zeros(4, 4), labels)


@settings(max_examples=40, deadline=None)
@given(st.integers(2, 5), st.lists(st.integers(1, 2), min_size=1, max_size=2), st.integers(0, 10_000))
def test_i19_what_is_impossible_is_in_no_path(frames: int, labels: list[int], seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(frames, 3, generator=generator)
    logits[torch.rand(frames, 3, generator=generator) < 0.4] = -torch.inf
    logits[logits.isinf().all(dim=-1), 0] = 0.0
    paths = [path for path in itertools.product(range(3), repeat=frames) if collapse(list(path)) == labels]
    scores = [float(logits.log_softmax(-1)[range(frames), list(path)].sum()) for path in paths]
    if max(scores, default=-torch.inf) == -torch.inf:
        with pytest.raises(DecodingError, match=r"probability 0|frames"):
            align(logits, labels)
        return
    spans = align(logits, labels)
    assert [span.label for span in spans] == labels
    found = logits.log_softmax(-1)[range(frames), _path(spans, frames)].sum()
    assert float(found) == pytest.approx(max(scores), abs=1e-4)


@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_i19_scores_that_are_no_numbers_are_errors(value: float) -> None:
    logits = torch.zeros(4, 4)
    logits[2, 3] = value
    with pytest.raises(DecodingError, match="NaN or infinity"):
        align(logits, [1, 2])


def test_i19_no_frames() -> None:
    with pytest.raises(DecodingError, match="audio has 0"):
        align(torch.zeros(0, 4), [1])
