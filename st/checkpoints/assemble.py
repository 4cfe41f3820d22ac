"""Put named tensors into a model: all of them or none, without holding them twice."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, MutableMapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from st.errors import CheckpointError
from st.modules.config import ModelConfig
from st.modules.model import SpeechTranslator

IGNORED = frozenset({"decoder.output_projection.weight", "decoder.version", "decoder.embed_positions._float_tensor"})
"""Names of fairseq checkpoints that our model has no counterpart of: tied or informative."""

SHOWN = 10


class _NoDraws(TorchFunctionMode):
    """Skip random initial values, which mean nothing without memory; computing them would import half of torch."""

    skipped = (Tensor.uniform_, Tensor.normal_, Tensor.zero_, Tensor.fill_)

    def __torch_function__(self, func: Callable[..., Any], types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func in self.skipped or getattr(func, "__module__", "") == "torch.nn.init":
            return args[0] if args else (kwargs or {})["tensor"]
        return func(*args, **(kwargs or {}))


def parse_dtype(dtype: torch.dtype | str | None) -> torch.dtype:
    """Return a floating type by name; float32 for None.

    Raises:
        CheckpointError: If there is no such type.
    """
    if dtype is None:
        return torch.float32
    found = getattr(torch, dtype, None) if isinstance(dtype, str) else dtype
    if not isinstance(found, torch.dtype) or not found.is_floating_point:
        raise CheckpointError(f"no floating-point type {dtype!r}; choose from: float32, bfloat16, float16")
    return found


def build_model(
    config: ModelConfig,
    state: MutableMapping[str, Tensor],
    *,
    source: str,
    device: torch.device | str = "cpu",
    dtype: torch.dtype | str | None = None,
) -> SpeechTranslator:
    """Build a model around tensors that were read from a file.

    Args:
        config: Shape of the model.
        state: Tensors under our names; emptied while they are taken over, so that memory is freed in between.
        source: Name of the file, for messages.
        device: Where the model shall be.
        dtype: Type of its parameters; float32 if None.

    Returns:
        The model, in evaluation mode.

    Raises:
        CheckpointError: If a tensor is missing, unexpected or of another shape; the message lists them.
    """
    wanted = parse_dtype(dtype)
    with torch.device("meta"), _NoDraws():
        model = SpeechTranslator(config)
    for name in IGNORED & set(state):
        del state[name]
    check_names(dict(model.named_parameters()), state, source=source)
    take_over(model, state, device=torch.device(device), dtype=wanted)
    return model.eval()


def check_names(expected: Mapping[str, Tensor], found: Mapping[str, Tensor], *, source: str) -> None:
    """Compare names and shapes.

    Raises:
        CheckpointError: If anything differs; at most 10 names of a kind are listed.
    """
    shapes = [
        f"{name} is {list(found[name].shape)}, expected {list(expected[name].shape)}"
        for name in expected
        if name in found and found[name].shape != expected[name].shape
    ]
    problems = [
        _listed("missing", [name for name in expected if name not in found]),
        _listed("unexpected", [name for name in found if name not in expected]),
        _listed("of another shape", shapes),
    ]
    if any(problems):
        raise CheckpointError(f"{source}: does not fit the model: {'; '.join(filter(None, problems))}")


def take_over(
    model: nn.Module, state: MutableMapping[str, Tensor], *, device: torch.device, dtype: torch.dtype
) -> None:
    """Make the tensors of ``state`` the parameters of ``model``, one by one; ``state`` is empty afterwards."""
    for name, parameter in list(model.named_parameters()):
        tensor = state.pop(name).to(device=device, dtype=dtype).contiguous()
        owner, _, leaf = name.rpartition(".")
        replacement = nn.Parameter(tensor, requires_grad=parameter.requires_grad)
        setattr(model.get_submodule(owner), leaf, replacement)


def _listed(kind: str, names: Iterable[str]) -> str:
    names = list(names)
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return f"{len(names)} {kind}: {', '.join(names[:SHOWN])}{more}" if names else ""
