"""Our beam search against fairseq's ``SequenceGenerator`` on the same random weights."""

from __future__ import annotations

import dataclasses
from types import SimpleNamespace

import pytest
import torch
from decoding_models import CONFIG, make_memory, make_model, make_prefix
from torch import Tensor

from st.decoding.beam_search import beam_search
from st.decoding.options import BeamOptions
from st.modules.model import Encoded, SpeechTranslator

fairseq_generator = pytest.importorskip("fairseq.sequence_generator")
from fairseq.data import Dictionary  # noqa: E402
from fairseq.models import FairseqEncoder, FairseqEncoderDecoderModel, FairseqIncrementalDecoder  # noqa: E402
from fairseq.sequence_scorer import SequenceScorer  # noqa: E402

from st.fairseq_plugin.generator import FairseqGenerator  # noqa: E402


class MemoryEncoder(FairseqEncoder):
    """Hands the memory through as fairseq's encoder output."""

    def forward(self, src_tokens: Tensor, src_lengths: Tensor) -> dict[str, Tensor]:
        return {"states": src_tokens, "lengths": src_lengths}

    def forward_torchscript(self, net_input: dict[str, Tensor]) -> dict[str, Tensor]:
        return self.forward(net_input["src_tokens"], net_input["src_lengths"])

    def reorder_encoder_out(self, encoder_out: dict[str, Tensor], new_order: Tensor) -> dict[str, Tensor]:
        return {key: value.index_select(0, new_order) for key, value in encoder_out.items()}


class WholeTargetDecoder(FairseqIncrementalDecoder):
    """Recomputes the whole prefix at each step with the training forward, so no cache is shared with our search."""

    def __init__(self, dictionary: Dictionary, model: SpeechTranslator) -> None:
        super().__init__(dictionary)
        self.model = model

    def forward(self, tokens, encoder_out=None, incremental_state=None):  # noqa: ARG002
        logits = self.model.decoder(tokens, encoder_out["states"], encoder_out["lengths"])
        return logits, None

    def max_positions(self) -> int:
        return self.model.config.decoder.max_positions


class Adapted(FairseqEncoderDecoderModel):
    def max_decoder_positions(self) -> int:
        return self.decoder.max_positions()


def make_dictionary() -> Dictionary:
    dictionary = Dictionary()
    for index in range(len(dictionary), CONFIG.decoder.vocab_size):
        dictionary.add_symbol(f"w{index}")
    return dictionary


def fairseq_search(models: list[SpeechTranslator], memory: Encoded, prefix: Tensor, options: BeamOptions):
    dictionary = make_dictionary()
    adapted = [Adapted(MemoryEncoder(dictionary), WholeTargetDecoder(dictionary, model)) for model in models]
    generator = fairseq_generator.SequenceGenerator(
        adapted,
        dictionary,
        beam_size=options.beam,
        max_len_a=options.max_len_a,
        max_len_b=options.max_len_b,
        min_len=options.min_len,
        normalize_scores=options.normalize_scores,
        len_penalty=options.length_penalty,
        unk_penalty=options.unk_penalty,
        temperature=options.temperature,
    )
    if options.no_repeat_ngram:
        generator.repeat_ngram_blocker = fixed_blocker(options.no_repeat_ngram)
    sample = {"net_input": {"src_tokens": memory.states, "src_lengths": memory.lengths}}
    return generator.generate(adapted, sample, prefix_tokens=prefix)


def fixed_blocker(size: int):
    """Return fairseq's own n-gram blocker, given the tokens so far rather than its padded buffer.

    In Python it compares the end of the buffer, which is padding, and so never blocks; its CUDA kernel does block.
    """
    from fairseq.ngram_repeat_block import NGramRepeatBlock

    block = NGramRepeatBlock(size, use_extension=False)
    return lambda tokens, lprobs, bsz, beam, step: block(tokens[:, : step + 1], lprobs, bsz, beam, step)


def assert_same(models: list[SpeechTranslator], memory: Encoded, prefix: Tensor, options: BeamOptions) -> list[int]:
    """Compare and return the lengths of the best hypotheses."""
    expected = fairseq_search(models, memory, prefix, options)
    options = dataclasses.replace(options, nbest=options.beam)
    found = beam_search(models, [memory] * len(models), prefix, options)
    for ours, theirs in zip(found, expected, strict=True):
        assert [list(one.tokens) for one in ours] == [one["tokens"][:-1].tolist() for one in theirs]
        for one, other in zip(ours, theirs, strict=True):
            assert one.score == pytest.approx(float(other["score"]), abs=1e-4, rel=1e-6)
            assert one.token_scores == pytest.approx(other["positional_scores"].tolist(), abs=1e-4)
    return [len(ours[0].tokens) for ours in found]


@pytest.mark.parametrize("beam", [1, 5, 8])
@pytest.mark.parametrize("length_penalty", [0.6, 1.0, 1.4])
@pytest.mark.parametrize("batch", [1, 8])
def test_i08_same_hypotheses_and_scores_as_fairseq(beam: int, length_penalty: float, batch: int) -> None:
    model = make_model()
    options = BeamOptions(beam=beam, length_penalty=length_penalty, max_len_b=30)
    lengths = []
    for seed in range(2 if batch == 8 else 6):
        lengths += assert_same([model], make_memory(batch, seed), make_prefix(batch, seed)[:, None], options)
    # The comparison means something only if sentences end at different times and not all at the limit.
    assert len(set(lengths)) >= 3
    assert min(lengths) < 30


