"""An n-gram language model of letters, made of the transcripts of a prepared tree: with little speech they are all its words.

Interpolated Witten-Bell smoothing (Witten and Bell 1991; Chen and Goodman 1999, section 2.6): with c(h) the times that the
letters h were followed by something, c(h x) by x, and t(h) the number of different letters that followed,

    p(x | h) = (c(h x) + t(h) p(x | h')) / (c(h) + t(h)),

h' being h without its first letter, and the last of these the uniform distribution. Counts are looked up in the sorted windows
of the text, so that all histories need as little memory as the windows.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np
import numpy.typing as npt

from st.data.manifest import TRANSCRIPTS, read_manifest
from st.decoding.ctc_prefix import Labels, PrefixOptions
from st.errors import ConfigError
from st.text.ctc_vocabulary import CtcVocabulary

ORDER = 8
"""Letters of a window: the last, and those that it is told from."""
MOST_LETTERS = 5_000_000
SEARCH = PrefixOptions(beam=16, nbest=16, label_floor=-12.0, model_weight=0.5, label_bonus=0.5)
"""How to search with it, unless one says otherwise."""
_MANIFESTS = f"{TRANSCRIPTS}train_*.tsv"
_REMEMBERED = 40_000_000
"""Numbers in the distributions that are kept."""
_START, _END, _FIRST, _LAST = 1, 2, 3, 0x10FFFF
"""Codes of the windows: of what stands before and behind a text, of label 0, and one behind all."""


class LetterModel:
    """Scores labels of the CTC head; a :class:`st.decoding.ctc_prefix.LabelModel`."""

    def __init__(self, texts: Iterable[Sequence[int]], num_labels: int, order: int = ORDER) -> None:
        """Learn from the labels of texts.

        Args:
            texts: Labels of each, from 0 to below ``num_labels``.
            num_labels: Of the CTC head.
            order: Letters of a window.

        Raises:
            ConfigError: If there are no texts, or so many that a file of KenLM serves better.
        """
        self._order, self._num_labels = order, num_labels
        codes: list[int] = []
        for text in texts:
            codes += [_START] * (order - 1) + [label + _FIRST for label in text] + [_END]
            if len(codes) > MOST_LETTERS + order:
                raise ConfigError(
                    f"more than {MOST_LETTERS:,} letters for a language model made in memory; make a file with KenLM's "
                    "lmplz, and give that"
                )
        if not codes:
            raise ConfigError("no transcripts to make a language model of")
        padded = np.array(codes + [_START] * (order - 1), dtype=np.uint32)
        windows = np.lib.stride_tricks.sliding_window_view(padded, order)
        self._windows = np.sort(np.ascontiguousarray(windows).view(f"<U{order}").ravel())
        self._codes = self._windows.view(np.uint32).reshape(-1, order)
        self._behind = lru_cache(max(1, _REMEMBERED // (num_labels + 1)))(self._distribution)

    @classmethod
    def from_tree(cls, tree: Path, ctc: CtcVocabulary, language: str | None = None) -> LetterModel:
        """Learn from the training transcripts of a prepared tree, of one language (code) or of all.

        Raises:
            ConfigError: If it has none, or too many.
            ManifestError: If a manifest cannot be read.
        """
        rows = (row for path in sorted(tree.glob(_MANIFESTS)) for row in read_manifest(path))
        texts = (ctc.encode(row.src_text, row.src_lang) for row in rows if language in (None, row.src_lang))
        try:
            return cls((text for text in texts if text), len(ctc))
        except ConfigError as error:
            raise ConfigError(f"{tree}{'' if language is None else f', {language}'}: {error}") from None

    def score(self, labels: Labels, label: int) -> float:
        """Return the log-probability of ``label`` after ``labels``."""
        return math.log(self._behind(labels[max(0, len(labels) - self._order + 1) :], self._order - 1)[label])

    def finish(self, labels: Labels) -> float:
        """Return the log-probability that a text ends after ``labels``."""
        return self.score(labels, self._num_labels)

    def _distribution(self, history: Labels, size: int) -> npt.NDArray[np.float64]:
        """Return the probability of each label, and last of the end, behind ``size`` letters: starts, then ``history``."""
        if size < 0:
            return np.full(self._num_labels + 1, 1 / (self._num_labels + 1))
        shorter = self._behind(history if len(history) < size else history[1:], size - 1)
        before = [_START] * (size - len(history)) + [label + _FIRST for label in history]
        sought = "".join(map(chr, before))
        first, last = np.searchsorted(self._windows, [sought, sought + chr(_LAST)])
        followers = self._codes[first:last, size]
        followers = followers[followers != _START]
        if not len(followers):
            return shorter
        places = np.where(followers == _END, self._num_labels, followers - np.uint32(_FIRST))
        counts = np.bincount(places, minlength=self._num_labels + 1)
        different = np.count_nonzero(counts)
        return (counts + different * shorter) / (len(followers) + different)


def has_transcripts(folder: Path) -> bool:
    """Return whether a folder is a prepared tree that a :class:`LetterModel` can be made of."""
    return any(folder.glob(_MANIFESTS))
