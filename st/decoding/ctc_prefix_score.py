"""The probability, for the CTC head, that a text begins like this (Watanabe et al. 2017, algorithm 2).

The two recursions over frames are linear, so that each is a cumulative sum in closed form: no loop over frames.

Legend: N utterances, S frames, C labels, B prefixes; label 0 is the blank.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from st.modules.ctc_head import BLANK

Labels = tuple[int, ...]

_FLOOR = -1e4
"""Least log-probability of a label: practically impossible, and yet sums of it can be subtracted from each other."""


class CtcPrefixScorer:
    """Scores prefixes of label sequences for a batch of utterances.

    A prefix is represented by its *paths*, shape ``(2, S + 1)``: log-probabilities of all paths through the first
    ``0 … S`` frames that spell it, those that end in a blank first, those that end in its last label second.
    """

    def __init__(self, logits: Tensor, lengths: Tensor) -> None:
        """Take the CTC head's scores.

        Args:
            logits: ``(N, S, C)``.
            lengths: Valid frames ``(N,)``.
        """
        self._log_probs = logits.float().log_softmax(dim=-1)
        self._lengths = lengths
        self._valid = torch.arange(logits.size(1), device=logits.device) < lengths[:, None]  # (N, S)
        self._blank = self._log_probs[:, :, BLANK].double().clamp(min=_FLOOR)
        self._blank_sum = self._blank.cumsum(dim=1)

    def empty(self) -> Tensor:
        """Return the paths of the empty prefix for every utterance, ``(N, 2, S + 1)``."""
        never = torch.full_like(self._blank_sum, -math.inf)
        paths = torch.stack([self._blank_sum, never], dim=1)
        first = paths.new_tensor([0.0, -math.inf])[None, :, None].expand(len(paths), 2, 1)
        return torch.cat([first, paths], dim=2)

    def ends(self, paths: Tensor, utterances: Tensor) -> Tensor:
        """Return the log-probability that each prefix is the whole text.

        Args:
            paths: ``(B, 2, S + 1)``.
            utterances: Which utterance each belongs to, ``(B,)``.
        """
        places = self._lengths[utterances][:, None, None].expand(-1, 2, 1)
        return paths.gather(2, places)[:, :, 0].logsumexp(dim=1)

    def starts(self, paths: Tensor, utterances: Tensor, last: Tensor, labels: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Let each prefix grow by a label.

        Args:
            paths: ``(B, 2, S + 1)``.
            utterances: ``(B,)``.
            last: Last label of each prefix, -1 for the empty one, ``(B,)``.
            labels: What to add, ``(B,)``.

        Returns:
            The log-probability that the text begins with the longer prefix, ``(B,)``; and, for :meth:`grow`, the
            log-probability that the new label begins at each frame and that of the label itself, both ``(B, S)``.
        """
        blank, label = paths[:, 0, :-1], paths[:, 1, :-1]
        # A repeated label needs a blank in between, or it is the same one held longer.
        before = torch.logaddexp(blank, label.masked_fill((last == labels)[:, None], -math.inf))
        log_probs = self._log_probs[utterances, :, labels].double().clamp(min=_FLOOR)  # (B, S)
        begins = (before + log_probs).masked_fill(~self._valid[utterances], -math.inf)
        return begins.logsumexp(dim=1), begins, log_probs

    def grow(self, utterances: Tensor, begins: Tensor, log_probs: Tensor) -> Tensor:
        """Return the paths of prefixes after :meth:`starts`, ``(B, 2, S + 1)``."""
        total = log_probs.cumsum(dim=1)
        label = total + (begins - total).logcumsumexp(dim=1)  # (B, S)
        never = label.new_full((len(label), 1), -math.inf)
        blank_total = self._blank_sum[utterances]
        held = torch.cat([never, label[:, :-1]], dim=1) + self._blank[utterances]
        blank = blank_total + (held - blank_total).logcumsumexp(dim=1)
        return torch.stack([torch.cat([never, blank], dim=1), torch.cat([never, label], dim=1)], dim=1)

    def score(
        self, paths: Tensor, utterances: Tensor, last: Tensor, added: Sequence[tuple[int, Labels]]
    ) -> list[float]:
        """Score prefixes that grow by any number of labels; what several of them share is computed once.

        Args:
            paths: Of the prefixes to start from, ``(B, 2, S + 1)``.
            utterances: ``(B,)``.
            last: ``(B,)``.
            added: For each result the row it starts from, and the labels, at least one.

        Returns:
            For each of ``added`` the log-probability that the text begins so.
        """
        scores: dict[tuple[int, Labels], float] = {}
        places: dict[tuple[int, Labels], int] = {(row, ()): row for row in range(len(paths))}
        for depth in range(1, 1 + max((len(labels) for _, labels in added), default=0)):
            nodes = list(dict.fromkeys((row, labels[:depth]) for row, labels in added if len(labels) >= depth))
            parents = torch.tensor([places[row, labels[:-1]] for row, labels in nodes], device=paths.device)
            label = torch.tensor([labels[-1] for _, labels in nodes], device=paths.device)
            utterances = utterances[parents]
            total, begins, log_probs = self.starts(paths[parents], utterances, last[parents], label)
            scores.update(zip(nodes, total.tolist(), strict=True))
            inner = {(row, labels[:depth]) for row, labels in added if len(labels) > depth}
            grown = [place for place, node in enumerate(nodes) if node in inner]
            places = {nodes[place]: number for number, place in enumerate(grown)}
            utterances, last = utterances[grown], label[grown]
            paths = self.grow(utterances, begins[grown], log_probs[grown])
        return [scores[item] for item in added]

    def advance(self, paths: Tensor, utterances: Tensor, last: Tensor, added: Sequence[Labels]) -> Tensor:
        """Return the paths of every row after the labels that it adds, ``(B, 2, S + 1)``; arguments as :meth:`score`."""
        paths, last = paths.clone(), last.clone()
        for depth in range(max(map(len, added), default=0)):
            rows = torch.tensor([row for row, labels in enumerate(added) if len(labels) > depth], device=paths.device)
            label = torch.tensor([labels[depth] for labels in added if len(labels) > depth], device=paths.device)
            _, begins, log_probs = self.starts(paths[rows], utterances[rows], last[rows], label)
            paths[rows], last[rows] = self.grow(utterances[rows], begins, log_probs), label
        return paths
