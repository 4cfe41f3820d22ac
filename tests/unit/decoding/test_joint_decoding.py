from __future__ import annotations

import itertools
import math
from collections import defaultdict
from collections.abc import Sequence

import pytest
import torch
from decoding_models import CONFIG, collapse, make_memory, make_model
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from st.decoding.beam_search import beam_search
from st.decoding.ctc_prefix_score import CtcPrefixScorer
from st.decoding.joint import MOST_UNHEARD, JointScorer
from st.decoding.options import BeamOptions, Hypothesis

EOS, VOCAB = CONFIG.decoder.eos, CONFIG.decoder.vocab_size


def exact(log_probs: Tensor) -> dict[tuple[int, ...], float]:
    """Probability of every label sequence, by listing all paths of ``(S, C)``."""
    totals: dict[tuple[int, ...], float] = defaultdict(float)
    for path in itertools.product(range(log_probs.size(1)), repeat=log_probs.size(0)):
        totals[tuple(collapse(list(path)))] += math.exp(sum(float(log_probs[t, label]) for t, label in enumerate(path)))
    return totals


def begins(totals: dict[tuple[int, ...], float], prefix: tuple[int, ...]) -> float:
    return sum(value for labels, value in totals.items() if labels[: len(prefix)] == prefix)


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.integers(1, 5), min_size=1, max_size=3),
    st.integers(2, 4),
    st.integers(0, 10_000),
    st.floats(0.1, 30),
    st.lists(st.integers(1, 3), max_size=4),
)
def test_i18_prefix_scores_equal_brute_force(
    lengths: list[int], size: int, seed: int, sharpness: float, labels: list[int]
) -> None:
    labels = [1 + label % (size - 1) for label in labels]
    logits = sharpness * torch.randn(len(lengths), max(lengths), size, generator=torch.Generator().manual_seed(seed))
    scorer = CtcPrefixScorer(logits, torch.tensor(lengths))
    everyone = torch.arange(len(lengths))
    none = torch.full((len(lengths),), -1)
    paths = scorer.advance(scorer.empty(), everyone, none, [tuple(labels)] * len(lengths))
    last = torch.full((len(lengths),), labels[-1] if labels else -1)
    ends = scorer.ends(paths, everyone)
    suffixes = [(1,), (size - 1,), (1, 1), (1, size - 1)]
    wanted = [(row, suffix) for row in range(len(lengths)) for suffix in suffixes]
    scores = dict(zip(wanted, scorer.score(paths, everyone, last, wanted), strict=True))
    for row, length in enumerate(lengths):
        totals = exact(logits[row, :length].log_softmax(-1).double())
        assert math.exp(ends[row]) == pytest.approx(totals.get(tuple(labels), 0.0), abs=1e-6)
        for suffix in suffixes:
            expected = begins(totals, (*labels, *suffix))
            assert math.exp(scores[row, suffix]) == pytest.approx(expected, abs=1e-6)


def test_i18_no_frames_say_nothing_and_end_at_once() -> None:
    scorer = CtcPrefixScorer(torch.randn(1, 3, 4), torch.tensor([0]))
    one, none = torch.tensor([0]), torch.tensor([-1])
    assert float(scorer.ends(scorer.empty(), one)) == 0.0
    assert scorer.score(scorer.empty(), one, none, [(0, (1,))]) == [-math.inf]


def test_prefix_scores_stay_exact_over_many_sharp_frames() -> None:
    """Against the recursion of the paper, frame by frame; with peaks, sums reach -20,000."""
    torch.manual_seed(0)
    logits, labels = 20 * torch.randn(1, 700, 30), torch.randint(1, 30, (60,)).tolist()
    log_probs = logits[0].log_softmax(-1).double()
    blank, label = [0.0], [-math.inf]
    for frame in log_probs:
        blank.append(blank[-1] + float(frame[0]))
        label.append(-math.inf)
    scorer = CtcPrefixScorer(logits, torch.tensor([700]))
    paths, one = scorer.empty(), torch.tensor([0])
    for place, new in enumerate(labels):
        last = labels[place - 1] if place else -1
        phi = [_add(b, n if last != new else -math.inf) for b, n in zip(blank, label, strict=True)]
        psi, more, held = -math.inf, [-math.inf], [-math.inf]
        for t, frame in enumerate(log_probs):
            psi = _add(psi, phi[t] + float(frame[new]))
            held.append(_add(held[-1], more[-1]) + float(frame[0]))
            more.append(_add(more[-1], phi[t]) + float(frame[new]))
        blank, label = held, more
        assert scorer.score(paths, one, torch.tensor([last]), [(0, (new,))]) == [pytest.approx(psi, abs=1e-6)]
        paths = scorer.advance(paths, one, torch.tensor([last]), [(new,)])
    assert float(scorer.ends(paths, one)) == pytest.approx(_add(blank[-1], label[-1]), abs=1e-6)


