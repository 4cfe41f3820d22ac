"""What a model computes beyond the shapes of its tensors: weights fit another number of heads, and mean nothing there."""

from __future__ import annotations

from st.modules.config import ModelConfig
from st.modules.heads import head_options

_KINDS = ("layer_kind", "mel_stack", "left_distances", "right_distances", "distance_buckets", "farthest_distance")
BEHAVIOUR: dict[str, tuple[str, ...]] = {
    "encoder": ("num_heads", "conv_layers", "conv_norm", "norm_first", "pos_conv_depth", "adapter_dim", *_KINDS),
    "length_adaptor": ("stride", "legacy_padding", "mask_input"),
    "decoder": ("num_heads", "activation", "scale_embedding"),
}
"""Settings of each part that its tensors do not show, or not plainly; dropouts and masks of a training are its own."""


def differences(found: ModelConfig, expected: ModelConfig) -> list[str]:
    """Return the settings by which equal weights would be another function, such as "decoder.activation is gelu, …"."""
    pairs = [
        (f"{part}.{name}", getattr(getattr(found, part), name), getattr(getattr(expected, part), name))
        for part, names in BEHAVIOUR.items()
        for name in names
    ]
    pairs.append(("encoder.wave_epsilon", found.encoder.wave_epsilon, expected.encoder.wave_epsilon))
    pairs += [
        (f"layer of head {name}", found.heads[name].layer, head.layer)
        for name, head in expected.heads.items()
        if name in found.heads
    ]
    for name, head in expected.heads.items():
        other = found.heads.get(name)
        if other is not None and other.kind == head.kind:
            theirs, ours = (head_options(each.kind, each.options) for each in (other, head))
            pairs.append((f"options of head {name}", theirs, ours))
    return [f"{name} is {theirs} there and {ours} here" for name, theirs, ours in pairs if theirs != ours]
