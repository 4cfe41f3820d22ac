"""Decoding of the CTC head (Graves et al. 2006). Legend: N utterances, S frames, C labels; label 0 is the blank."""

from __future__ import annotations

import math

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
    best = logits.argmax(dim=-1)  # (N, S)
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
