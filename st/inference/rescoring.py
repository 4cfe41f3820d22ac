"""Choose anew among the translations that a beam search found: by length, and by what a second model thinks of them."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Sequence
from dataclasses import dataclass

from st.errors import DecodingError
from st.inference.audio_input import Waveform
from st.inference.results.decoded import DecodedUtterance, Translation
from st.inference.translator import Translator
from st.options import check_fields

logger = logging.getLogger(__name__)

MOST_REWARD = 1000.0
"""Rewards beyond it, of either sign, are refused; a token costs about 1."""


@dataclass(kw_only=True, slots=True, frozen=True)
class RescoreOptions:
    """How to weigh: ``(1 - weight) * score + weight * second model's score + length_reward * tokens``."""

    weight: float = 0.5
    """Of the second model; unused without one."""
    length_reward: float = 0.0
    """Added per token, end of sentence included."""
    keep: int = 1
    """Translations kept."""

    def __post_init__(self) -> None:
        """Check the values.

        Raises:
            ConfigError: If one is out of range.
        """
        rewards = f"a number from {-MOST_REWARD:g} to {MOST_REWARD:g}"
        check_fields(
            self,
            ("weight", 0 <= self.weight <= 1, "from 0 to 1"),
            ("length_reward", -MOST_REWARD <= self.length_reward <= MOST_REWARD, rewards),
            ("keep", self.keep >= 1, "at least 1"),
        )


class Rescorer:
    """What a :class:`Translator` calls with the translations it found.

    Where the second model cannot read a recording or has too few positions for one of its translations into a language,
    all of these keep the first model's scores, with a warning.

    Raises:
        DecodingError: On construction, if the second model cannot translate.
    """

    def __init__(self, options: RescoreOptions, second: Translator | None = None) -> None:
        self.options, self.second = options, second
        if second is not None and not second.languages:
            raise DecodingError("the second model cannot translate; it has no decoder with language tags")

    def __call__(
        self, first: Translator, waveforms: Sequence[Waveform], results: Sequence[DecodedUtterance]
    ) -> list[DecodedUtterance]:
        """Return the results with their translations in the new order, under their new scores."""
        wanted = [
            (row, code, item)
            for row, result in enumerate(results)
            for code, items in result.nbest.items()
            for item in items
        ]
        second = self._second_scores(first, waveforms, wanted)
        weight = self.options.weight if self.second is not None else 0.0
        nbest: list[dict[str, list[Translation]]] = [{} for _ in results]
        for (row, code, item), other in zip(wanted, second, strict=True):
            score = (1 - weight) * item.score + weight * other + self.options.length_reward * (len(item.tokens) + 1)
            nbest[row].setdefault(code, []).append(dataclasses.replace(item, score=score))
        return [_sorted(result, found, self.options.keep) for result, found in zip(results, nbest, strict=True)]

    def _second_scores(
        self, first: Translator, waveforms: Sequence[Waveform], wanted: Sequence[tuple[int, str, Translation]]
    ) -> list[float]:
        if self.second is None:
            return [0.0] * len(wanted)
        # Pieces mean the same to both only if they share the dictionary; the text always does.
        same = (
            first.text is not None and self.second.text is not None and first.text.symbols == self.second.text.symbols
        )
        targets = [(row, code, item.tokens if same else item.text) for row, code, item in wanted]
        beyond = {
            (row, code) for row, code, target in targets if not self.second.can_score(waveforms[row], code, target)
        }
        if beyond:
            logger.warning(
                "%d recordings or translations of them are too short or too long for the second model; "
                "their translations keep the scores of the first",
                len({row for row, _ in beyond}),
            )
        scored = iter(self.second.score_batch(waveforms, [each for each in targets if each[:2] not in beyond]))
        return [item.score if (row, code) in beyond else next(scored).score for row, code, item in wanted]


def _sorted(result: DecodedUtterance, nbest: dict[str, list[Translation]], keep: int) -> DecodedUtterance:
    ordered = {code: sorted(found, key=lambda item: -item.score)[:keep] for code, found in nbest.items()}
    best = {code: found[0].text for code, found in ordered.items()}
    return dataclasses.replace(result, translations={**result.translations, **best}, nbest=ordered)
