"""Weights, gradients and moments divided over the processes of a training: torch's FSDP2 (``fully_shard``).

Each process keeps a slice of every parameter, of its gradient and of its moments. The weights of a layer are gathered when
it is computed, forward and backward, and given back after it (Zhao et al. 2023, arXiv:2304.11277). What stands outside of
all :data:`UNITS` is gathered for a whole step. Names of parameters stay as they are, and so do the files.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.fsdp import FSDPModule, fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor
from torch.utils._pytree import tree_map

from st.errors import ConfigError, StError
from st.modules.encoder_layers.conformer_layer import ConformerLayer
from st.modules.speech_encoder import EncoderLayer, TransformerEncoder
from st.modules.text_decoder import DecoderLayer, TextDecoder

BACKEND = "fully_sharded"
"""fairseq's name of it, for ``--ddp-backend``."""

UNITS = (EncoderLayer, ConformerLayer, DecoderLayer, TextDecoder)
"""What is gathered at a time; of the decoder, whose layers are units themselves, the embeddings and what little is left."""

EXCLUDED: dict[str, tuple[Any, str]] = {
    # section.option: what it may be, and what to do
    "optimizer._name": ("fused_adamw", "use --optimizer fused_adamw"),
    "model.cache_encoder_states": (False, "leave it out: processes would not encode the same batches"),
    "model.compile": (False, "leave it out"),
    "common.fp16": (False, "use --precision bf16"),
    "ema.store_ema": (False, "leave it out, and average checkpoints with st average"),
    "optimization.use_bmuf": (False, "leave it out"),
    "distributed_training.zero_sharding": ("none", "leave it out: the optimizer's state is divided anyway"),
    "distributed_training.cpu_offload": (False, "leave it out"),
    "distributed_training.use_sharded_state": (False, "leave it out: checkpoints are whole files"),
}
"""Options that do not go with it."""


def refuse_what_cannot_be_sharded(cfg: Any) -> None:
    """Check the config of a training with ``--ddp-backend fully_sharded``.

    Raises:
        ConfigError: The message names the option, and what to do.
    """
    for option, (allowed, advice) in EXCLUDED.items():
        section, name = option.split(".")
        value = getattr(getattr(cfg, section, None), name, allowed)
        if value != allowed:
            flag = f"--{name.strip('_').replace('_', '-')}" if name != "_name" else f"--{section} {value}"
            raise ConfigError(f"--ddp-backend {BACKEND} does not go with {flag}; {advice}")


def shard(model: nn.Module, group: Any, device: torch.device, *, reshard_after_forward: bool = True) -> nn.Module:
    """Divide a model over the processes of a group, in place, and move it to a device, a unit at a time.

    Layers that are dropped at random are drawn from ``model.drops``, a generator that has to be seeded alike in all
    processes: a layer that some leave out and others gather would let them wait for each other without end.

    Args:
        model: With the same weights in all processes.
        group: torch's process group.
        device: Of this process.
        reshard_after_forward: Whether weights of a unit are given back between its forward and its backward pass.

    Returns:
        The model, whose class knows of the division by now.
    """
    mesh = DeviceMesh.from_group(group, device.type)
    marks = {name: vars(parameter) for name, parameter in model.named_parameters()}
    # Inner units first, as torch wants it.
    for unit in reversed([module for module in model.modules() if isinstance(module, UNITS)]):
        fully_shard(unit, mesh=mesh, reshard_after_forward=reshard_after_forward)
    fully_shard(model, mesh=mesh, reshard_after_forward=False)
    # Its own weights stay gathered until its backward pass, which therefore needs no notice from what it returns.
    harmless = re.escape(f"FSDP2-wrapped module ({type(model).__name__}) returned a view tensor")
    warnings.filterwarnings("ignore", message=harmless)
    for name, parameter in model.named_parameters():
        vars(parameter).update(marks[name])
    drops = torch.Generator()
    for module in model.modules():
        if isinstance(module, TransformerEncoder):
            module.drops = drops
    model.drops, model.reshards = drops, reshard_after_forward  # type: ignore[assignment]
    model.register_load_state_dict_pre_hook(_divide_state)  # type: ignore[no-untyped-call]
    return model


def is_sharded(model: Any) -> bool:
    """Return whether a model is divided over processes."""
    return isinstance(model, FSDPModule)


def is_divided(state: Any) -> bool:
    """Return whether tensors of a state are what one process has of them."""
    return any(isinstance(value, DTensor) for value in (state or {}).values())


@contextmanager
def exhaustion_ends_training(model: nn.Module) -> Iterator[None]:
    """End with a sentence where a batch does not fit into memory; fairseq leaves it out, and other processes would wait.

    Raises:
        StError: If so, and the model is divided.
    """
    try:
        yield
    except torch.OutOfMemoryError as exc:
        if not is_sharded(model):
            raise
        raise StError(
            f"out of memory: a batch cannot be left out by one process alone with --ddp-backend {BACKEND}; lower "
            "--max-tokens, or add --checkpoint-activations"
        ) from exc


@contextmanager
def gathered(model: nn.Module) -> Iterator[None]:
    """Have all weights in every process for a while, in which each may run other parts of the model, as a search does.

    All processes must enter and leave it together. Nothing is done for a model that is not divided.
    """
    units = [module for module in model.modules() if isinstance(module, FSDPModule)]
    inner = [unit for unit in units if unit is not model and model.reshards]
    for unit in units:
        unit.unshard()
    for unit in inner:  # or else each would be given back after it was run
        unit.set_reshard_after_forward(False, recurse=False)
    try:
        yield
    finally:
        for unit in inner:
            unit.set_reshard_after_forward(True, recurse=False)
        for unit in units:
            unit.reshard()


def local(tensor: Tensor) -> Tensor:
    """Return what this process has of a tensor, in the same memory; all of one that is not divided."""
    return tensor.to_local() if isinstance(tensor, DTensor) else tensor


def total_norm(gradients: Iterable[Tensor]) -> Tensor:
    """Return the norm of all gradients together, the same in all processes, which must call this equally often."""
    found = list(gradients)
    norm = torch.nn.utils.get_total_norm([local(gradient) for gradient in found])
    mesh = next((gradient.device_mesh for gradient in found if isinstance(gradient, DTensor)), None)
    if mesh is None:
        return norm
    squared = norm.double().square()
    torch.distributed.all_reduce(squared, group=mesh.get_group())
    return squared.sqrt().to(norm.dtype)


def whole(state: Any) -> Any:
    """Put the tensors of a state together on the CPU of the first process; the others return nothing in their place.

    All processes must call this with the same state. Tensors are gathered one at a time.
    """
    first = torch.distributed.get_rank() == 0

    def join(value: Any) -> Any:
        if not isinstance(value, DTensor):
            return value
        full = value.full_tensor()
        return full.detach().cpu() if first else None

    return tree_map(join, state)


def divide(tensor: Tensor, like: Tensor) -> Tensor:
    """Return the slice of a tensor that this process has of ``like``, in memory of its own; all of it if that is not divided."""
    if not isinstance(like, DTensor) or isinstance(tensor, DTensor) or tensor.shape != like.shape:
        return tensor
    return distribute_tensor(tensor, like.device_mesh, like.placements, src_data_rank=None).clone()


def _divide_state(module: nn.Module, state: dict[str, Any], prefix: str, *_rest: Any) -> None:
    for name, parameter in module.named_parameters():
        if prefix + name in state:
            state[prefix + name] = divide(state[prefix + name], parameter)
