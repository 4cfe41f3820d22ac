from __future__ import annotations

import dataclasses
import itertools
import math

import pytest
import torch
from decoding_models import CONFIG, make_memory, make_model, make_prefix

from st.decoding.beam_search import beam_search
from st.decoding.options import BeamOptions
from st.decoding.rescoring import score_targets
from st.decoding.sampling import SamplingOptions, likely_tokens, places, sample
from st.errors import ConfigError, DecodingError
from st.kernels.large_vocabulary import log_normalizer, top_tokens
from st.modules.model import Encoded, SpeechTranslator

EOS = CONFIG.decoder.eos


def _log_probs(model: SpeechTranslator, memory: Encoded, row: int, tokens: tuple[int, ...]) -> torch.Tensor:
    """Log-probabilities ``(U + 1, V)`` of what follows each prefix of ``tokens``, from the training forward."""
    inputs = torch.tensor([[EOS, *tokens]])
    with torch.no_grad():
        one = memory.select(torch.tensor([row]))
        return model.decoder(inputs, one.states, one.lengths)[0].log_softmax(-1)


@pytest.mark.parametrize("name", ["length_penalty", "unk_penalty", "temperature", "max_len_a"])
@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_options_that_are_no_finite_numbers_are_refused(name: str, value: float) -> None:
    for kind in (BeamOptions, SamplingOptions):
        with pytest.raises(ConfigError, match=f"`{name}` is {value}; expected .*finite"):
            kind(**{name: value})


def test_i08_beam_1_is_greedy() -> None:
    model, memory, prefix = make_model(), make_memory(6), make_prefix(6)
    found = beam_search(model, memory, prefix, BeamOptions(beam=1, max_len_b=25))
    for row, [hypothesis] in enumerate(found):
        tokens: tuple[int, ...] = (int(prefix[row]),)
        while True:
            scores = _log_probs(model, memory, row, tokens)[-1]
            scores[CONFIG.decoder.pad] = -math.inf
            best = int(scores.argmax())
            if best == EOS or len(tokens) == 25:
                break
            tokens = (*tokens, best)
        assert hypothesis.tokens == tokens
        assert hypothesis.truncated == (len(tokens) == 25 and best != EOS)


def test_token_scores_are_those_of_the_training_forward() -> None:
    model, memory, prefix = make_model(), make_memory(5), make_prefix(5)
    options = BeamOptions(beam=5, nbest=5, max_len_b=20, length_penalty=0.8)
    for row, hypotheses in enumerate(beam_search(model, memory, prefix, options)):
        assert len(hypotheses) == 5
        for one in hypotheses:
            log_probs = _log_probs(model, memory, row, one.tokens)
            expected = log_probs[range(len(one.tokens) + 1), [*one.tokens, EOS]]
            assert one.token_scores == pytest.approx(expected.tolist(), abs=1e-4)
            assert one.score == pytest.approx(sum(one.token_scores) / len(one.token_scores) ** 0.8, abs=1e-4)


def test_wide_beam_finds_the_best_of_all_short_outputs() -> None:
    """Brute force over every output of up to three tokens of a six-word vocabulary."""
    config = dataclasses.replace(CONFIG, decoder=dataclasses.replace(CONFIG.decoder, vocab_size=8))
    torch.manual_seed(3)
    model = SpeechTranslator(config).eval()
    memory, prefix = make_memory(2), torch.tensor([4, 5])
    options = BeamOptions(beam=7, nbest=7, max_len_b=3, normalize_scores=False)
    found = beam_search(model, memory, prefix, options)
    for row in range(2):
        scores = {}
        for length in range(3):
            for rest in itertools.product([0, 3, 4, 5, 6, 7], repeat=length):
                tokens = (int(prefix[row]), *rest)
                log_probs = _log_probs(model, memory, row, tokens)
                scores[tokens] = float(log_probs[range(len(tokens) + 1), [*tokens, EOS]].sum())
        assert found[row][0].tokens == max(scores, key=lambda tokens: scores[tokens])
        for one in found[row]:
            assert one.score == pytest.approx(scores[one.tokens], abs=1e-4)


