"""This project's beam search behind the interface of fairseq's sequence generators."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from st.data.text import TextVocabulary
from st.decoding.beam_search import beam_search
from st.decoding.options import BeamOptions, Hypothesis

OPTIONS = {
    "beam": "beam",
    "lenpen": "length_penalty",
    "max_len_a": "max_len_a",
    "max_len_b": "max_len_b",
    "min_len": "min_len",
    "no_repeat_ngram_size": "no_repeat_ngram",
    "nbest": "nbest",
    "unkpen": "unk_penalty",
    "temperature": "temperature",
}
"""fairseq's names of the generation options, and ours."""


class FairseqGenerator:
    """Decodes a batch of :meth:`TranslationDataset.collate`; each target's language tag is forced."""

    def __init__(self, text: TextVocabulary, options: BeamOptions) -> None:
        self.text = text
        self.options = options

    @classmethod
    def from_namespace(cls, text: TextVocabulary, args: Any) -> FairseqGenerator:
        """Build from fairseq's generation config; options it does not set keep their defaults."""
        given = {ours: getattr(args, theirs, None) for theirs, ours in OPTIONS.items()}
        return cls(text, BeamOptions(**{name: value for name, value in given.items() if value is not None}))

    @property
    def symbols_to_strip_from_output(self) -> set[int]:
        """Tokens that fairseq leaves out of the printed hypothesis."""
        return {self.text.eos}

    def generate(self, models: list[Any], sample: dict[str, Any], **_: Any) -> list[list[dict[str, Any]]]:
        """Return hypotheses of every target of the batch, best first, in fairseq's form."""
        net_input = sample["net_input"]
        rows: Tensor = net_input["source_rows"]
        memories = [
            model.translator.adapt(
                model.encode(net_input["waveforms"], net_input["lengths"], net_input.get("utterances"))
            ).select(rows)
            for model in models
        ]
        forced = net_input["prev_output_tokens"][:, 1]
        found = beam_search(
            [model.translator for model in models],
            memories,
            forced,
            self.options,
            eos=self.text.eos,
            pad=self.text.pad,
            unk=self.text.unk,
        )
        return [[self._as_fairseq(hypothesis) for hypothesis in hypotheses] for hypotheses in found]

    def _as_fairseq(self, hypothesis: Hypothesis) -> dict[str, Any]:
        return {
            "tokens": torch.tensor([*hypothesis.tokens, self.text.eos]),
            "score": hypothesis.score,
            "positional_scores": torch.tensor(hypothesis.token_scores),
            "attention": None,
            "alignment": torch.empty(0),
        }
