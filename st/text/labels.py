"""What a head's vocabulary offers, whatever the kind of the head."""

from __future__ import annotations

from typing import Protocol


class Labels(Protocol):
    """The outputs of a head by row, and how the text of an utterance becomes targets."""

    symbols: list[str]
    """What each output stands for; a special one, such as the blank of CTC, has a name in angle brackets."""

    def __len__(self) -> int:
        """Return the number of outputs."""

    def encode(self, text: str, language: str | None = None) -> list[int]:
        """Return the targets of a text that is in ``language``; none for an empty one."""

    def to_json(self) -> str:
        """Return the text of the file that the vocabulary is read from."""