def _add(one: float, other: float) -> float:
    top = max(one, other)
    return top if top == -math.inf else top + math.log(math.exp(one - top) + math.exp(other - top))


# Tokens 4 and 5 are tags. The others write one, two or three letters, a comma (nothing), or an accent that turns the
# letter before it into another one.
ALPHABET = 5


def letters(tokens: Sequence[int]) -> list[int]:
    found: list[int] = []
    for token in tokens:
        if token < 6 or token % 7 == 0:
            continue
        if token % 7 == 1 and found:
            found[-1] = 1 + found[-1] % (ALPHABET - 1)
            continue
        found += [1 + (token + place) % (ALPHABET - 1) for place in range(1 + token % 3)]
    return found


def _joint(
    weight: float, options: BeamOptions, *, num: int = 3, candidates: int = VOCAB, frames: int = 40
) -> tuple[list[list[Hypothesis]], Tensor, Tensor]:
    logits = 2 * torch.randn(num, frames, ALPHABET, generator=torch.Generator().manual_seed(4))
    lengths = torch.tensor([frames - 3 * row for row in reversed(range(num))])
    model, memory, prefix = make_model(), make_memory(num), torch.tensor([4, 5, 4, 5][:num])
    tags = prefix[:, None].tolist()
    scorer = JointScorer(logits, lengths, letters, weight=weight, candidates=candidates, always=tags)
    return beam_search(model, memory, prefix, options, scorer=scorer), logits, lengths


@pytest.mark.parametrize("candidates", [8, VOCAB])
def test_weight_zero_is_the_plain_beam(candidates: int) -> None:
    options = BeamOptions(beam=4, nbest=4, max_len_b=20)
    found, _, _ = _joint(0.0, options, num=4, candidates=candidates)
    plain = beam_search(make_model(), make_memory(4), torch.tensor([4, 5, 4, 5]), options)
    for one, other in zip(found, plain, strict=True):
        assert [item.tokens for item in one] == [item.tokens for item in other]
        assert [item.score for item in one] == pytest.approx([item.score for item in other], abs=1e-5)


@pytest.mark.parametrize("weight", [0.3, 1.0])
def test_scores_are_the_weighted_sum_of_both_heads(weight: float) -> None:
    options = BeamOptions(beam=4, nbest=4, max_len_b=12, normalize_scores=False)
    found, logits, lengths = _joint(weight, options)
    model, memory = make_model(), make_memory(3)
    silent = 0
    loss = torch.nn.functional.ctc_loss
    for row, hypotheses in enumerate(found):
        assert len({one.tokens for one in hypotheses}) == 4
        log_probs = logits[row : row + 1, : lengths[row]].log_softmax(-1).transpose(0, 1)
        for one in hypotheses:
            memory_row = memory.select(torch.tensor([row]))
            with torch.no_grad():
                scores = model.decoder(torch.tensor([[EOS, *one.tokens]]), memory_row.states, memory_row.lengths)
            attention = scores[0].log_softmax(-1)[range(len(one.tokens) + 1), [*one.tokens, EOS]]
            unheard = [
                letters(one.tokens[: place + 1]) == letters(one.tokens[:place]) for place in range(len(one.tokens))
            ]
            silent += sum(unheard[1:])
            parts = torch.tensor([1 - weight, *(1.0 if other else 1 - weight for other in unheard[1:]), 1 - weight])
            labels = torch.tensor([letters(one.tokens)])
            ctc = -loss(log_probs, labels, lengths[row : row + 1], torch.tensor([labels.size(1)]), reduction="sum")
            assert one.score == pytest.approx(float((parts * attention).sum() + weight * ctc), abs=1e-3)
            assert sum(one.token_scores) == pytest.approx(one.score, abs=1e-4)
    assert (silent > 0) == (weight < 1)


