"""Devices and number types."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import torch
from torch import nn

from st.errors import UsageError
from st.inference.packed_attention import PackedSelfAttention
from st.kernels.packed_linear import PackedLinear, packing_works
from st.modules.attention import MultiheadAttention
from st.modules.model import SpeechTranslator

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


def choose_device(name: str) -> torch.device:
    """Return a device by name; ``auto`` is the GPU if there is one.

    Raises:
        UsageError: If it is neither the CPU nor a CUDA device, or cannot be used here.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError:
        device = None
    if device is None or device.type not in ("cpu", "cuda"):
        raise UsageError(f"no device {name!r}; choose from: auto, cpu, cuda, cuda:N")
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise UsageError(f"device {name!r}: torch sees {torch.cuda.device_count()} CUDA devices here")
    try:
        torch.zeros(1, device=device).tolist()
    except (RuntimeError, AssertionError, NotImplementedError):
        raise UsageError(f"device {name!r} cannot be used here; choose another `device`, such as cpu") from None
    return device


def choose_dtype(name: str) -> torch.dtype:
    """Return a number type by name.

    Raises:
        UsageError: If it is not one of :data:`DTYPES`.
    """
    if name not in DTYPES:
        raise UsageError(f"no number type {name!r}; choose from: {', '.join(DTYPES)}")
    return DTYPES[name]


def convert_products(model: SpeechTranslator, dtype: torch.dtype) -> None:
    """Store the weights of matrix products and convolutions in ``dtype``, in place.

    Autocast would convert them anyway, again at each step; norms, biases and sums stay fp32.
    """
    for module in model.modules():
        if isinstance(module, (nn.Linear, nn.Conv1d)):
            module.weight.data = module.weight.data.to(dtype)
    if "decoder" not in model.config.parts:
        return
    embedding = model.decoder.embed_tokens
    embedding.weight.data = embedding.weight.data.to(dtype)


def pack(model: SpeechTranslator, dtype: torch.dtype) -> None:
    """Lay out the weights of linear layers for fast products on a CPU, in place; elsewhere nothing is done.

    The model can compute as before, but its layers no longer have weights that could be trained or saved. In float32
    only the decoder is packed: with the many rows of the encoder, plain products are as fast.
    """
    if next(model.parameters()).device.type != "cpu" or not packing_works(dtype):
        return
    if "decoder" in model.config.parts:
        _pack_layers(model.decoder.layers)
        model.decoder.output = PackedLinear(model.decoder.embed_tokens.weight, None)
    if "encoder" in model.config.parts and dtype != torch.float32:
        _pack_layers(model.encoder.encoder.layers)


def _pack_layers(layers: nn.ModuleList) -> None:
    for layer in layers:
        attention = layer.get_submodule("self_attn")
        if isinstance(attention, MultiheadAttention):
            layer.self_attn = PackedSelfAttention(attention)
    for module in list(layers.modules()):
        for name, child in list(module.named_children()):
            if isinstance(child, nn.Linear):
                setattr(module, name, PackedLinear(child.weight, child.bias))


def autocast(device: torch.device, dtype: torch.dtype) -> AbstractContextManager[object]:
    """Return the context in which a model of this type computes."""
    if dtype == torch.float32:
        return nullcontext()
    return torch.autocast(device.type, dtype=dtype)
