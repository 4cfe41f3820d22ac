"""Put named tensors into a model: all of them or none, without holding them twice."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, MutableMapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from st.errors import CheckpointError
from st.kernels.int8_linear import SCALE, half_if_it_fits, quantise_rows
from st.kernels.mapped_memory import give_back, mark_mapped
from st.modules.config import ModelConfig
from st.modules.int8_names import EMBEDDINGS, is_int8
from st.modules.model import SpeechTranslator

SHOWN = 10


class _NoDraws(TorchFunctionMode):
    """Skip random initial values, which mean nothing without memory; computing them would import half of torch."""

    skipped = (Tensor.uniform_, Tensor.normal_, Tensor.zero_, Tensor.fill_)

    def __torch_function__(self, func: Callable[..., Any], types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func in self.skipped or getattr(func, "__module__", "") == "torch.nn.init":
            return args[0] if args else (kwargs or {})["tensor"]
        return func(*args, **(kwargs or {}))


def require_finite(
    tensors: Mapping[str, Tensor],
    *,
    source: str,
    label: Callable[[str], str | None] = str,
    dtype: torch.dtype | None = None,
) -> None:
    """Refuse weights that hold NaN or infinity; whatever is computed with them is worth nothing.

    Args:
        tensors: Under our names.
        source: As for :func:`build_model`.
        label: As for :func:`build_model`.
        dtype: Type that floating tensors will get, which may not hold their largest number; None for their own.

    Raises:
        CheckpointError: If one does; at most 10 names are listed.
    """
    _refuse([name for name, tensor in tensors.items() if not _is_finite(tensor, dtype)], source, label, dtype)


def _is_finite(tensor: Tensor, dtype: torch.dtype | None = None) -> bool:
    if not tensor.is_floating_point() or not tensor.numel():
        return True
    # The fastest of torch's ways; both are NaN if any number is.
    least, most = tensor.aminmax()
    return bool(torch.stack([least, most]).to(dtype or tensor.dtype).isfinite().all())


def _refuse(broken: Sequence[str], source: str, label: Callable[[str], str | None], dtype: torch.dtype | None) -> None:
    if broken:
        names = listed("tensors that hold NaN or infinity", [label(name) or name for name in broken])
        other = ", or another number type than float16, which ends at 65504" if dtype == torch.float16 else ""
        raise CheckpointError(
            f"{source}: {names}; what they compute is worth nothing: take an earlier checkpoint{other}"
        )


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
    label: Callable[[str], str | None] = str,
    mapped: bool = False,
    scales: MutableMapping[str, Tensor] | None = None,
) -> SpeechTranslator:
    """Build a model around tensors that were read from a file.

    Args:
        config: Shape of the model.
        state: Tensors under our names; emptied while they are taken over, so that memory is freed in between.
        source: Name of the file, for messages.
        device: Where the model shall be.
        dtype: Type of its parameters; float32 if None. With int8 the weights that :mod:`st.modules.int8_names` lists are
            codes, with their scales in a buffer beside them, and the embeddings of half precision, for
            :func:`st.inference.precision.prepare`; no weight stands in memory in float32 meanwhile.
        label: How the file names a parameter of ours, for messages.
        mapped: Whether the tensors are mapped from a file, whose pages are given back once they are converted.
        scales: By name, those of tensors that are codes already; emptied too.

    Returns:
        The model, in evaluation mode.

    Raises:
        CheckpointError: If a tensor is missing, unexpected, of another shape, or not finite; the message lists them.
    """
    codes = dtype in (torch.int8, "int8")
    wanted = torch.float32 if codes else parse_dtype(dtype)
    model = fitting_blueprint(config, state, source=source, label=label)
    known = {} if scales is None else scales
    if codes:
        round_tables(state, mapped=mapped)
    broken = take_codes(model, state, known, mapped=mapped) if codes else []
    broken += take_over(model, state, device=torch.device(device), dtype=wanted, mapped=mapped)
    _refuse(broken, source, label, wanted)
    return model.eval()


def blueprint(config: ModelConfig) -> SpeechTranslator:
    """Return a model of a shape without memory for its parameters."""
    with torch.device("meta"), _NoDraws():
        return SpeechTranslator(config)


def fitting_blueprint(
    config: ModelConfig, state: Mapping[str, Tensor], *, source: str, label: Callable[[str], str | None] = str
) -> SpeechTranslator:
    """Return a model without memory that has exactly the parameters of ``state``; arguments as for :func:`build_model`.

    Raises:
        CheckpointError: If a tensor is missing, unexpected or of another shape.
    """
    for part in config.parts:
        layers = getattr(config, part).num_layers
        # Layers without memory take time all the same; a config may ask for any number of them.
        if layers > len(state):
            raise CheckpointError(
                f"{source}: does not fit the model: {part} of {layers:,} layers, but only {len(state):,} tensors"
            )
    model = blueprint(config)
    check_names(dict(model.named_parameters()), state, source=source, label=label)
    return model


def check_names(
    expected: Mapping[str, Tensor],
    found: Mapping[str, Tensor],
    *,
    source: str,
    label: Callable[[str], str | None] = str,
) -> None:
    """Compare names and shapes.

    Raises:
        CheckpointError: If anything differs; at most 10 names of a kind are listed.
    """
    shapes = [
        f"{label(name) or name} is {list(found[name].shape)}, expected {list(expected[name].shape)}"
        for name in expected
        if name in found and found[name].shape != expected[name].shape
    ]
    problems = [
        listed("missing", [label(name) or name for name in expected if name not in found]),
        listed("unexpected", [label(name) or name for name in found if name not in expected]),
        listed("of another shape", shapes),
    ]
    if any(problems):
        raise CheckpointError(f"{source}: does not fit the model: {'; '.join(filter(None, problems))}")


def take_over(
    model: nn.Module,
    state: MutableMapping[str, Tensor],
    *,
    device: torch.device,
    dtype: torch.dtype,
    mapped: bool = False,
) -> list[str]:
    """Make the tensors of ``state`` the parameters of ``model``, one by one; ``state`` is empty afterwards.

    Returns:
        Names of those that hold NaN or infinity.
    """
    broken = []
    for name, parameter in list(model.named_parameters()):
        if name not in state:  # taken over already
            continue
        source = state.pop(name)
        tensor = source.to(device=device, dtype=dtype).contiguous()
        if mapped and tensor.data_ptr() != source.data_ptr():
            give_back(source)
        if not _is_finite(tensor):
            broken.append(name)
        owner, _, leaf = name.rpartition(".")
        replacement = nn.Parameter(tensor, requires_grad=parameter.requires_grad)
        setattr(model.get_submodule(owner), leaf, replacement)
    return broken


def round_tables(state: MutableMapping[str, Tensor], *, mapped: bool = False) -> None:
    """Round to half precision, in place, what a folder of 8 bits holds so: its model is that of the checkpoint, quantised now."""
    for name, source in state.items():
        is_table = source.dim() > 1 and source.dtype.is_floating_point and source.dtype != torch.float16
        if is_table and not is_int8(name) and name != EMBEDDINGS:
            state[name] = half_if_it_fits(source).float()
            if mapped:
                give_back(source)


def take_codes(
    model: nn.Module, state: MutableMapping[str, Tensor], scales: MutableMapping[str, Tensor], *, mapped: bool = False
) -> list[str]:
    """Do what :func:`take_over` does with the weights that int8 is for, and the embeddings; see :func:`build_model`."""
    broken = []
    for name in [name for name in state if is_int8(name) or name == EMBEDDINGS]:
        source = state.pop(name)
        module = model.get_submodule(name.rpartition(".")[0])
        if name == EMBEDDINGS:
            tensor = checked = half_if_it_fits(source)
        else:
            tensor, checked = (source, scales.pop(name).float()) if name in scales else quantise_rows(source)
            module.register_buffer(SCALE, checked, persistent=False)
        if not _is_finite(checked):
            broken.append(name)
        if mapped:
            give_back(source)
        module.weight = nn.Parameter(tensor, requires_grad=False)
        if mapped and tensor.data_ptr() == source.data_ptr():
            mark_mapped(module.weight)
    return broken


def listed(kind: str, names: Iterable[str]) -> str:
    """Return "3 missing: a, b, c", at most 10 names, or nothing if there is none."""
    names = list(names)
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return f"{len(names)} {kind}: {', '.join(names[:SHOWN])}{more}" if names else ""
