"""A pretended GPU: tensors with real values that say they are on ``cuda:0``.

Operations run on the CPU, on the values inside. One that a GPU would refuse, because some of its tensors are not there,
raises; one that lets the program wait for the GPU is counted, with the line of ours that asks for it.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode, _disable_current_modes, return_and_correct_aliasing

CUDA = torch.device("cuda:0")
OURS = str(Path(__file__).parents[1] / "st") + "/"

ACROSS = {"_to_copy", "copy_"}  # operations between devices
INDEXING = {"index", "index_put", "index_put_", "_index_put_impl_"}  # they take indices from the CPU
WAITING = {"_local_scalar_dense", "equal", "masked_select", "nonzero", "repeat_interleave"}
"""Operations whose result, or its size, the program needs to know."""


class GpuTensor(torch.Tensor):
    """A tensor of the pretended GPU; of use as long as that exists."""

    content: Tensor
    gpu: PretendedGpu
    device, is_cuda, is_cpu, is_meta = CUDA, True, False, False
    __torch_function__ = torch._C._disabled_torch_function_impl

    @staticmethod
    def __new__(cls, content: Tensor, gpu: PretendedGpu) -> GpuTensor:
        size = content.untyped_storage().nbytes() // content.element_size()
        shape = torch.empty(size, dtype=content.dtype, device="meta")
        shape = shape.as_strided(content.size(), content.stride(), content.storage_offset())
        made: GpuTensor = torch.Tensor._make_subclass(cls, shape, False, device_for_backend_keys=CUDA)
        made.content, made.gpu = content, gpu
        return made

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        raise RuntimeError(f"{func} on a tensor of a GPU that is no longer pretended")

    def tolist(self) -> Any:
        self.gpu.count("tolist")
        with _disable_current_modes():
            return self.content.tolist()


class PretendedGpu(TorchDispatchMode):
    """Runs all operations; made by :func:`pretended_gpu`."""

    _should_skip_dynamo = staticmethod(lambda: False)  # the compiler takes seconds to import

    def __init__(self) -> None:
        super().__init__()
        self._mode_key = torch._C._TorchDispatchModeKey.FAKE  # torch leaves the real CUDA alone under it
        self.waits: Counter[str] = Counter()  # how often which line of ours waited for what

    def count(self, what: str) -> None:
        """Note that the program waits."""
        frame: Any = sys._getframe()
        while frame is not None and not frame.f_code.co_filename.startswith(OURS):
            frame = frame.f_back
        where = "a test" if frame is None else f"{frame.f_code.co_filename.removeprefix(OURS)}:{frame.f_lineno}"
        self.waits[f"{where}: {what}"] += 1

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        with _disable_current_modes():
            return self._run(func, args, kwargs or {})

    def _run(self, func: Any, args: Any, kwargs: dict[str, Any]) -> Any:
        tensors: list[Tensor] = []
        contents = _map(lambda tensor: tensors.append(tensor) or getattr(tensor, "content", tensor), (args, kwargs))
        name, target = str(func).split(".")[1], kwargs.get("device")
        if name == "_fused_sdp_choice":
            return 0  # attention by plain operations
        here = to_gpu = any(isinstance(tensor, GpuTensor) for tensor in tensors)
        if name == "copy_":
            to_gpu = isinstance(args[0], GpuTensor)
        elif target is not None:
            to_gpu = torch.device(target).type in ("cuda", "meta")
            contents[1]["device"] = torch.device("cpu")
        if here:
            self._check(name, tensors)
            masked = name in INDEXING and any(mask is not None and mask.dtype == torch.bool for mask in args[1])
            if name in WAITING or masked or (name in ACROSS and not to_gpu):
                self.count(name)
        result = func(*contents[0], **contents[1])
        if not to_gpu:
            return result
        return return_and_correct_aliasing(func, args, kwargs, _map(lambda tensor: GpuTensor(tensor, self), result))

    @staticmethod
    def _check(name: str, tensors: list[Tensor]) -> None:
        """Raise if tensors of the CPU, other than single numbers beside larger ones, are among those of the GPU."""
        elsewhere = [tensor for tensor in tensors if not isinstance(tensor, GpuTensor)]
        numbers = any(tensor.dim() for tensor in tensors) and not any(tensor.dim() for tensor in elsewhere)
        if elsewhere and not numbers and name not in ACROSS | INDEXING:
            shapes = [tuple(tensor.shape) for tensor in elsewhere]
            raise RuntimeError(f"Expected all tensors to be on the same device: {name} of {shapes} on the CPU")


def _map(function: Callable[[Tensor], Any], value: Any) -> Any:
    """Apply a function to all tensors of an operation's arguments or results."""
    if isinstance(value, Tensor):
        return function(value)
    if isinstance(value, (tuple, list)):
        return type(value)(_map(function, part) for part in value)
    return {key: _map(function, part) for key, part in value.items()} if isinstance(value, dict) else value


def put(module: nn.Module) -> nn.Module:
    """Move a module to the pretended GPU, in place."""
    for part in module.modules():
        for name, weight in list(part.named_parameters(recurse=False)):
            moved = nn.Parameter(weight.detach().to(CUDA), requires_grad=weight.requires_grad)
            moved.__dict__.update(vars(weight))
            part._parameters[name] = moved
        for name, buffer in list(part.named_buffers(recurse=False)):
            part._buffers[name] = buffer.to(CUDA)
    return module


@contextmanager
def pretended_gpu() -> Iterator[PretendedGpu]:
    """Pretend, for a while, that this machine has a GPU."""
    gpu, make = PretendedGpu(), torch.tensor

    def tensor(data: Any, *, device: Any = None, **kwargs: Any) -> Tensor:
        return make(data, **kwargs) if device is None else make(data, **kwargs).to(device)

    optimizer = "torch.optim.optimizer.Optimizer._accelerator_graph_capture_health_check"
    with (
        mock.patch("torch.tensor", tensor),
        mock.patch("torch._C._InferenceMode", side_effect=lambda _: torch.no_grad()),
        mock.patch("torch.cuda.is_available", return_value=True),
        mock.patch(optimizer, return_value=None),
        gpu,
    ):
        yield gpu