def test_weight_one_finds_the_ctc_optimum() -> None:
    """Tokens 6 and 7 write the letters 1 and 2, all others one that is never heard: no detours."""

    def plain_letters(tokens: Sequence[int]) -> list[int]:
        return [token - 5 if 6 <= token <= 7 else 3 for token in tokens[1:]]

    logits = 2 * torch.randn(4, 6, 4, generator=torch.Generator().manual_seed(6))
    logits[:, :, 3] = -50
    lengths = torch.tensor([6, 4, 5, 6])
    scorer = JointScorer(logits, lengths, plain_letters, weight=1.0, candidates=1, always=[range(4, 8)] * 4)
    options = BeamOptions(beam=60, max_len_b=7, normalize_scores=False, min_len=0)
    found = beam_search(make_model(), make_memory(4), torch.tensor([4, 5, 4, 4]), options, scorer=scorer)
    optima = set()
    for [best], scores, length in zip(found, logits, lengths.tolist(), strict=True):
        totals = exact(scores[:length].log_softmax(-1).double())
        optima.add(max(totals, key=lambda labels: totals[labels]))
        assert totals[tuple(plain_letters(best.tokens))] == max(totals.values())
        assert math.exp(best.score) == pytest.approx(max(totals.values()), rel=1e-4)
    assert len(optima) > 2


@pytest.mark.parametrize("weight", [0.5, 1.0])
def test_i08_pieces_without_letters_are_no_free_ride(weight: float) -> None:
    """Tokens 40 to 60 write nothing, and the decoder likes them no better than others."""

    def some_letters(tokens: Sequence[int]) -> list[int]:
        return [1 + token % (ALPHABET - 1) for token in tokens[1:] if token < 40]

    logits = 4 * torch.randn(3, 12, ALPHABET, generator=torch.Generator().manual_seed(4))
    scorer = JointScorer(
        logits, torch.tensor([12, 9, 10]), some_letters, weight=weight, candidates=12, always=[[4]] * 3
    )
    found = beam_search(
        make_model(), make_memory(3), torch.tensor([4, 4, 4]), BeamOptions(beam=6, nbest=6), scorer=scorer
    )
    for hypotheses in found:
        assert not hypotheses[0].truncated
        for one in hypotheses:
            silent = "".join("x" if token < 40 else "." for token in one.tokens)
            assert "." * (MOST_UNHEARD + 1) not in silent
        assert sum(token >= 40 for token in hypotheses[0].tokens) <= len(hypotheses[0].tokens) / 2


def test_both_heads_together_write_what_neither_writes_alone() -> None:
    options = BeamOptions(beam=5, max_len_b=12)
    texts = [[one.tokens for [one] in _joint(weight, options)[0]] for weight in (0.0, 0.3, 1.0)]
    assert texts[0] != texts[1] != texts[2]


def test_a_batch_gives_what_its_sentences_give_alone() -> None:
    options = BeamOptions(beam=3, nbest=3, max_len_a=0.5, max_len_b=3)
    together, logits, lengths = _joint(0.4, options, num=4, candidates=6, frames=13)
    model, memory, prefix = make_model(), make_memory(4), torch.tensor([4, 5, 4, 5])
    assert len({len(one[0].tokens) for one in together}) > 1, "sentences must leave the batch at different times"
    for row in range(4):
        one = torch.tensor([row])
        scorer = JointScorer(logits[one], lengths[one], letters, weight=0.4, candidates=6, always=[[4 + row % 2]])
        [alone] = beam_search(model, memory.select(one), prefix[one], options, scorer=scorer)
        assert [item.tokens for item in alone] == [item.tokens for item in together[row]]
        assert [item.score for item in alone] == pytest.approx([item.score for item in together[row]], abs=1e-4)


def test_a_longer_prefix_may_be_forced() -> None:
    logits = torch.randn(2, 30, ALPHABET, generator=torch.Generator().manual_seed(4))
    prefix = torch.tensor([[4, 20, 33], [5, 50, 1]])
    scorer = JointScorer(logits, torch.tensor([30, 20]), letters, weight=0.5, candidates=6, always=prefix.tolist())
    found = beam_search(make_model(), make_memory(2), prefix, BeamOptions(beam=3, nbest=3, max_len_b=10), scorer=scorer)
    assert all(one.tokens[:3] == (4, 20, 33) for one in found[0])
    assert all(one.tokens[:2] == (5, 50) for one in found[1])
    assert all(math.isfinite(one.score) for hypotheses in found for one in hypotheses)