@pytest.mark.parametrize("options", [{"beam": 5}, {"beam": 3, "max_len_a": 0.7, "max_len_b": 3}])
def test_i06_batch_of_one_equals_batch_of_eight(options: dict[str, float]) -> None:
    model, memory, prefix = make_model(), make_memory(8), make_prefix(8)
    beam = BeamOptions(**{"max_len_b": 30, **options}, nbest=3)
    together = beam_search(model, memory, prefix, beam)
    for row in range(8):
        one = torch.tensor([row])
        [alone] = beam_search(model, memory.select(one), prefix[one], beam)
        assert [item.tokens for item in alone] == [item.tokens for item in together[row]]
        assert [item.score for item in alone] == pytest.approx([item.score for item in together[row]], abs=1e-5)


def test_an_utterance_with_several_targets_is_decoded_from_one_memory() -> None:
    model, memory = make_model(), make_memory(3)
    rows, prefix = torch.tensor([0, 0, 2, 1, 0]), make_prefix(5)
    found = beam_search(model, memory.select(rows), prefix, BeamOptions(beam=3, max_len_b=20))
    assert len({one.tokens for [one] in found}) == 5
    assert [one.tokens[0] for [one] in found] == prefix.tolist()


@pytest.mark.parametrize("beam", [60, 61, 500])
def test_i08_beam_wider_than_the_vocabulary_is_safe(beam: int) -> None:
    options = BeamOptions(beam=beam, nbest=beam, max_len_b=4)
    for hypotheses in beam_search(make_model(), make_memory(2), make_prefix(2), options):
        assert 1 <= len(hypotheses) <= 60
        assert len({one.tokens for one in hypotheses}) == len(hypotheses)
        assert all(math.isfinite(one.score) and EOS not in one.tokens for one in hypotheses)


@pytest.mark.parametrize("max_len", [0, 1, 2])
def test_i08_smallest_length_limits_are_safe_and_flagged(max_len: int) -> None:
    options = BeamOptions(beam=3, max_len_b=max_len, min_len=0)
    found = beam_search(make_model(eos_bias=-9.0), make_memory(3), make_prefix(3), options)
    for [one] in found:
        assert len(one.tokens) == max_len
        assert one.truncated


@pytest.mark.parametrize("length_penalty", [-1e300, -1000.0, -100.0, 0.0, 100.0, 1000.0, 1e300])
def test_i08_extreme_length_penalties_are_safe(length_penalty: float) -> None:
    options = BeamOptions(beam=4, nbest=4, length_penalty=length_penalty, max_len_b=20)
    for hypotheses in beam_search(make_model(), make_memory(3), make_prefix(3), options):
        scores = [one.score for one in hypotheses]
        assert all(math.isfinite(score) for score in scores)
        assert scores == sorted(scores, reverse=True)
    [one] = score_targets(make_model(), make_memory(1), [(7, 9)], options)
    assert math.isfinite(one.score)


@pytest.mark.parametrize(
    "limits", [{"max_len_b": 10**19}, {"max_len_b": 10**400}, {"max_len_a": 1e30}, {"min_len": 10**19}]
)
def test_i08_limits_of_any_size_end_at_the_models_positions(limits: dict[str, float]) -> None:
    for [one] in beam_search(make_model(eos_bias=-9.0), make_memory(2), make_prefix(2), BeamOptions(beam=2, **limits)):
        assert len(one.tokens) == CONFIG.decoder.max_positions - 1


def test_i08_only_outputs_cut_at_the_limit_are_flagged() -> None:
    options = BeamOptions(beam=4, nbest=4, max_len_b=8)
    flags = set()
    for hypotheses in beam_search(make_model(), make_memory(8), make_prefix(8), options):
        for one in hypotheses:
            assert len(one.tokens) == 8 or not one.truncated
            flags.add(one.truncated)
    assert flags == {True, False}


def test_i08_an_output_that_just_fits_is_not_flagged() -> None:
    model, memory, prefix = make_model(), make_memory(8), make_prefix(8)
    free = beam_search(model, memory, prefix, BeamOptions(beam=1, max_len_b=30))
    ended = [row for row, [one] in enumerate(free) if not one.truncated]
    assert ended
    for row in ended:
        one, [expected] = torch.tensor([row]), free[row]
        options = BeamOptions(beam=1, max_len_b=len(expected.tokens), min_len=0)
        [[found]] = beam_search(model, memory.select(one), prefix[one], options)
        assert (found.tokens, found.truncated) == (expected.tokens, False)


