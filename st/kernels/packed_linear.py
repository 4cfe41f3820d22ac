"""Linear layers whose weights are laid out once as oneDNN multiplies them, for inference on a CPU.

torch hands oneDNN a weight as it lies in memory, and oneDNN brings it into its own layout again at every call; with the
few rows of a beam that costs as much as the product. The layout is oneDNN's own secret and holds for any number of rows.

Legend: R rows, I features in, O features out.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

ROWS_HINT = 64
"""Rows that the layout is chosen for: about a beam of some sentences."""

ACTIVATIONS = {"gelu": ("gelu", "none"), "relu": ("relu", ""), "silu": ("swish", ""), "none": ("none", "")}
"""Names of oneDNN."""
PLAIN: dict[str, Callable[[Tensor], Tensor]] = {"gelu": F.gelu, "relu": F.relu, "silu": F.silu}
"""The same as torch has them."""


class ActivatedLinear(nn.Module, ABC):
    """A linear layer that can apply an activation on its way."""

    @abstractmethod
    def forward(self, inputs: Tensor, activation: str = "none") -> Tensor:
        """Multiply ``(…, I)`` to ``(…, O)`` and apply ``gelu``, ``relu``, ``silu`` or ``none``."""


class PackedLinear(ActivatedLinear):
    """What ``nn.Linear`` computes, or several of them over the same input; cannot be trained or saved."""

    def __init__(self, weight: Tensor, bias: Tensor | None) -> None:
        """Lay out a weight ``(O, I)``; ``bias`` ``(O,)`` is kept in its type."""
        super().__init__()
        self.dtype = weight.dtype
        self.packed = torch.ops.mkldnn._reorder_linear_weight(weight.detach().contiguous(), ROWS_HINT)
        self.bias = None if bias is None else bias.detach().to(weight.dtype)

    @classmethod
    def join(cls, layers: Sequence[nn.Linear]) -> PackedLinear:
        """Make one layer of several; its output holds theirs one behind the other."""
        biases = [layer.bias for layer in layers]
        bias = None if any(part is None for part in biases) else torch.cat([part.detach() for part in biases])
        return cls(torch.cat([layer.weight.detach() for layer in layers]), bias)

    def forward(self, inputs: Tensor, activation: str = "none") -> Tensor:
        """Multiply ``(…, I)`` to ``(…, O)`` in the weight's type; an activation is applied on the way."""
        name, algorithm = ACTIVATIONS[activation]
        output: Tensor = torch.ops.mkldnn._linear_pointwise(
            inputs.to(self.dtype), self.packed, self.bias, name, [], algorithm
        )
        return output


def packing_works(dtype: torch.dtype) -> bool:
    """Return whether this torch on this CPU has such products of a type, and gets them right."""
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randn(5, 64, generator=generator).to(dtype)
    weight, bias = (((torch.rand(shape, generator=generator) - 0.5) / 4).to(dtype) for shape in ((48, 64), (48,)))
    try:
        with torch.inference_mode():
            found = PackedLinear(weight, bias)(inputs, "gelu").float()
            expected = F.gelu(F.linear(inputs.float(), weight.float(), bias.float()))
    except (RuntimeError, AttributeError, NotImplementedError):
        return False
    return bool(torch.allclose(found, expected, atol=1e-5 if dtype == torch.float32 else 3e-2))


def linear_activation(layer: nn.Module, inputs: Tensor, activation: str) -> Tensor:
    """Apply a linear layer, packed or not, and ``gelu``, ``relu`` or ``silu``."""
    if isinstance(layer, ActivatedLinear):
        output: Tensor = layer(inputs, activation)
        return output
    return PLAIN[activation](layer(inputs))
