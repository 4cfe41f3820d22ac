"""When was each label spoken? Best path of the CTC head through a given text (torchaudio's ``forced_align``).

Legend: S frames, C labels; label 0 is the blank.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from st.errors import DecodingError
from st.modules.ctc_head import BLANK

IMPOSSIBLE = -1e10
"""Stands for the log-probability of what has none: `forced_align` loses its way among infinities."""


@dataclass(frozen=True, slots=True)
class LabelSpan:
    """One label of the text and the frames it is heard in."""

    label: int
    start: int
    """First frame."""
    end: int
    """Frame after the last."""
    confidence: float
    """Mean probability of the label over its frames."""


def align(logits: Tensor, labels: Sequence[int]) -> list[LabelSpan]:
    """Find the most probable frames of each label of a text.

    Args:
        logits: Scores of one utterance ``(S, C)``, only its valid frames.
        labels: The text, without blanks.

    Returns:
        One span per label, in order, not overlapping, each at least one frame long.

    Raises:
        DecodingError: If there is no label, one is not a label of the head, they do not fit into the frames (each needs
            one, and one more between equal neighbours), the scores hold NaN or positive infinity, or every path has
            probability 0.
    """
    _check(logits, labels)
    # torchaudio costs a second to import; nothing else here needs it.
    from torchaudio.functional import forced_align

    # On the CPU wherever the model is: it is little work, and a kernel for each frame on a GPU.
    log_probs = logits.float().log_softmax(dim=-1)[None].clamp(min=IMPOSSIBLE).cpu()
    if log_probs.isnan().any():
        raise DecodingError("cannot align: the scores of the CTC head hold NaN or infinity; check the checkpoint")
    targets = torch.tensor([list(labels)], dtype=torch.int32)
    path, scores = forced_align(log_probs, targets, blank=BLANK)
    if scores.min() <= IMPOSSIBLE:
        raise DecodingError("cannot align: the CTC head gives every path through the text probability 0")
    return _spans(path[0].numpy(), scores[0].double().exp().numpy())


def _spans(path: npt.NDArray[np.int32], probs: npt.NDArray[np.float64]) -> list[LabelSpan]:
    """Return the runs of equal labels of a path ``(S,)``, given the probability of each frame's label ``(S,)``."""
    changes = path[1:] != path[:-1]
    heard = path != BLANK
    starts = np.flatnonzero(heard & np.concatenate([[True], changes]))
    ends = np.flatnonzero(heard & np.concatenate([changes, [True]])) + 1
    totals = np.concatenate([[0.0], probs.cumsum()])
    confidences = (totals[ends] - totals[starts]) / (ends - starts)
    columns = (path[starts].tolist(), starts.tolist(), ends.tolist(), confidences.tolist())
    return [LabelSpan(*row) for row in zip(*columns, strict=True)]


def _check(logits: Tensor, labels: Sequence[int]) -> None:
    frames, size = logits.shape
    if not labels:
        raise DecodingError("nothing to align: the text holds no label")
    strange = sorted({label for label in labels if not 0 <= label < size or label == BLANK})
    if strange:
        raise DecodingError(f"cannot align labels {strange}; the CTC head has labels 1 to {size - 1}")
    needed = len(labels) + sum(one == other for one, other in pairwise(labels))
    if needed > frames:
        raise DecodingError(
            f"the text needs at least {needed} frames and the audio has {frames}; they do not belong together"
        )