def test_length_limit_follows_each_sentences_own_memory() -> None:
    memory = Encoded(make_memory(2).states, torch.tensor([4, 16]))
    options = BeamOptions(beam=2, max_len_a=0.5, max_len_b=1, min_len=0)
    lengths = [len(one.tokens) for [one] in beam_search(make_model(eos_bias=-9.0), memory, make_prefix(2), options)]
    assert lengths == [3, 9]


def test_limit_beyond_the_positions_of_the_model_ends_there() -> None:
    options = BeamOptions(beam=2, max_len_b=1000)
    for [one] in beam_search(make_model(eos_bias=-9.0), make_memory(2), make_prefix(2), options):
        assert len(one.tokens) == CONFIG.decoder.max_positions - 1


def test_no_repeated_token_at_all() -> None:
    options = BeamOptions(beam=3, max_len_b=30, no_repeat_ngram=1)
    for [one] in beam_search(make_model(), make_memory(4), make_prefix(4), options):
        assert len(set(one.tokens)) == len(one.tokens)


def test_forced_tokens_may_repeat_whatever_else_is_in_the_batch() -> None:
    model, memory = make_model(), make_memory(2)
    prefix = torch.tensor([[7, 9, 11, 9, 11, 3, 13], [8, 2, 1, 1, 1, 1, 1]])
    options = BeamOptions(beam=4, nbest=4, max_len_b=20, no_repeat_ngram=2, unk_penalty=0.7)
    together = beam_search(model, memory, prefix, options)
    for row in range(2):
        one = torch.tensor([row])
        [alone] = beam_search(model, memory.select(one), prefix[one], options)
        assert [item.tokens for item in alone] == [item.tokens for item in together[row]]
        assert [item.score for item in alone] == pytest.approx([item.score for item in together[row]], abs=1e-5)
    assert all(item.tokens[:7] == (7, 9, 11, 9, 11, 3, 13) for item in together[0])


def test_empty_batch() -> None:
    memory = Encoded(torch.zeros(0, 5, 32), torch.zeros(0, dtype=torch.long))
    assert beam_search(make_model(), memory, torch.zeros(0, dtype=torch.long), BeamOptions()) == []


def test_scores_that_are_not_finite_are_an_error() -> None:
    memory = make_memory(3)
    memory.states[1] = float("nan")
    with pytest.raises(DecodingError, match="sentence 1 of the batch"):
        beam_search(make_model(), memory, make_prefix(3), BeamOptions(beam=2, max_len_b=5))


def test_models_and_memories_must_match() -> None:
    with pytest.raises(ValueError, match="2 models and 1 memories"):
        beam_search([make_model(), make_model()], make_memory(1), make_prefix(1), BeamOptions())


@pytest.mark.parametrize(
    "options",
    [{"beam": 0}, {"nbest": 6}, {"max_len_b": -1}, {"no_repeat_ngram": -1}, {"temperature": 0.0},
     {"max_len_a": math.inf}, {"max_len_a": math.nan}, {"max_len_b": math.inf}],
)  # fmt: skip
def test_options_out_of_range_are_named(options: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match=f"`{next(iter(options))}` is"):
        BeamOptions(**options)


def test_samples_follow_the_models_distribution() -> None:
    model, memory = make_model(), make_memory(1)
    options = SamplingOptions(beam=50, nbest=50, max_len_b=2, seed=1)
    counts: dict[int, int] = {}
    for seed in range(40):
        [found] = sample(model, memory, torch.tensor([7]), dataclasses.replace(options, seed=seed))
        for one in found:
            second = one.tokens[1] if len(one.tokens) > 1 else EOS
            counts[second] = counts.get(second, 0) + 1
    expected = _log_probs(model, memory, 0, (7,))[-1].exp()
    expected[CONFIG.decoder.pad] = 0
    for token in expected.topk(5).indices.tolist():
        assert counts.get(token, 0) / 2000 == pytest.approx(float(expected[token]), abs=0.04)


