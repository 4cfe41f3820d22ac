from __future__ import annotations

import itertools
import math
from collections import Counter, defaultdict

import pytest
import torch
from decoding_models import collapse
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from st.decoding.ctc import ctc_greedy, ctc_sample
from st.decoding.ctc_prefix import CtcHypothesis, PrefixOptions, ctc_prefix_search
from st.errors import ConfigError


def _one_hot(path: list[int], size: int = 4) -> Tensor:
    return torch.nn.functional.one_hot(torch.tensor(path), size).float()[None] * 50


@pytest.mark.parametrize(
    ("path", "labels"),
    [
        ([0, 0, 0], []),
        ([1, 1, 1], [1]),
        ([1, 0, 1], [1, 1]),
        ([0, 1, 1, 2, 0, 2, 2, 1], [1, 2, 2, 1]),
        ([3], [3]),
    ],
)
def test_i18_greedy_and_prefix_search_on_certain_paths(path: list[int], labels: list[int]) -> None:
    logits, lengths = _one_hot(path), torch.tensor([len(path)])
    assert ctc_greedy(logits, lengths) == [labels]
    assert collapse(path) == labels
    [[best]] = ctc_prefix_search(logits, lengths, PrefixOptions())
    assert list(best.labels) == labels
    assert best.score == pytest.approx(0.0, abs=1e-4)


def test_i18_no_frames_give_no_labels_and_padding_is_not_read() -> None:
    logits = torch.cat([_one_hot([1, 2, 3]), _one_hot([1, 1, 3])])
    lengths = torch.tensor([0, 2])
    assert ctc_greedy(logits, lengths) == [[], [1]]
    empty, held = ctc_prefix_search(logits, lengths, PrefixOptions())
    assert empty == [CtcHypothesis((), 0.0)]
    assert held[0].labels == (1,)
    assert ctc_greedy(torch.zeros(1, 0, 4), torch.tensor([0])) == [[]]


def brute_force(log_probs: Tensor) -> dict[tuple[int, ...], float]:
    """Log-probability of every label sequence, by listing all paths of ``(S, C)``."""
    totals: dict[tuple[int, ...], float] = defaultdict(float)
    for path in itertools.product(range(log_probs.size(1)), repeat=log_probs.size(0)):
        probability = math.exp(sum(float(log_probs[frame, label]) for frame, label in enumerate(path)))
        totals[tuple(collapse(list(path)))] += probability
    return {labels: math.log(total) for labels, total in totals.items()}


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 5), st.integers(2, 4), st.integers(0, 10_000), st.floats(0.1, 5))
def test_i18_prefix_search_equals_brute_force(frames: int, size: int, seed: int, sharpness: float) -> None:
    generator = torch.Generator().manual_seed(seed)
    logits = sharpness * torch.randn(1, frames, size, generator=generator)
    expected = brute_force(logits[0].log_softmax(-1).double())
    options = PrefixOptions(beam=2000, nbest=2000, labels_per_frame=size)
    [found] = ctc_prefix_search(logits, torch.tensor([frames]), options)
    assert {one.labels for one in found} == set(expected)
    for one in found:
        assert one.score == pytest.approx(expected[one.labels], abs=1e-4)
    assert [one.score for one in found] == sorted((one.score for one in found), reverse=True)


def test_labels_are_drawn_as_often_as_brute_force_says() -> None:
    logits = torch.randn(2, 4, 3, generator=torch.Generator().manual_seed(0))
    lengths, times = torch.tensor([4, 2]), 20_000
    found = ctc_sample(logits, lengths, times, [7, 8])
    for row, frames in enumerate(lengths.tolist()):
        probabilities = logits[row, :frames].softmax(-1)
        expected: dict[tuple[int, ...], float] = defaultdict(float)
        for path in itertools.product(range(3), repeat=frames):
            expected[tuple(collapse(path))] += math.prod(float(probabilities[n, c]) for n, c in enumerate(path))
        drawn = Counter(tuple(labels) for labels in found[row])
        assert set(drawn) <= set(expected)
        for labels, probability in expected.items():
            deviation = math.sqrt(probability * (1 - probability) / times)
            assert drawn[labels] / times == pytest.approx(probability, abs=5 * deviation)


