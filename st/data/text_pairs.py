"""More text for a decoder that reads transcripts: sentences with translations that nobody has spoken.

Legend: P pairs, L labels, U target tokens.
"""

from __future__ import annotations

import logging
from pathlib import Path

import torch
from torch import Tensor

from st.data.dataset import TARGET_MULTIPLE, pad_rows
from st.data.manifest import read_table
from st.errors import ManifestError
from st.text.labels import Labels
from st.text.languages import split_direction
from st.text.subword_sampling import SubwordSampler
from st.text.vocabulary import EOS, PAD, TextVocabulary

logger = logging.getLogger(__name__)

COLUMNS = ("src_text", "tgt_text")
"""As in manifests."""
MOST_LABELS, MOST_TOKENS = 400, 150
"""Longer sentences are left out: a recording of 30 seconds holds about as much."""
LEAST_KNOWN = 0.95
"""Share of a sentence's letters that the CTC head must have."""


class TextPairs:
    """Pairs of a sentence, as labels of the CTC head, and its translation, as tokens of the decoder and as text."""

    def __init__(self, pairs: list[tuple[list[int], list[int], str]], subwords: SubwordSampler | None = None) -> None:
        self.pairs, self.subwords = pairs, subwords

    def __len__(self) -> int:
        return len(self.pairs)

    @classmethod
    def load(
        cls,
        path: Path | str,
        direction: str,
        labels: Labels,
        text: TextVocabulary,
        subwords: SubwordSampler | None = None,
    ) -> TextPairs:
        """Read a table with the columns ``src_text`` and ``tgt_text``, others ignored.

        With ``subwords`` the pieces of a translation are drawn each time.

        Raises:
            ManifestError: If the file is missing, is no such table, or holds no pair that can be used.
        """
        source, target = split_direction(direction)
        tag, unknown = text.language_id(target), getattr(labels, "unk", None)
        pairs, left_out = [], 0
        for said, translation in read_table(path, COLUMNS):
            read, written = labels.encode(said, source), [tag, *text.encode(translation), EOS]
            known = sum(label != unknown for label in read)
            if 0 < len(read) <= MOST_LABELS and 2 < len(written) <= MOST_TOKENS and known >= LEAST_KNOWN * len(read):
                pairs.append((read, written, translation))
            else:
                left_out += 1
        if not pairs:
            raise ManifestError(
                f"{path}: no pair of texts that can be used; {left_out:,} are empty, too long or in other letters"
            )
        logger.info(
            "%s: %d pairs of text; %d left out: empty, too long or in other letters", path, len(pairs), left_out
        )
        return cls(pairs, subwords)

    def draw(self, number: int) -> tuple[Tensor, Tensor, Tensor]:
        """Draw pairs by torch's generator; the processes of a training, whose generators are alike, draw different ones.

        Returns:
            Labels ``(P, L)`` padded with 0, how many ``(P,)``, and tokens ``(P, U)`` with tag and end, padded.
        """
        shared = torch.distributed.is_available() and torch.distributed.is_initialized()
        rank, size = (torch.distributed.get_rank(), torch.distributed.get_world_size()) if shared else (0, 1)
        places = (torch.randint(len(self), (number,)) + rank * len(self) // size) % len(self)
        labels, tokens, texts = zip(*(self.pairs[place] for place in places.tolist()), strict=True)
        if self.subwords is not None:
            chances = torch.randint(1 << 31, (number,)).tolist()
            pieces = [self.subwords.encode(text, [chance]) for text, chance in zip(texts, chances, strict=True)]
            tokens = tuple([row[0], *drawn, EOS] for row, drawn in zip(tokens, pieces, strict=True))
        return (
            pad_rows(labels, 0, torch.long),
            torch.tensor([len(row) for row in labels]),
            pad_rows(tokens, PAD, torch.long, multiple=TARGET_MULTIPLE),
        )
