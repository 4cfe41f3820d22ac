"""Rows of a large table of embeddings that is tied to the projection, with little memory for its gradient."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def look_up(ids: Tensor, table: Tensor, padding: int | None) -> Tensor:
    """Return rows ``(…, M)`` of a table ``(V, M)``; row ``padding`` has no gradient.

    On a CPU the gradient is sparse, and autograd adds it to that of the projection, which is there already; a dense one
    would be another gigabyte for the 250,000 pieces of mBART.
    """
    sparse = table.device.type == "cpu" and not torch.compiler.is_compiling()
    return F.embedding(ids, table, padding, sparse=sparse)
