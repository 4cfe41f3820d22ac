"""Linear layers with weights and activations of 8 bits, for inference on a CPU (AVX-512 VNNI or AMX; slower with AVX2).

Weights have one scale for each output channel, activations one for each row, both symmetric: what is large in one frame
costs the others nothing. XLS-R has channels whose values are a hundred times those of the rest, in some frames, and one
scale for a whole batch would leave the other frames few bits (Dettmers et al. 2022, arXiv:2208.07339). The scale of a row
does not depend on its neighbours either, so that a result does not depend on what else is in a batch.

oneDNN multiplies; sums are exact integers. It wants activations without a sign, so that 128 is added and taken off again.
A CPU without VNNI adds pairs of products up in 16 bits and cuts off what is larger. Pairs with activations of 7 bits are not:
twice 127 * 127 is less than 2^15. There activations have one bit less, and weights are the same.

Legend: R rows, I features in, O features out.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from st.kernels.mapped_memory import give_back, is_mapped
from st.kernels.packed_linear import PLAIN, ActivatedLinear

LARGEST = 127
"""Codes go from -127 to 127."""
_LARGEST_ACTIVATIONS = (LARGEST, 63)
"""Codes of activations that are tried, the better first."""
SCALE = "weight_scale"
"""Name of the buffer of a linear layer whose ``weight`` has been read as codes: the scales of its output channels."""
_GROUP = 256
"""Rows of a weight that are quantised at a time, so that what is computed on the way stays in the CPU's cache."""
_TINY = torch.finfo(torch.float32).tiny
_CHECKED = ((1, 64, 48), (40, 1024, 256), (300, 256, 1024))
"""Rows, features in and out that are tried at the start: oneDNN has other kernels for few rows than for many."""


def quantise_rows(matrix: Tensor, done: Callable[[Tensor], None] | None = None) -> tuple[Tensor, Tensor]:
    """Return int8 codes of a matrix ``(O, I)`` and the scales of its rows ``(O,)``, fp32: codes times scales is the matrix.

    ``done`` is called with the rows that have been read, some at a time.
    """
    codes, scales = torch.empty(matrix.shape, dtype=torch.int8), torch.empty(len(matrix))
    parts = (torch.split(tensor, _GROUP) for tensor in (matrix.detach(), codes, scales))
    for part, code, scale in zip(*parts, strict=True):
        numbers = part.float()
        scale.copy_(numbers.abs().amax(dim=1)).div_(LARGEST).clamp_(min=_TINY)
        code.copy_((numbers / scale[:, None]).round_())
        if done is not None:
            done(part)
    return codes, scales


def dequantise(codes: Tensor, scales: Tensor) -> Tensor:
    """Return the weight, fp32, of codes ``(O, …)`` and the scales of their rows ``(O,)``."""
    return codes.float() * scales.float().view(-1, *[1] * (codes.dim() - 1))


def half_if_it_fits(table: Tensor) -> Tensor:
    """Return a table in half precision, or as it is if it has numbers beyond 65504."""
    if table.dtype == torch.float16:
        return table
    least, most = map(float, table.detach().aminmax())  # the fastest of torch's ways; NaN if any number is
    largest = torch.finfo(torch.float16).max
    return table.detach().half() if -largest <= least and most <= largest else table


