"""What decoding step by step remembers of the tokens and of the memory.

Legend: N sentences, R rows (hypotheses; R = N * beam), H heads, D head dim, S' memory states.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

FIRST_CAPACITY = 16
"""Tokens that a new cache has room for; it doubles when they are used up, so that short outputs cost little memory."""


@dataclass
class LayerCache:
    """Keys and values of one layer."""

    keys: Tensor
    """Of the tokens so far, ``(R, H, capacity, D)``; undefined beyond them."""
    values: Tensor
    memory_keys: Tensor
    """Of the memory, ``(N, H, S', D)``."""
    memory_values: Tensor

    def map_tokens(self, rows: Tensor | None, seen: int, capacity: int) -> None:
        """Move keys and values of the first ``seen`` tokens to new room; row ``i`` takes over row ``rows[i]``."""
        self.keys = _moved(self.keys, rows, seen, capacity)
        self.values = _moved(self.values, rows, seen, capacity)


def _moved(states: Tensor, rows: Tensor | None, seen: int, capacity: int) -> Tensor:
    old = states[:, :, :seen] if rows is None else states[:, :, :seen].index_select(0, rows)
    new = states.new_empty((old.size(0), states.size(1), capacity, states.size(3)))
    new[:, :, :seen] = old
    return new


@dataclass
class DecoderCache:
    """Caches of all layers; made by :meth:`TextDecoder.start`."""

    layers: list[LayerCache]
    memory_mask: Tensor | None
    """Added to attention scores, ``(N, 1, 1, S')``: 0 where valid, else minus infinity; None if nothing is padded."""
    max_length: int
    """Most tokens that will be fed."""
    position: int = 0
    """Tokens consumed so far."""

    @property
    def capacity(self) -> int:
        """Tokens there is room for."""
        return self.layers[0].keys.size(2)

    def reserve(self) -> None:
        """Make room for one more token.

        Raises:
            ValueError: If ``max_length`` tokens have been fed already.
        """
        if self.position < self.capacity:
            return
        if self.position >= self.max_length:
            raise ValueError(f"the cache was made for {self.max_length} tokens and has them all")
        capacity = min(2 * self.capacity, self.max_length)
        for layer in self.layers:
            layer.map_tokens(None, self.position, capacity)

    def reorder(self, rows: Tensor, *, shared: int = 0) -> None:
        """Let row ``i`` continue what was row ``rows[i]``; rows move only within their sentence.

        Args:
            rows: Indices into the current rows, shape ``(R,)``; more or fewer than now, the same number for every
                sentence, changes the beam.
            shared: How many of the first tokens all rows of each sentence have in common: nothing moves there.
        """
        seen = self.position
        if rows.numel() != self.layers[0].keys.size(0):
            for layer in self.layers:
                layer.map_tokens(rows, seen, self.capacity)
            return
        if shared >= seen:
            return
        for layer in self.layers:
            for states in (layer.keys, layer.values):
                states[:, :, shared:seen] = states[:, :, shared:seen].index_select(0, rows)

    def keep(self, sentences: Tensor) -> None:
        """Drop all sentences but those listed, with all their rows.

        Args:
            sentences: Indices of the sentences that stay, in order, shape ``(N',)``.
        """
        beam = self.layers[0].keys.size(0) // self.layers[0].memory_keys.size(0)
        rows = (sentences[:, None] * beam + torch.arange(beam, device=sentences.device)).flatten()
        for layer in self.layers:
            layer.map_tokens(rows, self.position, self.capacity)
            layer.memory_keys = layer.memory_keys.index_select(0, sentences)
            layer.memory_values = layer.memory_values.index_select(0, sentences)
        if self.memory_mask is not None:
            self.memory_mask = self.memory_mask.index_select(0, sentences)
