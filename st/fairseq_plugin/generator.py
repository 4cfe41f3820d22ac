"""This project's searches behind the interface of fairseq's sequence generators."""

from __future__ import annotations

import dataclasses
from typing import Any

import torch
from fairseq.dataclass.configs import GenerationConfig
from torch import Tensor

from st.decoding.options import BeamOptions, Hypothesis
from st.decoding.parts import decode_rows, score_rows
from st.decoding.sampling import SamplingOptions
from st.errors import ConfigError
from st.fairseq_plugin.repairs.clear_errors import FLAGS, clear_errors
from st.text.vocabulary import EOS, PAD, TextVocabulary

OPTIONS = (
    "beam", "length_penalty", "max_len_a", "max_len_b", "min_len", "no_repeat_ngram", "nbest", "unk_penalty",
    "temperature",
)  # fmt: skip
"""Fields of our options that fairseq has, too; some under other names, see :data:`FLAGS`."""

SAMPLING_OPTIONS = ("top_k", "top_p")
"""The same with ``--sampling``; fairseq's -1 for "all" is 0 here."""

UNSUPPORTED = (
    "match_source_len", "diverse_beam_groups", "diversity_rate", "constraints", "lm_path", "print_alignment",
    "replace_unk", "retain_dropout", "eos_token",
)  # fmt: skip
"""Options of fairseq that change what is written and that there is nothing for here."""


class FairseqGenerator:
    """Decodes a batch of :meth:`TranslationDataset.collate`; each target's language tag is forced."""

    def __init__(self, text: TextVocabulary, options: BeamOptions, *, score_reference: bool = False) -> None:
        self.text = text
        self.options = options
        self.score_reference = score_reference

    @classmethod
    def from_namespace(cls, text: TextVocabulary, args: Any) -> FairseqGenerator:
        """Build from fairseq's generation config; options it does not set keep their defaults.

        Raises:
            ConfigError: If an option is out of range or one of :data:`UNSUPPORTED`.
        """
        defaults = GenerationConfig()
        for name in UNSUPPORTED:
            usual = getattr(defaults, name)
            if getattr(args, name, usual) != usual:
                option = f"--{name.replace('_', '-')}"
                raise ConfigError(f"{option} is not supported with --task speech_translation; leave it out")
        given: dict[str, Any] = _given(args, OPTIONS) | {"normalize_scores": not getattr(args, "unnormalized", False)}
        options = BeamOptions(**given)
        if getattr(args, "sampling", False):
            limits = {name: max(0, value) for name, value in _given(args, SAMPLING_OPTIONS).items()}
            options = SamplingOptions(**given, **limits)
        return cls(text, options, score_reference=getattr(args, "score_reference", False))

    @property
    def symbols_to_strip_from_output(self) -> set[int]:
        """Tokens that fairseq leaves out of the printed hypothesis."""
        return {self.text.eos}

    @clear_errors
    def generate(
        self, models: list[Any], sample: dict[str, Any], prefix_tokens: Tensor | None = None, **_: Any
    ) -> list[list[dict[str, Any]]]:
        """Return hypotheses of every target of the batch, best first, in fairseq's form.

        Args:
            models: One model, or several whose probabilities are averaged.
            sample: The batch.
            prefix_tokens: First tokens of every target ``(R, P)``, the language tag before all; None for the tag alone.
        """
        net_input = sample["net_input"]
        rows: Tensor = net_input["source_rows"]
        memories = [
            model.translator.adapt(
                model.encode(net_input["waveforms"], net_input["lengths"], net_input.get("utterances"))
            )
            for model in models
        ]
        translators = [model.translator for model in models]
        if self.score_reference:
            targets = [[token for token in row if token not in (EOS, PAD)] for row in sample["target"].tolist()]
            # As fairseq: divided by length whatever the options of a search say.
            scored = score_rows(translators, memories, rows, targets, BeamOptions())
            return [[self._as_fairseq(hypothesis)] for hypothesis in scored]
        options = self.options
        if isinstance(options, SamplingOptions):
            # From torch's generator, which fairseq seeds by --seed: other draws in every batch, the same in every run.
            options = dataclasses.replace(options, seed=int(torch.randint(2**31, ())))
        forced = net_input["prev_output_tokens"][:, 1] if prefix_tokens is None else prefix_tokens
        found = decode_rows(translators, memories, rows, forced, options)
        return [[self._as_fairseq(hypothesis) for hypothesis in hypotheses] for hypotheses in found]

    def _as_fairseq(self, hypothesis: Hypothesis) -> dict[str, Any]:
        return {
            "tokens": torch.tensor([*hypothesis.tokens, self.text.eos]),
            "score": hypothesis.score,
            "positional_scores": torch.tensor(hypothesis.token_scores),
            "attention": None,
            "alignment": torch.empty(0),
        }


def _given(args: Any, names: tuple[str, ...]) -> dict[str, Any]:
    """Return the options that are set, under our names."""
    values = {name: getattr(args, FLAGS[name], None) for name in names}
    return {name: value for name, value in values.items() if value is not None}
