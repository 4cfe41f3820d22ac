"""Lengths and masks. Legend: N batch, S positions, M model dim."""

from __future__ import annotations

import torch
from torch import Tensor


def lengths_to_mask(lengths: Tensor, size: int) -> Tensor:
    """Return which positions are valid.

    Args:
        lengths: Valid positions of each row, shape ``(N,)``.
        size: Positions in the padded batch.

    Returns:
        Boolean tensor of shape ``(N, size)``, true where valid.
    """
    return torch.arange(size, device=lengths.device)[None, :] < lengths[:, None]


def zero_padding(states: Tensor, lengths: Tensor) -> Tensor:
    """Set the padded positions of ``states`` ``(N, S, M)`` to zero, whatever they hold."""
    return states.masked_fill(~lengths_to_mask(lengths, states.size(1)).unsqueeze(-1), 0.0)


def attention_bias(lengths: Tensor, size: int) -> Tensor | None:
    """Return a mask for ``scaled_dot_product_attention``, or None when nothing is padded.

    Args:
        lengths: Valid positions ``(N,)``.
        size: Positions in the padded batch.

    Returns:
        Boolean ``(N, 1, 1, size)``, true where attention may look; None if every row is full.
    """
    mask = lengths_to_mask(lengths, size)
    return None if bool(mask.all()) else mask[:, None, None, :]


def span_mask(
    shape: tuple[int, int],
    valid: Tensor,
    prob: float,
    length: int,
    *,
    min_spans: int = 0,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Draw random spans to mask, as wav2vec 2.0 does (Baevski et al. 2020, section 3.2).

    Equal in distribution to fairseq's ``compute_mask_indices`` with ``require_same_masks=False``: rows are drawn
    independently, so that what a row loses does not depend on the others of its batch. The number of spans of a row is
    ``prob * valid / length`` rounded at random; starts are drawn without replacement, and spans may overlap. A row that
    would be masked from end to end, where fairseq stops with an error, is left as it is.

    Args:
        shape: ``(N, S)``.
        valid: Valid positions of each row ``(N,)``.
        prob: Share of positions covered if spans did not overlap.
        length: Positions in a span.
        min_spans: Fewest spans of a row.
        generator: Source of chance, on the device of ``valid``; None for torch's own.

    Returns:
        Boolean ``(N, S)``, true where masked; never true on padding.
    """
    rows, size = shape
    device = valid.device
    count = (
        torch.floor(prob * valid / length + torch.rand(rows, device=device, generator=generator))
        .long()
        .clamp(min=min_spans)
    )
    # Where hardly a span fits, fairseq lets spans begin so late that the end of the row cuts them.
    starts_allowed = torch.maximum(valid - length, count + 1)  # (N,)
    width = size + max(min_spans, 1) + 1  # enough for the latest start
    scores = torch.rand(rows, width, device=device, generator=generator)
    scores = scores.masked_fill(~lengths_to_mask(starts_allowed, scores.size(1)), -1.0)
    rank = scores.argsort(dim=1, descending=True).argsort(dim=1)
    starts = (rank < count[:, None])[:, :size].to(torch.int32)
    # A position is masked if any of the last ``length`` positions, itself included, starts a span.
    total = torch.nn.functional.pad(starts.cumsum(1), (length, 0))
    inside = lengths_to_mask(valid, size)
    mask = ((total[:, length:] - total[:, :size]) > 0) & inside
    whole = (mask == inside).all(dim=1, keepdim=True)
    return mask & ~whole
