"""Linear layers with weights and activations of 8 bits, for inference on a CPU that multiplies those (AVX-512 VNNI, AMX).

Weights have one scale for each output channel, activations one for each row, both symmetric: what is large in one frame
costs the others nothing. XLS-R has channels whose values are a hundred times those of the rest, in some frames, and one
scale for a whole batch would leave the other frames few bits (Dettmers et al. 2022, arXiv:2208.07339). The scale of a row
does not depend on its neighbours either, so that a result does not depend on what else is in a batch.

oneDNN multiplies; sums are exact integers. It wants activations without a sign, so that 128 is added and taken off again.

Legend: R rows, I features in, O features out.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from st.kernels.packed_linear import PLAIN, ActivatedLinear

LARGEST = 127
"""Codes go from -127 to 127."""
SCALE = "weight_scale"
"""Name of the buffer of a linear layer whose ``weight`` has been read as codes: the scales of its output channels."""
_OFFSET = 128
_GROUP = 4096
"""Rows of a weight that are quantised at a time, so that a large table is not copied whole."""
_TINY = torch.finfo(torch.float32).tiny
_CHECKED = ((1, 64, 48), (40, 1024, 256), (300, 256, 1024))
"""Rows, features in and out that are tried at the start: oneDNN has other kernels for few rows than for many."""


def quantise_rows(matrix: Tensor) -> tuple[Tensor, Tensor]:
    """Return int8 codes of a matrix ``(O, I)`` and the scales of its rows ``(O,)``, fp32: codes times scales is the matrix."""
    parts = torch.split(matrix.detach(), _GROUP)
    scales = torch.cat([part.abs().amax(dim=1).float() for part in parts]).div_(LARGEST).clamp_(min=_TINY)
    pairs = zip(parts, torch.split(scales, _GROUP), strict=True)
    return torch.cat([(part.float() / scale[:, None]).round_().to(torch.int8) for part, scale in pairs]), scales


def dequantise(codes: Tensor, scales: Tensor) -> Tensor:
    """Return the weight, fp32, of codes ``(O, …)`` and the scales of their rows ``(O,)``."""
    return codes.float() * scales.float().view(-1, *[1] * (codes.dim() - 1))


def half_if_it_fits(table: Tensor) -> Tensor:
    """Return a table in half precision, or as it is if it has numbers beyond 65504."""
    half = table.detach().half()
    return half if bool(half.isfinite().all()) else table


class Int8Linear(ActivatedLinear):
    """What ``nn.Linear`` computes, or several of them over the same input, in 8 bits; cannot be trained or saved."""

    def __init__(self, codes: Tensor, scales: Tensor, bias: Tensor | None, output: torch.dtype = torch.float32) -> None:
        """Lay out codes ``(O, I)`` and scales ``(O,)`` of :func:`quantise_rows`; ``output`` is the type of results."""
        super().__init__()
        self.packed = torch.ops.onednn.qlinear_prepack(codes.contiguous(), None)
        self.scales, self.zeros = scales.float().contiguous(), torch.zeros_like(scales, dtype=torch.int32)
        self.bias = None if bias is None else bias.detach().float()
        self.output = output

    @classmethod
    def join(cls, layers: Sequence[nn.Linear], output: torch.dtype = torch.float32) -> Int8Linear:
        """Make one layer of several, whose input is then quantised once; its output holds theirs one behind the other."""
        codes, scales = zip(*map(weight_codes, layers), strict=True)
        biases = [layer.bias for layer in layers]
        bias = None if any(part is None for part in biases) else torch.cat([part.detach().float() for part in biases])
        return cls(torch.cat(codes), torch.cat(scales), bias, output)

    def forward(self, inputs: Tensor, activation: str = "none") -> Tensor:
        """Multiply ``(…, I)`` to ``(…, O)``; an activation is applied on the way."""
        rows = inputs.reshape(-1, inputs.size(-1)).float()
        codes, scales = _unsigned_codes(rows)
        sums = _product(codes, self.packed, self.scales, self.zeros)
        sums = sums.mul_(scales) if self.bias is None else torch.addcmul(self.bias, sums, scales, out=sums)
        if activation != "none":
            sums = PLAIN[activation](sums)
        return sums.to(self.output).view(*inputs.shape[:-1], -1)


def weight_codes(layer: nn.Linear) -> tuple[Tensor, Tensor]:
    """Return codes and scales of a layer's weight, those that it was stored with if it was."""
    if layer.weight.dtype == torch.int8:
        return layer.weight.detach(), layer.get_buffer(SCALE)
    return quantise_rows(layer.weight)


def _unsigned_codes(rows: Tensor) -> tuple[Tensor, Tensor]:
    """Return codes ``(R, I)`` of uint8, 128 for zero, and the scales ``(R, 1)``."""
    scales = rows.abs().amax(dim=1, keepdim=True).div_(LARGEST).clamp_(min=_TINY)
    codes = (rows / scales).round_().to(torch.int8)  # straight to uint8 would take ten times as long
    return codes.view(torch.uint8).add_(_OFFSET), scales


def _product(codes: Tensor, packed: Tensor, scales: Tensor, zeros: Tensor) -> Tensor:
    """Multiply codes ``(R, I)`` with a laid out weight to ``(R, O)``, fp32, times the scales of the weight."""
    product: Tensor = torch.ops.onednn.qlinear_pointwise(
        codes, 1.0, _OFFSET, packed, scales, zeros, None, 1.0, 0, torch.float32, "none", [], ""
    )
    return product


def vnni() -> bool:
    """Return whether this CPU says that it multiplies numbers of 8 bits and adds them up in 32."""
    supported = getattr(torch.cpu, "_is_vnni_supported", None)
    return bool(supported is not None and supported())


@functools.cache
def int8_works() -> bool:
    """Return whether this CPU and this torch have such products, fast, and get them right.

    Without VNNI oneDNN adds products up in 16 bits, where large ones are cut off. Such a CPU is told by what it says of
    itself, and by the result, as oneDNN may have been kept from its instructions.
    """
    if not vnni():
        return False
    generator = torch.Generator().manual_seed(0)
    try:
        with torch.inference_mode():
            return all(_is_exact(*shape, generator) for shape in _CHECKED)
    except (RuntimeError, AttributeError, NotImplementedError):
        return False


def _is_exact(rows: int, inner: int, columns: int, generator: torch.Generator) -> bool:
    codes = torch.randint(1, 256, (rows, inner), generator=generator, dtype=torch.uint8)
    weight = torch.randint(-LARGEST, LARGEST + 1, (columns, inner), generator=generator, dtype=torch.int8)
    codes[0], weight[0] = 255, LARGEST  # the largest sums there are
    ones = torch.ones(columns)
    packed = torch.ops.onednn.qlinear_prepack(weight, None)
    found = _product(codes, packed, ones, torch.zeros_like(ones, dtype=torch.int32))
    expected = (codes.double() - _OFFSET) @ weight.double().T
    return bool(torch.allclose(found.double(), expected, rtol=1e-6, atol=0.5))