def test_samples_are_scored_by_the_model_and_reproducible() -> None:
    model, memory, prefix = make_model(), make_memory(3), make_prefix(3)
    options = SamplingOptions(beam=6, nbest=6, max_len_b=12, top_k=10, seed=4)
    found = sample(model, memory, prefix, options)
    assert found == sample(model, memory, prefix, options)
    assert found != sample(model, memory, prefix, dataclasses.replace(options, seed=5))
    for row, hypotheses in enumerate(found):
        assert len(hypotheses) == 6
        for one in hypotheses:
            log_probs = _log_probs(model, memory, row, one.tokens)
            expected = log_probs[range(len(one.tokens) + 1), [*one.tokens, EOS]]
            assert one.token_scores == pytest.approx(expected.tolist(), abs=1e-4)


def test_draws_of_a_sentence_are_its_own() -> None:
    model = make_model()
    memory = make_memory(1).select(torch.zeros(4, dtype=torch.long))
    options = SamplingOptions(beam=3, nbest=3, max_len_b=12, seed=4)
    forced = torch.tensor([7, 7, 7, 8])
    found = [[one.tokens for one in row] for row in sample(model, memory, forced, options, keys=[5, 5, 6, 5])]
    assert found[0] == found[1] != found[2]
    assert [tokens[1:] for tokens in found[3]] != [tokens[1:] for tokens in found[0]]
    for row, key in ((0, 5), (2, 6)):
        [alone] = sample(model, memory.select(torch.tensor([0])), forced[row : row + 1], options, keys=[key])
        assert [one.tokens for one in alone] == found[row]


def test_places_are_drawn_by_their_probability_and_never_without_one() -> None:
    probs = torch.tensor([[0.0, 0.5, 0.0, 1.5], [0.0, 0.0, 0.0, 0.0]])
    random = torch.tensor([[0.0, 0.2499, 0.2501, 0.9999]] * 2, dtype=torch.float64)
    assert places(probs, random)[0].tolist() == [1, 1, 3, 3]
    assert 0 <= int(places(probs, random)[1].max()) < 4


def test_sampling_from_the_best_token_only_is_greedy() -> None:
    model, memory, prefix = make_model(), make_memory(4), make_prefix(4)
    greedy = beam_search(model, memory, prefix, BeamOptions(beam=1, max_len_b=20))
    for options in ({"top_k": 1}, {"top_p": 1e-6}, {"top_p": 1e-300}, {"temperature": 1e-4}):
        drawn = sample(model, memory, prefix, SamplingOptions(beam=1, max_len_b=20, **options))
        assert [one.tokens for [one] in drawn] == [one.tokens for [one] in greedy]


def test_likely_tokens_are_the_smallest_set_that_reaches_the_probability() -> None:
    probs = torch.tensor([[0.1, 0.5, 0.15, 0.25], [0.97, 0.01, 0.01, 0.01]])
    kept, ids = likely_tokens(probs, top_k=0, top_p=0.7)
    assert [set(row_ids[row > 0].tolist()) for row, row_ids in zip(kept, ids, strict=True)] == [{1, 3}, {0}]
    kept, ids = likely_tokens(probs, top_k=3, top_p=0.0)
    assert sorted(ids[0][kept[0] > 0].tolist()) == [1, 2, 3]


@pytest.mark.parametrize("size", [50, 8192, 20_011])
@pytest.mark.parametrize("count", [1, 2, 10, 40])
def test_top_tokens_equal_topk(size: int, count: int) -> None:
    logits = torch.randn(7, size, generator=torch.Generator().manual_seed(size))
    logits[2] = -math.inf
    logits[2, size - 1 :] = 1.0
    logits[3, -3:] = 50.0 + torch.arange(3)
    scores, ids = top_tokens(logits, count)
    expected = logits.topk(count)
    assert torch.equal(scores, expected.values)
    finite = scores > -math.inf
    assert torch.equal(ids[finite], expected.indices[finite])


@pytest.mark.parametrize("offset", [0.0, 30.0, -60.0, 500.0, -500.0])
def test_log_normalizer_equals_logsumexp(offset: float) -> None:
    logits = 3 * torch.randn(33, 20_000, generator=torch.Generator().manual_seed(0)) + offset
    expected = logits.double().logsumexp(dim=1)
    torch.testing.assert_close(log_normalizer(logits).double(), expected, rtol=1e-6, atol=1e-5)
