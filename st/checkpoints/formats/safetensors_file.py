"""Write safetensors files tensor by tensor, so that a model of any size needs memory for one of its tensors."""

from __future__ import annotations

import hashlib
import json
import zlib
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from st.checkpoints.formats.checksums import CRC_KEY
from st.files import atomic_write
from st.kernels.mapped_memory import give_back

SHA_KEY = "sha256"
"""Metadata entry: digest of all tensor data, as it stands in the file."""

_DTYPES = {
    torch.float32: "F32",
    torch.float16: "F16",
    torch.bfloat16: "BF16",
    torch.float64: "F64",
    torch.int64: "I64",
    torch.int32: "I32",
    torch.int16: "I16",
    torch.int8: "I8",
    torch.uint8: "U8",
    torch.bool: "BOOL",
}
_ALIGNMENT = 64


def write_safetensors(
    path: Path | str,
    tensors: Mapping[str, Tensor],
    metadata: Mapping[str, str] | None = None,
    *,
    dtype: torch.dtype | None = None,
    mapped: bool = False,
) -> str:
    """Write tensors with their checksums, atomically.

    Args:
        path: Final name.
        tensors: What to write, in this order.
        metadata: Entries beside ``format``, ``sha256`` and ``crc32``.
        dtype: Type to write floating tensors as; None for their own.
        mapped: Whether the tensors are mapped from a file, whose pages may go once they are written.

    Returns:
        SHA-256 of the tensor data, in hexadecimal.

    Raises:
        OSError: If the file cannot be written.
        KeyError: If a tensor has a type that safetensors does not know.
    """
    types = {
        name: dtype if dtype is not None and tensor.is_floating_point() else tensor.dtype
        for name, tensor in tensors.items()
    }
    # The checksums stand before the data; room of the same length is kept for them and filled at the end.
    sums = dict.fromkeys(tensors, "0" * 8)
    notes = {"format": "pt", **(metadata or {}), SHA_KEY: "0" * 64, CRC_KEY: json.dumps(sums)}
    places = _places(tensors, types)
    digest = hashlib.sha256()
    with atomic_write(path, "wb") as handle:
        handle.write(_header(notes, places))
        for name, tensor in tensors.items():
            flat = tensor.detach().to("cpu", types[name]).contiguous().view(-1)
            data = flat.view(torch.uint8).numpy().data
            digest.update(data)
            sums[name] = f"{zlib.crc32(data):08x}"
            handle.write(data)
            if mapped:
                give_back(tensor)
        handle.seek(0)
        handle.write(_header(notes | {SHA_KEY: digest.hexdigest(), CRC_KEY: json.dumps(sums)}, places))
    return digest.hexdigest()


def _places(tensors: Mapping[str, Tensor], types: Mapping[str, torch.dtype]) -> dict[str, object]:
    """Return what a header says of each tensor."""
    places: dict[str, object] = {}
    end = 0
    for name, tensor in tensors.items():
        start, end = end, end + tensor.numel() * types[name].itemsize
        places[name] = {"dtype": _DTYPES[types[name]], "shape": list(tensor.shape), "data_offsets": [start, end]}
    return places


def _header(notes: Mapping[str, str], places: Mapping[str, object]) -> bytes:
    text = json.dumps({"__metadata__": notes, **places}).encode()
    text += b" " * (-(len(text) + 8) % _ALIGNMENT)
    return len(text).to_bytes(8, "little") + text
