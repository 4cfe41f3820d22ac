"""Decoding where tensors of a GPU and of the CPU must not meet, and where waiting for the GPU costs."""

from __future__ import annotations

import copy
import dataclasses

import numpy as np
import pytest
import torch
from decoding_models import make_memory, make_model, make_prefix
from pretend_cuda import pretended_gpu, put

from st.decoding.beam_search import beam_search
from st.decoding.options import BeamOptions, Hypothesis
from st.decoding.sampling import SamplingOptions, sample
from st.inference import TranscriptOptions, Translator
from st.modules.model import Encoded

OPTIONS = BeamOptions(beam=5, nbest=5, max_len_b=12, no_repeat_ngram=2, min_len=2)


def _equal(found: list[list[Hypothesis]], expected: list[list[Hypothesis]]) -> bool:
    """Compare tokens exactly and scores as far as two kernels of attention agree."""
    for one, other in zip(found, expected, strict=True):
        assert [each.tokens for each in one] == [each.tokens for each in other]
        assert [each.truncated for each in one] == [each.truncated for each in other]
        assert [each.score for each in one] == pytest.approx([each.score for each in other], abs=1e-4)
    return True


def test_beam_search_finds_on_a_gpu_what_it_finds_on_a_cpu() -> None:
    model, memory, forced = make_model(), make_memory(4), make_prefix(4)
    draws = SamplingOptions(beam=3, nbest=3, top_k=5, top_p=0.9, max_len_b=8)
    searched, drawn = beam_search(model, memory, forced, OPTIONS), sample(model, memory, forced, draws)
    with pretended_gpu():
        put(model)
        memory, forced = Encoded(memory.states.to("cuda:0"), memory.lengths.to("cuda:0")), forced.to("cuda:0")
        assert _equal(beam_search(model, memory, forced, OPTIONS), searched)
        assert _equal(sample(model, memory, forced, draws), drawn)


def test_a_step_of_the_search_waits_once_for_the_gpu() -> None:
    model, memory, forced = make_model(eos_bias=-20.0), make_memory(6), make_prefix(6)
    waits = []
    with pretended_gpu() as gpu:
        put(model)
        memory, forced = Encoded(memory.states.to("cuda:0"), memory.lengths.to("cuda:0")), forced.to("cuda:0")
        for steps in (5, 15):
            gpu.waits.clear()
            found = beam_search(model, memory, forced, BeamOptions(beam=5, nbest=1, max_len_b=steps))
            assert {len(hypothesis.tokens) for [hypothesis] in found} == {steps}
            waits.append(gpu.waits.total())
    assert waits[1] - waits[0] == 10  # one in each of the ten more


def test_translator_on_a_gpu_translates_and_times_as_on_a_cpu(translator: Translator, waves: list[np.ndarray]) -> None:
    assert translator.text is not None
    assert translator.ctc is not None

    def decoded(model):
        options = TranscriptOptions(times=True, language="de")
        made = Translator(model, translator.text, translator.ctc, options=translator.options, transcripts=options)
        return made.decode_batch(waves[:3], [["de", "fr"], ["fr"], ["ja"]])

    expected = decoded(translator.model)
    model = copy.deepcopy(translator.model)
    with pretended_gpu():
        found = decoded(put(model))
    assert [each.translations for each in found] == [each.translations for each in expected]
    assert [each.transcript for each in found] == [each.transcript for each in expected]
    for one, other in zip(found, expected, strict=True):
        assert other.words
        assert [dataclasses.replace(word, confidence=0) for word in one.words or ()] == [
            dataclasses.replace(word, confidence=0) for word in other.words
        ]


def test_a_pretended_gpu_refuses_tensors_of_the_cpu_and_leaves_nothing_behind() -> None:
    before = torch.tensor, torch.cuda.is_available()
    with pretended_gpu() as gpu:
        ones = torch.ones(3, device="cuda:0")
        with pytest.raises(RuntimeError, match="same device: add"):
            ones + torch.ones(3)
        assert (ones + torch.tensor(1.0)).tolist() == [2.0, 2.0, 2.0]
        assert gpu.waits.total() == 1
    assert (torch.tensor, torch.cuda.is_available()) == before
