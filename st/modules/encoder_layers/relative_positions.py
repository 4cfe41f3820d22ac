"""Scores of attention for how far a key is from a query: of clipped distances (w2v-BERT 2.0), gated ones (WavLM).

The encoder computes once where all positions stand to each other; each layer makes scores of that.

Legend: N batch, S positions, M model dim, H heads, D head dim, P distances.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from st.modules.encoder_config import EncoderConfig


class ClippedDistances(nn.Module):
    """Numbers of distances from ``left`` before a query to ``right`` after it; what is farther counts as these."""

    def __init__(self, left: int, right: int) -> None:
        super().__init__()
        self.left, self.right = left, right

    def forward(self, size: int, device: torch.device) -> Tensor:
        """Return the number of the distance from each query to each key ``(S, S)``."""
        return _distances(size, device).clamp(-self.left, self.right) + self.left


class KeyPositions(nn.Module):
    """A vector for each distance, which queries are compared with as with a key (Shaw et al. 2018, arXiv:1803.02155)."""

    def __init__(self, head_dim: int, distances: int) -> None:
        super().__init__()
        self.distance_embedding = nn.Embedding(distances, head_dim)

    def forward(self, _states: Tensor, queries: Tensor, places: Tensor) -> Tensor:
        """Return scores ``(N, H, S, S)`` of queries ``(N, H, S, D)``; ``places`` from :class:`ClippedDistances`."""
        vectors = self.distance_embedding.weight.to(queries.dtype)
        scores: Tensor = (queries * queries.size(-1) ** -0.5) @ vectors.T  # (N, H, S, P)
        return scores.gather(-1, places.expand(*scores.shape[:2], -1, -1))


class BucketedDistances(nn.Module):
    """A score for each head and bucket of distances, near ones a bucket each, far ones ever more (T5, arXiv:1910.10683)."""

    def __init__(self, num_heads: int, buckets: int, farthest: int) -> None:
        super().__init__()
        self.rel_attn_embed = nn.Embedding(buckets, num_heads)
        self.buckets, self.farthest = buckets, farthest

    def forward(self, size: int, device: torch.device) -> Tensor:
        """Return the scores of each head ``(H, S, S)``."""
        scores: Tensor = self.rel_attn_embed(self.numbers(_distances(size, device)))
        return scores.permute(2, 0, 1)

    def numbers(self, distances: Tensor) -> Tensor:
        """Return the buckets of distances; one half is for keys behind the query."""
        half = self.buckets // 2
        near = half // 2
        behind = (distances > 0).long() * half
        far = distances.abs()
        # In float32 and in this order, as where the models come from: another rounding is another bucket.
        steps = torch.log(far.float() / near) / math.log(self.farthest / near) * (half - near)
        grown = (near + steps).long().clamp(max=half - 1)
        return behind + torch.where(far < near, far, grown)


class GatedPositions(nn.Module):
    """Scores that each query opens a gate for (WavLM, Chen et al. 2021, arXiv:2110.13900, section III-C).

    Parameter names are those of transformers.
    """

    GATES = 8

    def __init__(self, num_heads: int, head_dim: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.gru_rel_pos_const = nn.Parameter(torch.ones(1, num_heads, 1, 1))
        self.gru_rel_pos_linear = nn.Linear(head_dim, self.GATES)

    def forward(self, states: Tensor, queries: Tensor, places: Tensor) -> Tensor:
        """Return scores ``(N, H, S, S)``.

        Args:
            states: What attention reads, ``(N, S, M)``.
            queries: Of all heads ``(N, H, S, D)``; their type is that of the scores.
            places: From :class:`BucketedDistances`, ``(H, S, S)``.
        """
        heads = states.view(*states.shape[:2], self.num_heads, -1).transpose(1, 2)  # (N, H, S, D)
        both: Tensor = self.gru_rel_pos_linear(heads).view(*heads.shape[:3], 2, -1).sum(-1).sigmoid()
        reset, update = both.chunk(2, dim=-1)  # (N, H, S, 1)
        gate: Tensor = reset * (update * self.gru_rel_pos_const - 1.0) + 2.0
        return (gate * places).to(queries.dtype)


def _distances(size: int, device: torch.device) -> Tensor:
    """Return how far each key is behind each query ``(S, S)``."""
    positions = torch.arange(size, device=device)
    return positions[None, :] - positions[:, None]


def relative_places(config: EncoderConfig) -> nn.Module | None:
    """Return what an encoder computes once for its layers, which :func:`relative_scores` reads; None without distances."""
    if config.distance_buckets:
        return BucketedDistances(config.num_heads, config.distance_buckets, config.farthest_distance)
    if config.left_distances or config.right_distances:
        return ClippedDistances(config.left_distances, config.right_distances)
    return None


def relative_scores(config: EncoderConfig) -> nn.Module | None:
    """Return what makes scores of distances in one layer; None if attention is to be blind to them."""
    head_dim = config.dim // config.num_heads
    if config.distance_buckets:
        return GatedPositions(config.num_heads, head_dim)
    if config.left_distances or config.right_distances:
        return KeyPositions(head_dim, config.left_distances + config.right_distances + 1)
    return None
