"""Beam search with both heads: ``(1 - w) * attention + w * CTC prefix score`` (Watanabe et al. 2017).

For a decoder that writes down what is said. The decoder emits pieces and the CTC head letters; what joins them is the
text: the pieces of a hypothesis are turned into text, and the text into labels, as the caller's ``labels_of`` does it.
A piece then scores what its labels add to the prefix score. One that adds none (a comma) is nothing to the CTC head and
left to the decoder: it scores ``attention`` in full. With the decoder's part alone it would cost less than any letter,
and nothing at ``w`` 1, so that runs of commas would win. More than :data:`MOST_UNHEARD` of them in a row are not
tried. The first piece, the given language tag, keeps its part. The end of sentence adds the step from "begins so" to "is
exactly this". Where a piece changes earlier labels (an accent that joins the letter before it), the whole text is scored
anew.

The CTC head judges the decoder's best ``candidates`` tokens of each hypothesis, no others are tried.

Legend: N utterances, R rows (hypotheses), S frames, C labels, K candidates, V vocabulary.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from st.decoding.ctc_prefix_score import CtcPrefixScorer, Labels
from st.decoding.scorer import TokenScorer
from st.kernels.large_vocabulary import top_tokens
from st.text.vocabulary import EOS

LabelsOf = Callable[[Sequence[int]], Sequence[int]]
"""From the tokens of a hypothesis to the labels of its text."""
MOST_UNHEARD = 4
"""Pieces in a row that add no label; a decoder that has lost the thread repeats such a piece without end."""
_NONE = -1
"""Stands for the last label of an empty prefix."""


@dataclass
class _Row:
    """A hypothesis as the CTC head sees it."""

    utterance: int
    tokens: tuple[int, ...] = ()
    labels: Labels = ()
    score: float = 0.0
    """Log-probability that the text begins with ``labels``."""
    unheard: int = 0
    """How many of the last tokens added no label; the first token does not count."""
    children: dict[int, _Row] = field(default_factory=dict)
    """What each candidate of the last step makes of it."""

    def suffix(self, labels: Labels) -> Labels | None:
        """Return what ``labels`` adds to those of this row; None if it changes some of them."""
        return labels[len(self.labels) :] if labels[: len(self.labels)] == self.labels else None


class JointScorer(TokenScorer):
    """Scores next tokens by decoder and CTC head, for one search; tokens that are not tried get minus infinity."""

    def __init__(
        self,
        logits: Tensor,
        lengths: Tensor,
        labels_of: LabelsOf,
        *,
        weight: float,
        candidates: int,
        always: Sequence[Sequence[int]],
    ) -> None:
        """Take the CTC head's part.

        Args:
            logits: The CTC head's scores ``(N, S, C)``, one row per sentence of the batch.
            lengths: Valid frames ``(N,)``.
            labels_of: From tokens to labels.
            weight: Of the CTC head, from 0 to 1.
            candidates: Tokens of each hypothesis that are tried; at least twice the beam for a full one.
            always: For each sentence the same number of tokens that are tried in any case, as the end of sentence is:
                those that the search may force, such as its language tag.
        """
        self._ctc, self._labels_of = CtcPrefixScorer(logits, lengths), labels_of
        self._weight, self._candidates = weight, candidates
        self._always = torch.tensor([(EOS, *tokens) for tokens in always])
        self._roots = self._paths = self._ctc.empty()
        """Paths of the empty prefix of each utterance, and of the labels of each row, ``(R, 2, S + 1)``."""
        self._num_sentences = len(self._roots)
        self._rows = [_Row(utterance) for utterance in range(len(self._roots))]

    def step(self, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """Feed the next token of every row; see :meth:`TokenScorer.step`. The scores are normalised already."""
        self._advance(tokens.tolist())
        logits, log_norm = super().step(tokens)
        chosen = top_tokens(logits, min(self._candidates, logits.size(1)))[1]
        always = self._always.to(chosen.device)[self._utterances().to(chosen.device)]
        chosen = torch.cat([always, chosen], dim=1)  # (R, K)
        attention = logits.gather(1, chosen) - log_norm[:, None]
        gains, unheard = (torch.tensor(found, device=logits.device) for found in self._judge(chosen.tolist()))
        mixed = torch.where(unheard > 0, attention, (1 - self._weight) * attention + self._weight * gains)
        if self._weight > 0 and len(self._rows[0].tokens) >= always.size(1) - 1:  # behind all that may be forced
            mixed = mixed.masked_fill(unheard > MOST_UNHEARD, -math.inf)
        return torch.full_like(logits, -math.inf).scatter(1, chosen, mixed), torch.zeros_like(log_norm)

    def reorder(self, rows: Tensor, *, shared: int) -> None:
        """Let row ``i`` continue what was row ``rows[i]``; see :meth:`TokenScorer.reorder`."""
        super().reorder(rows, shared=shared)
        self._take(rows)

    def keep(self, sentences: Tensor) -> None:
        """Drop all sentences but those listed; see :meth:`TokenScorer.keep`."""
        super().keep(sentences)
        rows = torch.arange(len(self._rows), device=sentences.device).view(self._num_sentences, -1)
        self._num_sentences = len(sentences)
        self._take(rows[sentences].flatten())

    def _take(self, rows: Tensor) -> None:
        self._paths = self._paths[rows]
        self._rows = [self._rows[row] for row in rows.tolist()]

    def _advance(self, tokens: list[int]) -> None:
        """Let every row take the token that was chosen for it; the token that starts them all changes nothing."""
        before = self._rows
        # Each row its own object: two dead ones may come from the same, and their next candidates differ.
        self._rows = [
            replace(row.children.get(token, row), children={}) for row, token in zip(before, tokens, strict=True)
        ]
        suffixes = [old.suffix(new.labels) for old, new in zip(before, self._rows, strict=True)]
        anew = [number for number, suffix in enumerate(suffixes) if suffix is None]
        utterances, last = self._utterances(), self._last(before)
        self._paths[anew], last[anew] = self._roots[utterances[anew]], _NONE
        added = [row.labels if suffix is None else suffix for row, suffix in zip(self._rows, suffixes, strict=True)]
        self._paths = self._ctc.advance(self._paths, utterances, last, added)

    def _judge(self, chosen: list[list[int]]) -> tuple[list[list[float]], list[list[int]]]:
        """Judge the candidates of each row, and remember what each makes of its row.

        Returns:
            What each adds to the prefix score, and :attr:`_Row.unheard` with it, 0 for the end of sentence.
        """
        for row, candidates in zip(self._rows, chosen, strict=True):
            row.children = {token: self._child(row, token) for token in candidates if token != EOS}
        children = [(number, child) for number, row in enumerate(self._rows) for child in row.children.values()]
        growths = [self._growth(number, child.labels) for number, child in children]
        scores = self._scores(growths)
        for (_, child), growth in zip(children, growths, strict=True):
            child.score = scores[growth]
        ends = self._ctc.ends(self._paths, self._utterances()).tolist()
        gains, unheard = [], []
        for row, end, candidates in zip(self._rows, ends, chosen, strict=True):
            after = [end if token == EOS else row.children[token].score for token in candidates]
            gains.append([score - row.score if score > -math.inf else score for score in after])
            unheard.append([0 if token == EOS else row.children[token].unheard for token in candidates])
        return gains, unheard

    def _child(self, row: _Row, token: int) -> _Row:
        tokens = (*row.tokens, token)
        labels = tuple(self._labels_of(tokens))
        unheard = row.unheard + 1 if row.tokens and labels == row.labels else 0
        return _Row(row.utterance, tokens, labels, unheard=unheard)

    def _growth(self, number: int, labels: Labels) -> tuple[int, Labels]:
        """Return the prefix to start from and what to add; behind the rows stand the empty prefixes of each."""
        suffix = self._rows[number].suffix(labels)
        return (number, suffix) if suffix is not None else (len(self._rows) + number, labels)

    def _scores(self, growths: Sequence[tuple[int, Labels]]) -> dict[tuple[int, Labels], float]:
        starts = [*(row.score for row in self._rows), *(0.0 for _ in self._rows)]
        scores = {(start, added): starts[start] for start, added in growths if not added}
        wanted = list(dict.fromkeys(growth for growth in growths if growth[1]))
        utterances, last, paths = self._utterances(), self._last(self._rows), self._paths
        if any(start >= len(self._rows) for start, _ in wanted):
            paths = torch.cat([paths, self._roots[utterances]])
            utterances, last = utterances.repeat(2), torch.cat([last, torch.full_like(last, _NONE)])
        return scores | dict(zip(wanted, self._ctc.score(paths, utterances, last, wanted), strict=True))

    def _utterances(self) -> Tensor:
        return torch.tensor([row.utterance for row in self._rows], device=self._roots.device)

    def _last(self, rows: Sequence[_Row]) -> Tensor:
        return torch.tensor([row.labels[-1] if row.labels else _NONE for row in rows], device=self._roots.device)
