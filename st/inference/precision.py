"""Devices and number types."""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from functools import partial

import torch
from torch import nn

from st.errors import UsageError
from st.inference.packed_attention import Join, PackedSelfAttention
from st.kernels.int8_linear import LARGEST, Int8Linear, half_if_it_fits, int8_works, largest_activation
from st.kernels.int8_vocabulary import Int8Projection
from st.kernels.mapped_memory import is_mapped
from st.kernels.packed_linear import PackedLinear, packing_works
from st.kernels.settings import bfloat16_is_fast, trim_allocator
from st.modules.attention import MultiheadAttention
from st.modules.int8_names import INTO_ATTENTION, OTHERS
from st.modules.model import SpeechTranslator

logger = logging.getLogger(__name__)

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16, "int8": torch.int8}


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


def choose_dtype(name: str, device: torch.device | str = "cpu") -> torch.dtype:
    """Return a number type by name: for ``int8`` where this CPU has no use for it :func:`floating`, with a warning.

    Raises:
        UsageError: If it is not one of :data:`DTYPES`, or int8 for a GPU.
    """
    if name not in DTYPES:
        raise UsageError(f"no number type {name!r}; choose from: {', '.join(DTYPES)}")
    if DTYPES[name] != torch.int8:
        return DTYPES[name]
    if torch.device(device).type != "cpu":
        raise UsageError("int8 is for CPUs; choose bfloat16 or float16 on a GPU, or `device` cpu")
    if not int8_works():
        logger.warning(
            "this CPU and this torch have no int8 products that are both fast and right (AVX-512 VNNI, AMX or AVX2); "
            "computing in %s",
            str(floating()).removeprefix("torch."),
        )
        return floating()
    if largest_activation() < LARGEST:
        logger.warning(
            "this CPU adds int8 products up in 16 bits (no AVX-512 VNNI, no AMX): activations have 7 bits here, and layers "
            "are about twice as fast as in float32 where others are four times as fast"
        )
    return torch.int8


def floating() -> torch.dtype:
    """Return the type in which a model computes what int8 is not fit for: bfloat16 where the CPU multiplies it, or float32."""
    return torch.bfloat16 if bfloat16_is_fast() else torch.float32


def prepare(model: SpeechTranslator, dtype: torch.dtype) -> torch.dtype:
    """Make a model ready to compute with numbers of a type, in place; it can no longer be trained or saved.

    Returns:
        The type for :func:`autocast`: ``dtype``, or :func:`floating` around int8.
    """
    if dtype == torch.int8:
        quantise(model)
        trim_allocator()
        return floating()
    if dtype != torch.float32:
        convert_products(model, dtype)
    pack(model, dtype)
    return dtype


def convert_products(model: SpeechTranslator, dtype: torch.dtype) -> None:
    """Store the weights of matrix products and convolutions in ``dtype``, in place.

    Autocast would convert them anyway, again at each step; norms, biases and sums stay fp32.
    """
    for module in model.modules():
        if isinstance(module, (nn.Linear, nn.Conv1d)):
            module.weight.data = module.weight.data.to(dtype)
    if "decoder" in model.config.parts and not isinstance(model.decoder.output, Int8Projection):
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
        _replace_layers(model.decoder.layers, lambda _: PackedLinear.join)
        model.decoder.output = PackedLinear(model.decoder.embed_tokens.weight, None)
    if "encoder" in model.config.parts and dtype != torch.float32:
        _replace_layers(model.encoder.encoder.layers, lambda _: PackedLinear.join)


def quantise(model: SpeechTranslator) -> None:
    """Let a model on a CPU compute in 8 bits what :mod:`st.modules.int8_names` lists and the vocabulary's logits, in place.

    What is left is stored as :func:`floating` needs it, but for the embeddings: half precision is eight times as exact as
    bfloat16, and those that are scored again for the best tokens are multiplied in float32.
    """
    # What attention reads has its type: keys and values of the tokens stay in a cache.
    joins: dict[str, Join] = dict.fromkeys(INTO_ATTENTION, partial(Int8Linear.join, output=floating()))
    joins |= dict.fromkeys(OTHERS, Int8Linear.join)
    if "decoder" in model.config.parts:  # the largest first, while there is little else in memory
        table = model.decoder.embed_tokens.weight
        table.data = half_if_it_fits(table.data)
        model.decoder.output = Int8Projection(table.detach(), mapped=is_mapped(table))
        _replace_layers(model.decoder.layers, joins.get)
    if "encoder" in model.config.parts:
        _replace_layers(model.encoder.encoder.layers, joins.get)
    convert_products(model, floating())


def _replace_layers(layers: nn.ModuleList, choose: Callable[[str], Join | None]) -> None:
    """Put what ``choose`` tells by name in the place of linear layers; of the first three of a self-attention, one."""
    for layer in layers:
        attention, join = layer.get_submodule("self_attn"), choose(INTO_ATTENTION[0])
        if isinstance(attention, MultiheadAttention) and join is not None:
            layer.self_attn = PackedSelfAttention(attention, join)
    for module in list(layers.modules()):
        for name, child in list(module.named_children()):
            if isinstance(child, nn.Linear) and (join := choose(name)) is not None:
                setattr(module, name, join([child]))


def autocast(device: torch.device, dtype: torch.dtype) -> AbstractContextManager[object]:
    """Return the context in which a model of this type computes."""
    if dtype == torch.float32:
        return nullcontext()
    return torch.autocast(device.type, dtype=dtype)
