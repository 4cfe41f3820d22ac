"""Scores of all frames of a long recording, kept in a file: memory stays the same however long it is.

Of each frame only the labels that the text has are kept, beside a few that stand for more. All but one are relative to
the best label of the frame, so that they are at most 0 and half precision is fine where it matters.

Legend: S frames, V labels of the head, C columns.
"""

from __future__ import annotations

import tempfile
from collections.abc import Collection
from types import TracebackType

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from st.errors import DecodingError
from st.modules.ctc_head import BLANK

Rows = npt.NDArray[np.float32]

BLANK_COLUMN, GAP_COLUMN, WILD_COLUMN, TOP_COLUMN = range(4)
"""The blank; what is said between words (``<star>``); a word that the head cannot spell; the log-probability of the best
label, by which the others become log-probabilities again."""
FIRST_LABEL = 4
"""Column of the first label."""
HELD_SHARE = 0.125
"""What a further frame of a letter costs in those, as a share of its first: little, so that a price is one of letters
however long a head holds them, and enough for the last letter of a word to keep its frames."""
NO_COLUMN = -1
"""Stands for a label that has no column."""
IMPOSSIBLE = -60_000.0
"""Least score: half precision ends at -65504."""


class ScoreColumns:
    """Which column each label of the head has."""

    def __init__(
        self, labels: Collection[int], size: int, *, delimiter: int, star_price: float, wild_price: float
    ) -> None:
        """Take the labels of a text.

        Args:
            labels: Those that need a column; the blank and the delimiter are added.
            size: How many the head has (V).
            delimiter: What the head writes between words; the blank if nothing.
            star_price: What a letter costs in :data:`GAP_COLUMN`, in nats.
            wild_price: What it costs in :data:`WILD_COLUMN`.

        Raises:
            DecodingError: If the head has no such label.
        """
        strange = sorted({label for label in labels if not 0 < label < size})
        if strange:
            raise DecodingError(f"cannot align labels {strange}; the CTC head has labels 1 to {size - 1}")
        self._labels = sorted({*labels, delimiter} - {BLANK})
        self._star_price, self._wild_price = star_price, wild_price
        self._columns = np.full(size, NO_COLUMN, dtype=np.int32)
        self._columns[BLANK] = BLANK_COLUMN
        self._columns[self._labels] = np.arange(FIRST_LABEL, len(self))
        self._delimiter, self.delimiter = delimiter, int(self._columns[delimiter])

    def __len__(self) -> int:
        return FIRST_LABEL + len(self._labels)

    def of(self, labels: npt.ArrayLike) -> npt.NDArray[np.int32]:
        """Return the columns of labels; :data:`NO_COLUMN` where there is none."""
        return self._columns[np.asarray(labels, dtype=np.int64)]

    def rows(self, logits: Tensor) -> tuple[Rows, npt.NDArray[np.int32]]:
        """Return the columns of some frames and the best label of each.

        Args:
            logits: Of the head ``(S, V)``.

        Returns:
            Rows ``(S, C)`` and labels ``(S,)``.

        Raises:
            DecodingError: If the scores hold NaN or positive infinity.
        """
        log_probs = logits.float().log_softmax(dim=-1)
        if log_probs.isnan().any():
            raise DecodingError("cannot align: the scores of the CTC head hold NaN or infinity; check the checkpoint")
        top, best = log_probs.max(dim=-1, keepdim=True)
        relative = (log_probs - top).clamp_(min=IMPOSSIBLE)
        blank = relative[:, BLANK : BLANK + 1]
        others = relative.clone()
        others[:, BLANK] = IMPOSSIBLE
        said = others.amax(dim=-1, keepdim=True)
        kept = relative[:, torch.tensor(self._labels, device=logits.device)]
        space = relative[:, self._delimiter : self._delimiter + 1]
        held = torch.zeros_like(best, dtype=torch.bool)
        held[1:] = best[1:] == best[:-1]
        share = torch.where(held, HELD_SHARE, 1.0)
        gap = torch.maximum(blank.maximum(space), said - self._star_price * share)
        wild = torch.maximum(blank, said - self._wild_price * share)
        rows = torch.cat([blank, gap, wild, top.clamp(min=IMPOSSIBLE), kept], dim=-1)
        return rows.cpu().numpy(), best[:, 0].to(torch.int32).cpu().numpy()


class ScoreFile:
    """Rows ``(S, C)`` in a temporary file, in half precision; use as a context, at whose end they are gone."""

    def __init__(self, num_columns: int) -> None:
        self.num_columns = num_columns
        self.num_frames = 0
        self._file = tempfile.TemporaryFile(prefix="st-align-")  # noqa: SIM115 - closed at the end of the context

    def __enter__(self) -> ScoreFile:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    def append(self, rows: Rows) -> None:
        """Add frames at the end."""
        self._file.seek(0, 2)
        self._file.write(np.ascontiguousarray(rows, dtype=np.float16).data)
        self.num_frames += len(rows)

    def read(self, start: int, stop: int) -> Rows:
        """Return the rows of frames ``start`` to ``stop - 1``."""
        rows = np.empty((stop - start, self.num_columns), dtype=np.float16)
        self._file.seek(start * self.num_columns * rows.itemsize)
        if self._file.readinto(rows.data.cast("B") if rows.size else bytearray()) != rows.nbytes:
            raise DecodingError(f"the temporary file of scores ends before frame {stop}; is the disk full?")
        return rows.astype(np.float32)
