"""Words that are to be preferred, whatever a language model knows of them, as pyctcdecode prefers them."""

from __future__ import annotations

from collections.abc import Iterable


class Hotwords:
    """Scores texts by the hotwords in them; of a phrase each word counts alone."""

    def __init__(self, phrases: Iterable[str] = (), weight: float = 10.0) -> None:
        """Take words.

        Args:
            phrases: One or several words each, with spaces between them.
            weight: Added for each time that one stands in a text.
        """
        self.weight = weight
        self.words = frozenset(word for phrase in phrases for word in phrase.split())
        self._shortest: dict[str, int] = {}
        for word in sorted(self.words, key=len):
            for end in range(1, len(word) + 1):
                self._shortest.setdefault(word[:end], len(word))

    def score(self, text: str) -> float:
        """Return what whole words of a text add."""
        return self.weight * sum(word in self.words for word in text.split()) if self.words else 0.0

    def score_part(self, part: str) -> float | None:
        """Return the share of the shortest hotword that begins so; None if none does."""
        shortest = self._shortest.get(part)
        return None if shortest is None else self.weight * len(part) / shortest
