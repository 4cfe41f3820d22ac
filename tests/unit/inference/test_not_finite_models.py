"""Models in memory whose numbers are NaN or infinite: no text comes of them, whatever is asked."""

from __future__ import annotations

import copy
from collections.abc import Callable

import numpy as np
import pytest
import torch

from st.decoding.ctc_prefix import PrefixOptions
from st.decoding.options import BeamOptions
from st.decoding.sampling import SamplingOptions
from st.errors import DecodingError
from st.inference import TranscriptOptions, Translator
from st.inference.rescoring import RescoreOptions, Rescorer

SHORT = {"beam": 2, "nbest": 2, "max_len_b": 5}


def spoiled(
    translator: Translator, part: str, value: float, options: BeamOptions | None = None, **others
) -> Translator:
    model = copy.deepcopy(translator.model)
    with torch.no_grad():
        dict(model.named_parameters())[part].view(-1)[0] = value
    return Translator(model, translator.text, translator.ctc, options=options or BeamOptions(**SHORT), **others)


def joined(first: Translator, second: Translator) -> Translator:
    first.join(second)
    return first


def rescored(first: Translator, second: Translator) -> Translator:
    first.rescorer = Rescorer(RescoreOptions(), second)
    return first


def whole(like: Translator, options: BeamOptions | None = None) -> Translator:
    return Translator(like.model, like.text, like.ctc, options=options or BeamOptions(**SHORT))


TRANSCRIPTS = {
    "best path": TranscriptOptions(),
    "of one script": TranscriptOptions(language="de"),
    "times": TranscriptOptions(times=True),
    "prefix search": TranscriptOptions(search=PrefixOptions(beam=4)),
    "decoder and CTC head": TranscriptOptions(language="de", decoder=BeamOptions(**SHORT, joint_ctc_weight=0.3)),
}


@pytest.mark.parametrize("value", [torch.nan, torch.inf])
@pytest.mark.parametrize("how", TRANSCRIPTS)
@pytest.mark.parametrize("part", ["ctc.proj.weight", "encoder.encoder.layers.1.fc1.weight"])
def test_fault_03_no_transcript(
    translator: Translator, waves: list[np.ndarray], part: str, how: str, value: float
) -> None:
    with pytest.raises(DecodingError, match="sentence 0 of the batch: the scores of the CTC head hold NaN or infinity"):
        spoiled(translator, part, value, transcripts=TRANSCRIPTS[how]).decode_batch(waves[:2], [[]] * 2)


DRAWING = SamplingOptions(**SHORT)
TRANSLATIONS: dict[str, Callable[[Translator, str, float], Translator]] = {
    "beam search": spoiled,
    "sampling": lambda like, part, value: spoiled(like, part, value, DRAWING),
    "second of an ensemble": lambda like, part, value: joined(whole(like), spoiled(like, part, value)),
    "drawn from an ensemble": lambda like, part, value: joined(whole(like, DRAWING), spoiled(like, part, value)),
    "second model": lambda like, part, value: rescored(whole(like), spoiled(like, part, value)),
}


@pytest.mark.parametrize("value", [torch.nan, torch.inf])
@pytest.mark.parametrize("how", TRANSLATIONS)
@pytest.mark.parametrize("part", ["decoder.embed_tokens.weight", "length_adaptor.layers.0.weight"])
def test_fault_03_no_translation(
    translator: Translator, waves: list[np.ndarray], part: str, how: str, value: float
) -> None:
    with pytest.raises(DecodingError, match=r"not finite|no hypothesis has a finite score"):
        TRANSLATIONS[how](translator, part, value).decode_batch(waves[:2], [["de"]] * 2)


def test_fault_03_no_score_of_a_text(translator: Translator, waves: list[np.ndarray]) -> None:
    with pytest.raises(DecodingError, match="target 0 of the batch: its score is not finite"):
        spoiled(translator, "decoder.layer_norm.weight", torch.nan).score(waves[0], "der", "de")