class Int8Linear(ActivatedLinear):
    """What ``nn.Linear`` computes, or several of them over the same input, in 8 bits; cannot be trained or saved."""

    def __init__(self, codes: Tensor, scales: Tensor, bias: Tensor | None, output: torch.dtype = torch.float32) -> None:
        """Lay out codes ``(O, I)`` and scales ``(O,)`` of :func:`quantise_rows`; ``output`` is the type of results."""
        super().__init__()
        self.packed = torch.ops.onednn.qlinear_prepack(codes.contiguous(), None)
        self.scales, self.zeros = scales.float().contiguous(), torch.zeros_like(scales, dtype=torch.int32)
        self.bias = None if bias is None else bias.detach().float()
        self.output, self.largest = output, largest_activation()

    @classmethod
    def join(cls, layers: Sequence[nn.Linear], output: torch.dtype = torch.float32) -> Int8Linear:
        """Make one layer of several, whose input is then quantised once; its output holds theirs one behind the other."""
        codes, scales = zip(*map(weight_codes, layers), strict=True)
        biases = [layer.bias for layer in layers]
        bias = None if any(part is None for part in biases) else torch.cat([part.detach().float() for part in biases])
        # One alone is laid out straight from the file that it is mapped from.
        joined = cls(torch.cat(codes) if len(codes) > 1 else codes[0], torch.cat(scales), bias, output)
        for layer in filter(lambda layer: is_mapped(layer.weight), layers):
            give_back(layer.weight)
        return joined

    def forward(self, inputs: Tensor, activation: str = "none") -> Tensor:
        """Multiply ``(…, I)`` to ``(…, O)``; an activation is applied on the way."""
        rows = inputs.reshape(-1, inputs.size(-1)).float()
        codes, scales = self.codes(rows)
        sums = self.multiply(codes)
        sums = sums.mul_(scales) if self.bias is None else torch.addcmul(self.bias, sums, scales, out=sums)
        if activation != "none":
            sums = PLAIN[activation](sums)
        return sums.to(self.output).view(*inputs.shape[:-1], -1)

    def codes(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Return codes ``(R, I)`` of uint8 for rows of fp32, ``largest + 1`` for zero, and their scales ``(R, 1)``."""
        scales = rows.abs().amax(dim=1, keepdim=True).div_(self.largest).clamp_(min=_TINY)
        codes = (rows / scales).round_().to(torch.int8)  # straight to uint8 would take ten times as long
        return codes.view(torch.uint8).add_(self.largest + 1), scales

    def multiply(self, codes: Tensor) -> Tensor:
        """Return sums ``(R, O)``, fp32, of codes ``(R, I)``, which the scales of the rows are still to be applied to."""
        return _product(codes, self.largest + 1, self.packed, self.scales, self.zeros)


def weight_codes(layer: nn.Linear) -> tuple[Tensor, Tensor]:
    """Return codes and scales of a layer's weight, those that it was stored with if it was."""
    if layer.weight.dtype == torch.int8:
        return layer.weight.detach(), layer.get_buffer(SCALE)
    return quantise_rows(layer.weight)


def _product(codes: Tensor, zero: int, packed: Tensor, scales: Tensor, zeros: Tensor) -> Tensor:
    """Multiply codes ``(R, I)``, of which ``zero`` stands for 0, with a laid out weight to ``(R, O)``, fp32, times its scales."""
    product: Tensor = torch.ops.onednn.qlinear_pointwise(
        codes, 1.0, zero, packed, scales, zeros, None, 1.0, 0, torch.float32, "none", [], ""
    )
    return product


def avx2() -> bool:
    """Return whether this CPU says that it multiplies numbers of 8 bits in vectors; elsewhere oneDNN is very slow at it."""
    supported = getattr(torch.cpu, "_is_avx2_supported", None)
    return bool(supported is not None and supported())


@functools.cache
def largest_activation() -> int:
    """Return the largest code of activations whose products are right on this CPU and with this torch.

    It is told by the results alone, as oneDNN may have been kept from the instructions that the CPU has.

    Returns:
        127 with VNNI or AMX, 63 where sums of 16 bits would be cut off, 0 if there are no such products, or no fast ones.
    """
    if not avx2():
        return 0
    try:
        with torch.inference_mode():
            return next((largest for largest in _LARGEST_ACTIVATIONS if _is_exact(largest)), 0)
    except (RuntimeError, AttributeError, NotImplementedError):
        return 0


def int8_works() -> bool:
    """Return whether this CPU and this torch have such products, fast, and get them right."""
    return largest_activation() > 0


def _is_exact(largest: int) -> bool:
    """Return whether products with codes of activations up to ``largest`` are right."""
    generator = torch.Generator().manual_seed(0)
    for rows, inner, columns in _CHECKED:
        codes = torch.randint(1, 2 * largest + 2, (rows, inner), generator=generator, dtype=torch.uint8)
        weight = torch.randint(-LARGEST, LARGEST + 1, (columns, inner), generator=generator, dtype=torch.int8)
        codes[0], weight[0], weight[1] = 2 * largest + 1, LARGEST, -LARGEST  # the largest sums there are
        ones = torch.ones(columns)
        packed = torch.ops.onednn.qlinear_prepack(weight, None)
        found = _product(codes, largest + 1, packed, ones, torch.zeros_like(ones, dtype=torch.int32))
        expected = (codes.double() - largest - 1) @ weight.double().T
        if not torch.allclose(found.double(), expected, rtol=1e-6, atol=0.5):
            return False
    return True
