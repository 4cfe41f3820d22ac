"""Memory of tensors that are mapped from a file: it counts as in use until it is given back, and is read again if anyone asks."""

from __future__ import annotations

import ctypes
import mmap
import sys

from torch import Tensor, nn


def give_back(tensor: Tensor) -> None:
    """Let the system drop the pages of a tensor mapped from a file; they are read again if anyone asks.

    Without it, a file that is read once to convert it would count as memory in use to the end.
    """
    size = mmap.PAGESIZE
    start = -(-tensor.data_ptr() // size) * size
    length = (tensor.data_ptr() + tensor.nbytes) // size * size - start
    if sys.platform == "linux" and length > 0:
        ctypes.CDLL(None).madvise(ctypes.c_void_p(start), ctypes.c_size_t(length), mmap.MADV_DONTNEED)


def mark_mapped(parameter: nn.Parameter) -> None:
    """Remember that the numbers of a parameter are mapped from a file, for :func:`is_mapped`."""
    parameter.mapped_at = parameter.data_ptr()  # type: ignore[attr-defined]


def is_mapped(parameter: Tensor) -> bool:
    """Return whether a parameter was marked and has the same numbers still; any other would be lost if it was given back."""
    return bool(getattr(parameter, "mapped_at", None) == parameter.data_ptr())
