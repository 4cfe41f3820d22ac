"""Parts of a speech encoder that other formats hold in other tensors: between them and ours, by arithmetic instead of names.

Both directions are here: :func:`complete_encoder` for what was read, :func:`leaving_encoder` for what is written.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

import torch
from torch import Tensor

from st.checkpoints.formats.names import POSITIONS
from st.modules.encoder_config import EncoderConfig

_BATCH_NORM = f"{POSITIONS}batch_norm."
_BATCH_NORM_EPSILON = 1e-5
_POINTWISE = re.compile(r"\.pointwise_conv[12]\.weight$")
_FIRST_NORM = "encoder.feature_extractor.conv_layers.0.2."


def complete_encoder(state: dict[str, Tensor], encoder: EncoderConfig) -> None:
    """Bring a state under our names, of a file that says what ``encoder`` says, to the tensors that our encoder has."""
    if "encoder.mask_emb" not in state:
        # Left out where nothing is masked in training; only training with masks reads it.
        dtype = next((tensor.dtype for tensor in state.values() if tensor.is_floating_point()), torch.float32)
        state["encoder.mask_emb"] = torch.zeros(encoder.dim, dtype=dtype)
    if encoder.conv_norm == "group":  # transformers calls both kinds of norm the same
        for leaf in ("weight", "bias"):
            if (norm := state.pop(f"{_FIRST_NORM}1.{leaf}", None)) is not None:
                state[f"{_FIRST_NORM}{leaf}"] = norm
    if encoder.is_conformer:  # convolutions over one frame, the kernel a dimension of its own
        pointwise = [name for name in state if _POINTWISE.search(name) and state[name].shape[2:] == (1,)]
        state |= {name: state[name].squeeze(2) for name in pointwise}
    complete_positions(state)


def complete_positions(state: dict[str, Tensor]) -> None:
    """Give the positional convolution weight norm where it has none, and the scale that batch norm comes to."""
    plain = state.pop(f"{POSITIONS}weight", None)
    if plain is not None:  # a convolution without weight norm is one whose lengths are those that it has
        state[f"{POSITIONS}weight_v"] = plain
        state[f"{POSITIONS}weight_g"] = plain.float().norm(dim=(0, 1), keepdim=True)
    norm = {leaf: state.get(_BATCH_NORM + leaf) for leaf in ("weight", "bias", "running_mean", "running_var")}
    if (weight := norm["weight"]) is None or (bias := norm["bias"]) is None:
        return
    mean, variance = norm["running_mean"], norm["running_var"]
    if mean is None or variance is None or len({tensor.shape for tensor in (weight, bias, mean, variance)}) > 1:
        return  # what is missing is said by whoever compares the names
    scale = weight.float() / (variance.float() + _BATCH_NORM_EPSILON).sqrt()
    state[f"{POSITIONS}scale"], state[f"{POSITIONS}shift"] = scale, bias.float() - mean.float() * scale
    for leaf in norm:
        del state[_BATCH_NORM + leaf]
    state.pop(f"{_BATCH_NORM}num_batches_tracked", None)


def leaving_encoder(state: Mapping[str, Tensor], encoder: EncoderConfig) -> dict[str, Tensor]:
    """Return a state under our names with batch norm, and a convolution without weight norm, where ours is scaled.

    Linear layers of a Conformer's convolution module are convolutions over one frame.
    """
    state = dict(state)
    if encoder.is_conformer:
        state |= {name: tensor.unsqueeze(2) for name, tensor in state.items() if _POINTWISE.search(name)}
    if not encoder.pos_conv_scaled:
        return state
    scale, shift = state.pop(f"{POSITIONS}scale"), state.pop(f"{POSITIONS}shift")
    zeros = torch.zeros_like(shift)
    parts = {"weight": scale, "bias": shift, "running_mean": zeros, "running_var": zeros + (1 - _BATCH_NORM_EPSILON)}
    state |= {_BATCH_NORM + leaf: tensor for leaf, tensor in parts.items()}
    state[f"{_BATCH_NORM}num_batches_tracked"] = torch.tensor(0)
    gain, direction = state.pop(f"{POSITIONS}weight_g"), state.pop(f"{POSITIONS}weight_v")
    state[f"{POSITIONS}weight"] = torch._weight_norm(direction.float(), gain.float(), 2).to(direction.dtype)
    return state
