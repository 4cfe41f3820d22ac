"""Settings that torch programs gain from, made once per process and only where they are harmless.

The allocator: glibc maps and unmaps every buffer above 32 MB, and gives back memory that is free at the end of its heap,
so that large activations and gradients fault in their pages on each use. Told to keep memory, it stops.

The matrix product: MKL, which torch calls for fp32, is written for Intel's CPUs. On those of others oneDNN is 1.1 to 2
times as fast. torch sends fp32 products there when it is allowed to round them to bf16; whether the CPU then does round
depends on its instructions (with AMX it does), so anything less than fp32 accuracy is undone. Nothing is timed: the choice
is the same at each start on a machine, and so are the last bits of a result. :func:`numerics` tells what they depend on.

The kernel cache: oneDNN forgets kernels that it has prepared when more shapes than its cache holds are in use.

Convolutions on a GPU: from NVIDIA's Ampere on torch rounds what they multiply in fp32 to 11 bits (TF32), other than in
matrix products. Here fp32 is fp32 in both; bf16 and fp16 are not concerned.
"""

from __future__ import annotations

import contextlib
import ctypes
import logging
import os
import platform
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

logger = logging.getLogger(__name__)

OFF_SWITCH = "ST_NO_TUNE"
"""Environment variable that, set to anything but 0 or nothing, leaves torch and the allocator as they are."""

MAX_RELATIVE_ERROR = 1e-5
"""A product in fp32 is off by about 3e-7 (Frobenius norm); one rounded to bf16 by 2e-3."""
MKL_VENDOR = "GenuineIntel"
"""Whose CPUs MKL is at least as fast on as oneDNN."""

PRIMITIVE_CACHE = ("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "20000")
"""oneDNN prepares a kernel for every shape of tensors and keeps 1,024; training on speech meets more than that."""

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # malloc.h
_SHAPES = ((1, 1024, 1024), (40, 1024, 1024), (384, 1024, 1024))  # a decoder's row, a beam, an encoder's frames


@dataclass(frozen=True, slots=True)
class Tuning:
    """What :func:`tune` changed."""

    allocator: bool
    """Whether large buffers are kept by the process."""
    matmul: bool
    """Whether fp32 products go to oneDNN."""


_done: Tuning | None = None


def tune(threads: int | None = None) -> Tuning:
    """Make the settings, once per process; later calls only set ``threads``.

    Args:
        threads: CPU threads of torch; None leaves its choice.
    """
    global _done
    if threads is not None:
        torch.set_num_threads(threads)
    if _done is None:
        if os.environ.get(OFF_SWITCH, "0") not in ("", "0"):
            _done = Tuning(allocator=False, matmul=False)
        else:
            os.environ.setdefault(*PRIMITIVE_CACHE)
            # The newer conv.fp32_precision is not used: cudnn.flags, which fairseq calls, fails behind it.
            torch.backends.cudnn.allow_tf32 = False
            _done = Tuning(allocator=tune_allocator(), matmul=tune_matmul())
        logger.debug("settings: %s", _done)
    return _done


def tune_allocator() -> bool:
    """Let glibc reuse large buffers; return whether it agreed. Elsewhere does nothing."""
    if not sys.platform.startswith("linux"):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):  # not glibc
        return False
    # Older glibc refuses thresholds above 32 MB, which then is still the best it can do.
    agreed = any(mallopt(_M_MMAP_THRESHOLD, size) for size in (1 << 30, 1 << 25))
    return bool(agreed and mallopt(_M_TRIM_THRESHOLD, -1))


def trim_allocator() -> None:
    """Give the memory that loading a model has left free back to the system, which :func:`tune_allocator` keeps."""
    if sys.platform.startswith("linux"):
        with contextlib.suppress(OSError, AttributeError):  # not glibc
            ctypes.CDLL(None).malloc_trim(0)


def tune_matmul() -> bool:
    """Send fp32 products to oneDNN where MKL is slower and fp32 accuracy is kept; return whether it was done."""
    usual = torch.backends.mkl.is_available() and cpu_vendor() in ("", MKL_VENDOR)  # type: ignore[no-untyped-call]
    if usual or not torch.backends.mkldnn.is_available():  # type: ignore[no-untyped-call]
        return False
    before = _precision()
    try:
        _set_precision("bf16")
        keep = relative_error() < MAX_RELATIVE_ERROR
    except RuntimeError:  # a torch that knows the setting but a CPU that does not
        keep = False
    if not keep:
        _set_precision(before)
    return keep


def untune_matmul() -> None:
    """Leave fp32 products to the library that torch chooses, for a group of processes that do not all have the other."""
    global _done
    if _done is not None and _done.matmul:
        _set_precision("none")
        _done = Tuning(allocator=_done.allocator, matmul=False)


def cpu_vendor() -> str:
    """Return who made the CPU, as it says itself, such as ``AuthenticAMD``; empty if it does not say."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return platform.processor().rpartition(" ")[2]
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("vendor_id")), "")


def numerics(device: torch.device | str = "cpu") -> dict[str, str]:
    """Return what the last bits of a result in fp32 depend on, besides weights, input and batches.

    Args:
        device: Where the model is.
    """
    versions = {"torch": str(torch.__version__)}
    if torch.device(device).type != "cpu":
        return {"device": torch.cuda.get_device_name(device) if torch.cuda.is_available() else str(device), **versions}
    tuned = _done is not None and _done.matmul
    return {
        "device": "CPU",
        "instructions": torch.backends.cpu.get_cpu_capability(),
        "products": "oneDNN" if tuned else "torch's choice",
        "threads": str(torch.get_num_threads()),
        **versions,
    }


def changed_numerics(before: Mapping[str, object], now: Mapping[str, str]) -> str:
    """Return which of :func:`numerics` differ, as part of a sentence; empty if none does or ``before`` is empty."""
    differing = [name for name in now if before and before.get(name) != now[name]]
    return ", ".join(f"{name} {before.get(name, 'unknown')} before and {now[name]} now" for name in differing)


def bfloat16_is_fast() -> bool:
    """Return whether this CPU multiplies bfloat16 matrices in hardware (AVX-512 BF16 or AMX)."""
    supported = getattr(torch.cpu, "_is_avx512_bf16_supported", None)
    return bool(supported is not None and supported())


def relative_error() -> float:
    """Return the largest relative error of fp32 products under the current settings, against float64."""
    return max(_error(*_operands(shape)) for shape in _SHAPES)


def _error(left: Tensor, right: Tensor) -> float:
    exact = left.double() @ right.double()
    return float(((left @ right).double() - exact).norm() / exact.norm())


def _operands(shape: tuple[int, int, int]) -> tuple[Tensor, Tensor]:
    rows, inner, columns = shape
    generator = torch.Generator().manual_seed(0)
    return torch.randn(rows, inner, generator=generator), torch.randn(inner, columns, generator=generator)


def _precision() -> str:
    return str(torch.backends.mkldnn.matmul.fp32_precision)  # type: ignore[attr-defined]


def _set_precision(value: str) -> None:
    torch.backends.mkldnn.matmul.fp32_precision = value  # type: ignore[attr-defined]