@pytest.mark.parametrize(
    "changes",
    [
        {"normalize_scores": False},
        {"min_len": 6},
        {"temperature": 0.7},
        {"temperature": 2.5},
        {"unk_penalty": 2.0},
        {"unk_penalty": -6.0},
        {"max_len_b": 3},
        {"max_len_b": 1},
        {"max_len_a": 0.5, "max_len_b": 2},
        {"length_penalty": -3.0},
        {"length_penalty": 9.0},
        {"max_len_b": 10_000},
    ],
    ids=str,
)
def test_i08_options_mean_what_they_mean_in_fairseq(changes: dict[str, float]) -> None:
    # fairseq takes the padded width of the batch for the length of every sentence, so all have the same here.
    states = make_memory(4).states
    memory = Encoded(states, torch.full((4,), states.size(1)))
    options = dataclasses.replace(BeamOptions(beam=4, max_len_b=20), **changes)
    assert_same([make_model()], memory, make_prefix(4)[:, None], options)


@pytest.mark.parametrize("size", [2, 3])
def test_repeated_ngrams_are_blocked_as_in_fairseq(size: int) -> None:
    model, memory, prefix = make_model(), make_memory(6), make_prefix(6)
    free = BeamOptions(beam=4, max_len_b=30)
    assert any(repeats(one.tokens, size) for [one] in beam_search(model, memory, prefix, free))
    blocked = dataclasses.replace(free, no_repeat_ngram=size)
    assert_same([model], memory, prefix[:, None], blocked)
    for [one] in beam_search(model, memory, prefix, blocked):
        assert not repeats(one.tokens, size)


def repeats(tokens: tuple[int, ...], size: int) -> bool:
    grams = [tokens[start : start + size] for start in range(len(tokens) - size + 1)]
    return len(set(grams)) < len(grams)


@pytest.mark.parametrize("beam", [1, 5])
def test_ensemble_equals_fairseqs(beam: int) -> None:
    models = [make_model(seed) for seed in range(3)]
    assert_same(models, make_memory(5), make_prefix(5)[:, None], BeamOptions(beam=beam, max_len_b=20))


@pytest.mark.parametrize("beam", [1, 4])
def test_longer_prefixes_of_different_lengths_equal_fairseqs(beam: int) -> None:
    pad = CONFIG.decoder.pad
    prefix = torch.tensor([[7, 9, 11, 13], [8, 10, pad, pad], [9, pad, pad, pad], [40, 41, 42, pad]])
    assert_same([make_model()], make_memory(4), prefix, BeamOptions(beam=beam, max_len_b=20))
    assert_same([make_model()], make_memory(4), prefix, BeamOptions(beam=beam, max_len_b=2))


def test_a_prefix_that_ends_the_sentence_ends_it_as_in_fairseq() -> None:
    model, memory, eos = make_model(), make_memory(3), 2
    prefix = torch.tensor([[7, 9, eos, 1], [8, 10, 11, 12], [9, eos, 1, 1]])
    options = BeamOptions(beam=4, max_len_b=12)
    expected = fairseq_search([model], memory, prefix, options)
    found = beam_search(model, memory, prefix, options)
    assert [one.tokens for [one] in found[::2]] == [(7, 9), (9,)]
    for [ours], theirs in zip(found, expected, strict=True):
        assert list(ours.tokens) == theirs[0]["tokens"][:-1].tolist()
        assert ours.score == pytest.approx(float(theirs[0]["score"]), abs=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("length_penalty", [0.6, 1.0, 1.4])
def test_five_hundred_sentences_equal_fairseqs(length_penalty: float) -> None:
    model = make_model()
    for seed in range(63):
        for beam in (1, 5, 8):
            options = BeamOptions(beam=beam, length_penalty=length_penalty, max_len_b=30)
            assert_same([model], make_memory(8, seed), make_prefix(8, seed)[:, None], options)


@pytest.mark.parametrize("count", [1, 2])
def test_scores_of_references_equal_fairseqs_whatever_a_search_is_told(count: int) -> None:
    models, memory, dictionary = [make_model(seed) for seed in range(count)], make_memory(3), make_dictionary()
    eos, pad = dictionary.eos(), dictionary.pad()
    target = torch.tensor([[7, 9, 11, 13, eos], [8, 10, eos, pad, pad], [9, 30, 31, eos, pad]])
    previous = torch.tensor([[eos, 7, 9, 11, 13], [eos, 8, 10, pad, pad], [eos, 9, 30, 31, pad]])
    inputs = {"src_tokens": memory.states, "src_lengths": memory.lengths, "prev_output_tokens": previous}
    adapted = [Adapted(MemoryEncoder(dictionary), WholeTargetDecoder(dictionary, model)) for model in models]
    expected = SequenceScorer(dictionary).generate(adapted, {"net_input": inputs, "target": target})
    ours = {"source_rows": torch.arange(3), "waveforms": memory.states, "lengths": memory.lengths}
    sample = {"net_input": ours | {"prev_output_tokens": previous}, "target": target}
    told = BeamOptions(length_penalty=0.3, normalize_scores=False, temperature=2.0)
    text = SimpleNamespace(eos=eos, pad=pad, unk=dictionary.unk())
    translators = [
        SimpleNamespace(
            translator=SimpleNamespace(adapt=lambda encoded: encoded, config=model.config, decoder=model.decoder),
            encode=lambda states, lengths, _: Encoded(states, lengths),
        )
        for model in models
    ]
    found = FairseqGenerator(text, told, score_reference=True).generate(translators, sample)
    for [one], [other] in zip(found, expected, strict=True):
        assert one["tokens"].tolist() == other["tokens"].tolist()
        assert one["score"] == pytest.approx(float(other["score"]), abs=1e-5)
        assert one["positional_scores"].tolist() == pytest.approx(other["positional_scores"].tolist(), abs=1e-5)
