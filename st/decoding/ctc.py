"""Decoding of the CTC head (Graves et al. 2006). Legend: N utterances, S frames, C labels; label 0 is the blank."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from st.errors import DecodingError
from st.modules.ctc_head import BLANK
from st.modules.masking import lengths_to_mask


def ctc_greedy(logits: Tensor, lengths: Tensor) -> list[list[int]]:
    """Take the best label of every frame, merge repeats and drop blanks.

    Args:
        logits: Scores ``(N, S, C)``; the best label is the same before and after a softmax.
        lengths: Valid frames ``(N,)``; 0 gives an empty result.

    Returns:
        Labels of each utterance, without blanks.
    """
    return _collapse(logits.argmax(dim=-1), lengths)


def ctc_sample(logits: Tensor, lengths: Tensor, count: int, keys: Sequence[int]) -> list[list[list[int]]]:
    """Draw the label of every frame at random, with its probability; merge repeats and drop blanks.

    Args:
        logits: Scores ``(N, S, C)``.
        lengths: Valid frames ``(N,)``.
        count: How often to draw.
        keys: For each utterance a number from 0 that its draws follow from, whatever stands beside it.

    Returns:
        For each utterance ``count`` times its labels, without blanks.
    """
    sums = logits.double().softmax(dim=-1).cumsum(dim=-1).cpu()  # (N, S, C)
    found = []
    for row, frames, key in zip(sums, lengths.tolist(), keys, strict=True):
        drawn = torch.from_numpy(np.random.default_rng(key).random((count, frames, 1)))
        # The sum of all may be a rounding below 1.
        labels = torch.searchsorted(row[:frames].expand(count, -1, -1).contiguous(), drawn, right=True).squeeze(-1)
        found.append(_collapse(labels.clamp(max=row.size(-1) - 1), torch.full((count,), frames)))
    return found


def _collapse(best: Tensor, lengths: Tensor) -> list[list[int]]:
    """Merge repeats in labels ``(N, S)`` of frames, drop blanks and what is beyond ``lengths`` ``(N,)``."""
    valid = torch.arange(best.size(1), device=best.device) < lengths[:, None]
    counted = valid & (best != BLANK)
    counted[:, 1:] &= best[:, 1:] != best[:, :-1]
    labels, counts = best[counted].tolist(), counted.sum(dim=1).tolist()
    ends = [sum(counts[: row + 1]) for row in range(len(counts))]
    return [labels[end - count : end] for end, count in zip(ends, counts, strict=True)]


def blanks(logits: Tensor, lengths: Tensor) -> list[tuple[float, float]]:
    """Return the least and the mean probability of the blank over the frames of each utterance; 1 for one without frames.

    Args:
        logits: Scores ``(N, S, C)``.
        lengths: Valid frames ``(N,)``.

    Raises:
        DecodingError: If the scores of a valid frame hold NaN or infinity.
    """
    found = logits.float().softmax(dim=-1)[..., BLANK]  # (N, S), NaN where any score of the frame is
    found = found.masked_fill(~lengths_to_mask(lengths, found.size(1)), 1.0)
    least: list[float] = found.amin(dim=1).tolist()
    # Beyond the valid frames are ones, which count for nothing here.
    missing = found.size(1) - lengths
    mean = ((found.double().sum(dim=1) - missing) / lengths.clamp(min=1)).masked_fill(lengths == 0, 1.0).tolist()
    for number, value in enumerate(least):
        if math.isnan(value):
            raise DecodingError(
                f"sentence {number} of the batch: the scores of the CTC head hold NaN or infinity; the model's weights do, "
                "or its numbers are too large for float16"
            )
    return list(zip(least, mean, strict=True))