def test_what_is_drawn_follows_from_the_key_alone() -> None:
    logits = torch.randn(2, 6, 5, generator=torch.Generator().manual_seed(1))
    together = ctc_sample(logits, torch.tensor([6, 3]), 8, [1, 2])
    assert ctc_sample(logits[1:, :3], torch.tensor([3]), 8, [2]) == together[1:]
    assert ctc_sample(logits[1:, :3], torch.tensor([3]), 8, [3]) != together[1:]
    assert ctc_sample(_one_hot([0, 1, 1, 2]), torch.tensor([4]), 3, [0]) == [[[1, 2]] * 3]
    assert ctc_sample(logits[:1], torch.tensor([0]), 2, [0]) == [[[], []]]


def test_i18_prefix_search_beats_the_best_path_where_many_paths_agree() -> None:
    # Best path: blank blank (0.36); but "1" has three paths: 0.24 + 0.24 + 0.16.
    logits = torch.tensor([[[0.6, 0.4], [0.6, 0.4]]]).log()
    assert ctc_greedy(logits, torch.tensor([2])) == [[]]
    [[best]] = ctc_prefix_search(logits, torch.tensor([2]), PrefixOptions())
    assert best.labels == (1,)
    assert math.exp(best.score) == pytest.approx(0.64)


class _Bigrams:
    """Prefers label 2 after label 1, and ends only after 2."""

    def score(self, labels: tuple[int, ...], label: int) -> float:
        return math.log(0.9 if labels[-1:] == (1,) and label == 2 else 0.05)

    def finish(self, labels: tuple[int, ...]) -> float:
        return math.log(0.5 if labels[-1:] == (2,) else 0.01)


@pytest.mark.parametrize("weight", [0.0, 0.7, 2.0])
def test_i18_language_model_is_added_as_brute_force_says(weight: float) -> None:
    model = _Bigrams()
    logits = torch.randn(1, 4, 3, generator=torch.Generator().manual_seed(3))

    def extra(labels: tuple[int, ...]) -> float:
        steps = sum(model.score(labels[:place], label) for place, label in enumerate(labels))
        return weight * (steps + model.finish(labels)) + 0.3 * len(labels)

    expected = {labels: score + extra(labels) for labels, score in brute_force(logits[0].log_softmax(-1)).items()}
    options = PrefixOptions(beam=500, nbest=500, model_weight=weight, label_bonus=0.3)
    [found] = ctc_prefix_search(logits, torch.tensor([4]), options, model=model)
    assert found[0].labels == max(expected, key=lambda labels: expected[labels])
    for one in found:
        assert one.score == pytest.approx(expected[one.labels], abs=1e-4)


def test_narrow_beam_keeps_the_best_of_a_peaked_output() -> None:
    generator = torch.Generator().manual_seed(0)
    logits = 6 * torch.randn(3, 40, 30, generator=generator)
    lengths = torch.tensor([40, 17, 1])
    wide = ctc_prefix_search(logits, lengths, PrefixOptions(beam=64, labels_per_frame=30))
    narrow = ctc_prefix_search(logits, lengths, PrefixOptions(beam=8, labels_per_frame=8))
    assert [one[0].labels for one in wide] == [one[0].labels for one in narrow]


@pytest.mark.parametrize("options", [{"beam": 0}, {"nbest": 0}, {"nbest": 17}, {"labels_per_frame": 0}])
def test_options_out_of_range_are_named(options: dict[str, int]) -> None:
    with pytest.raises(ConfigError, match=f"`{next(iter(options))}` is"):
        PrefixOptions(**options)
