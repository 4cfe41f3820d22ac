"""Heads that classify: a recording as a whole, its frames, or its speaker; as transformers and fairseq have them.

Legend: N recordings, S frames, L+1 outputs of the encoder (what its layers read, and what each of them puts out), M model
dim, W width, C classes, K targets.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from st.doors.shown import shown
from st.errors import ConfigError
from st.modules.masking import lengths_to_mask

ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "linear": lambda states: states,
    "gelu": F.gelu,
    "relu": F.relu,
    "tanh": torch.tanh,
}
"""What may stand between the mean over frames and the classes; transformers has nothing there, fairseq by default GELU."""
SCORES = ("softmax", "sigmoid", "none")
"""How scores become probabilities: of classes that exclude each other, of those that do not; none for measurements."""

_MAX_SIZE = 1 << 16
_MAX_LAYERS = 64


def _require_sizes(**sizes: object) -> None:
    for name, value in sizes.items():
        if type(value) is not int or not 0 < value <= _MAX_SIZE:
            raise ConfigError(f"head {name} is {shown(value)}; expected a number from 1 to {_MAX_SIZE:,}")


@dataclass(frozen=True, kw_only=True, slots=True)
class ClassOptions:
    """What any head that classifies may be told."""

    scores: str = "softmax"
    """One of :data:`SCORES`."""

    def __post_init__(self) -> None:
        """Check the values.

        Raises:
            ConfigError: If one is none of those possible.
        """
        if self.scores not in SCORES:
            raise ConfigError(f"head scores is {shown(self.scores)}; expected one of: {', '.join(SCORES)}")


@dataclass(frozen=True, kw_only=True, slots=True)
class UtteranceOptions(ClassOptions):
    """What a head that classifies recordings may be told."""

    width: int = 256
    """Of the layer before the classes (W)."""
    activation: str = "linear"
    """One of :data:`ACTIVATIONS`."""

    def __post_init__(self) -> None:
        """Check the values; see :class:`ClassOptions`."""
        ClassOptions.__post_init__(self)
        _require_sizes(width=self.width)
        if self.activation not in ACTIVATIONS:
            raise ConfigError(f"head activation is {shown(self.activation)}; expected one of: {', '.join(ACTIVATIONS)}")


@dataclass(frozen=True, kw_only=True, slots=True)
class XVectorOptions(ClassOptions):
    """What a head of x-vectors may be told; defaults are those of transformers."""

    channels: Sequence[int] = (512, 512, 512, 512, 1500)
    """Of each convolution over time."""
    kernels: Sequence[int] = (5, 3, 3, 1, 1)
    dilations: Sequence[int] = (1, 2, 3, 1, 1)
    width: int = 512
    """Of an x-vector (W)."""

    def __post_init__(self) -> None:
        """Check the values; see :class:`ClassOptions`."""
        ClassOptions.__post_init__(self)
        lists = (self.channels, self.kernels, self.dilations)
        if not all(isinstance(one, list | tuple) for one in lists) or len({len(one) for one in lists}) != 1:
            raise ConfigError("head channels, kernels and dilations: expected three lists of the same length")
        if not 0 < len(self.channels) <= _MAX_LAYERS:
            raise ConfigError(f"head channels has {len(self.channels)} layers; expected 1 to {_MAX_LAYERS}")
        _require_sizes(width=self.width)
        for name, values in zip(("channels", "kernels", "dilations"), lists, strict=True):
            _require_sizes(**{f"{name}[{place}]": value for place, value in enumerate(values)})


class _Mixing(nn.Module):
    """What reads one output of the encoder, or the mean of all, whose weights are learned (Yang et al. 2021, SUPERB)."""

    def __init__(self, mixed: int) -> None:
        """Take the number of outputs that are averaged; 0 for one alone."""
        super().__init__()
        self.layer_weights = nn.Parameter(torch.ones(mixed) / mixed) if mixed else None

    def mix(self, states: Tensor) -> Tensor:
        """Return ``(N, S, M)`` of ``(N, S, M)``, or of all outputs ``(N, L+1, S, M)``."""
        if self.layer_weights is None:
            return states
        return torch.einsum("l,nlsm->nsm", self.layer_weights.softmax(-1).to(states.dtype), states)


class UtteranceHead(_Mixing):
    """The mean over frames, a linear layer, an activation, classes; ``Wav2Vec2ForSequenceClassification``."""

    def __init__(
        self, dim: int, size: int, *, width: int, activation: str, scores: str = "softmax", mixed: int = 0
    ) -> None:
        super().__init__(mixed)
        self.scores, self.activation = scores, ACTIVATIONS[activation]
        self.proj = nn.Linear(dim, width)
        self.out = nn.Linear(width, size)

    def forward(self, states: Tensor, lengths: Tensor) -> Tensor:
        """Return scores ``(N, C)`` of states as for :meth:`_Mixing.mix`, whose valid frames are ``lengths`` ``(N,)``."""
        # The reference projects every frame first: the mean of a linear layer is that of its input.
        return self.out(self.activation(self.proj(frame_mean(self.mix(states), lengths))))  # type: ignore[no-any-return]


class FrameHead(_Mixing):
    """Classes of every frame; ``Wav2Vec2ForAudioFrameClassification``."""

    def __init__(self, dim: int, size: int, *, scores: str = "softmax", mixed: int = 0) -> None:
        super().__init__(mixed)
        self.scores = scores
        self.out = nn.Linear(dim, size)

    def forward(self, states: Tensor, _lengths: Tensor) -> Tensor:
        """Return scores ``(N, S, C)`` of states as for :meth:`_Mixing.mix`."""
        return self.out(self.mix(states))  # type: ignore[no-any-return]


class XVectorHead(_Mixing):
    """Convolutions over time, mean and deviation, an x-vector, speakers (Snyder et al. 2018); ``Wav2Vec2ForXVector``.

    transformers looks for the end of a recording in a padded batch as if no convolution was dilated, and so counts padding
    in; here a recording has the same x-vector in any batch.
    """

    SCALE = 30.0
    """Of the cosines in the loss that these models were trained with (Wang et al. 2018)."""

    def __init__(
        self,
        dim: int,
        size: int,
        *,
        channels: Sequence[int],
        kernels: Sequence[int],
        dilations: Sequence[int],
        width: int,
        scores: str = "softmax",
        mixed: int = 0,
    ) -> None:
        super().__init__(mixed)
        self.scores, self.kernels, self.dilations = scores, tuple(kernels), tuple(dilations)
        self.proj = nn.Linear(dim, channels[0])
        # A convolution as a linear layer over the frames that it sees one after the other, as the reference keeps it.
        inputs = (channels[0], *channels[:-1])
        self.tdnn = nn.ModuleList(nn.Linear(i * k, o) for i, k, o in zip(inputs, kernels, channels, strict=True))
        self.embed = nn.Linear(2 * channels[-1], width)
        self.out = nn.Linear(width, width)
        self.speakers = nn.Parameter(torch.randn(width, size))

    def embedding(self, states: Tensor, lengths: Tensor) -> Tensor:
        """Return x-vectors ``(N, W)``; arguments as for :meth:`forward`.

        Raises:
            ValueError: If a recording has fewer frames than the convolutions see.
        """
        states = self.proj(self.mix(states)).transpose(1, 2)  # (N, S, M) -> (N, channels, S)
        for module, kernel, dilation in zip(self.tdnn, self.kernels, self.dilations, strict=True):
            linear = cast(nn.Linear, module)
            weight = linear.weight.view(linear.out_features, kernel, -1).transpose(1, 2)
            states = F.relu(F.conv1d(states, weight, linear.bias, dilation=dilation))
        lengths = lengths - sum((k - 1) * d for k, d in zip(self.kernels, self.dilations, strict=True))
        if bool((lengths < 2).any()):
            raise ValueError("a recording is too short for an x-vector")
        states = states.transpose(1, 2)
        mean = frame_mean(states, lengths)
        deviation = (frame_mean((states - mean[:, None]).square(), lengths) * (lengths / (lengths - 1))[:, None]).sqrt()
        return self.embed(torch.cat([mean, deviation], dim=-1))  # type: ignore[no-any-return]

    def forward(self, states: Tensor, lengths: Tensor) -> Tensor:
        """Return scores of speakers ``(N, C)``: scaled cosines between what ``out`` gives and each speaker's vector."""
        found = F.normalize(self.out(self.embedding(states, lengths)), dim=1)
        return self.SCALE * found @ F.normalize(self.speakers, dim=0)


def frame_mean(states: Tensor, lengths: Tensor) -> Tensor:
    """Return the mean ``(N, M)`` over the valid frames of ``(N, S, M)``, summed in fp32."""
    inside = lengths_to_mask(lengths, states.size(1)).unsqueeze(-1)
    total = states.masked_fill(~inside, 0.0).sum(1, dtype=torch.float32)
    return (total / lengths.unsqueeze(-1)).to(states.dtype)


def class_loss(logits: Tensor, _lengths: Tensor, targets: Tensor, target_lengths: Tensor) -> Tensor:
    """Return the cross-entropy ``(N,)`` of scores ``(N, C)`` and the first of targets ``(N, K)``; 0 where there is none."""
    first = F.pad(targets, (0, 1))[:, 0]
    return F.cross_entropy(logits.float(), first, reduction="none").masked_fill(target_lengths == 0, 0.0)


def probabilities(scores: Tensor, kind: str) -> Tensor:
    """Return what scores ``(…, C)`` mean, by a name of :data:`SCORES`."""
    scores = scores.float()
    return scores.softmax(-1) if kind == "softmax" else scores.sigmoid() if kind == "sigmoid" else scores
