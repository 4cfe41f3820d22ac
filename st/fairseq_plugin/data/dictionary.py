"""The target vocabulary as fairseq's commands ask for it."""

from __future__ import annotations

from typing import Any

from st.text.vocabulary import TextVocabulary


class FairseqDictionary:
    """The methods of fairseq's Dictionary that its commands call, over a :class:`TextVocabulary`."""

    def __init__(self, text: TextVocabulary) -> None:
        self.text = text

    def __len__(self) -> int:
        return len(self.text)

    def pad(self) -> int:
        """Index of padding."""
        return self.text.pad

    def eos(self) -> int:
        """Index of the end of a sentence."""
        return self.text.eos

    def unk(self) -> int:
        """Index of what is unknown."""
        return self.text.unk

    def bos(self) -> int:
        """Index of the beginning of a sentence."""
        return self.text.bos

    def string(self, tensor: Any, *_: Any, **__: Any) -> str:
        """Return plain text: pieces joined, tags and specials left out, whatever fairseq asks for."""
        return self.text.decode(tensor.tolist())
