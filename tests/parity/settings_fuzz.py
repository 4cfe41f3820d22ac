"""Settings of the reference classes, each changed in a model that is otherwise valid, and what our loader makes of it."""

from __future__ import annotations

import re

import torch

from st.errors import StError

CLOSE = {"atol": 1e-5, "rtol": 0}

# Values that a rule by type would not find: names of functions, numbers that must divide others.
OTHER = {
    "hidden_act": "relu",
    "feat_extract_activation": "relu",
    "activation_function": "gelu",
    "activation_fn": "relu",
    "feat_extract_norm": "group",
    "extractor_mode": "default",
    "layer_type": "conformer",
    "position_embeddings_type": "rotary",
    "blank_mode": "set",
    "num_attention_heads": 8,
    "decoder_attention_heads": 8,
    "encoder_attention_heads": 8,
    "num_conv_pos_embedding_groups": 2,
    "conv_pos_groups": 2,
    "conv_stride": [5, 2, 2, 2, 2, 2, 1],
    "conv_feature_layers": "[(32, 10, 5)] + [(32, 3, 2)] * 4 + [(32,2,2)] + [(32,2,1)]",
    "tdnn_dilation": [1, 1, 2],
    "adapter_act": "gelu",
    "adapter_kernel_size": 5,
    "adaptor_kernel_size": 5,
    "adapter_attn_dim": 8,
    "output_hidden_size": 64,
    "crop_seq_to_multiple": 5,
    "blank_weight": 1.5,
    "layer_norm_eps": 1e-3,
}
# They decide where numbers are computed, what is kept beside them, or which file is read first: never the function.
NO_FUNCTION = re.compile(
    r"_name|dtype|architectures|.*_version|.*path|data|w2v_args|load_.*|.*checkpoint.*|.*freez.*|arch"
)


def another(name, value):
    """Return another value of a setting, None if there is none to try."""
    if name in OTHER:
        return OTHER[name] if OTHER[name] != value else {"relu": "gelu"}.get(value)
    if isinstance(value, bool):
        return not value
    if isinstance(value, int | float):
        return value * 2 or type(value)(1)
    return None


def flips(settings):
    """Return names of settings, each with another value."""
    found = ((name, another(name, value)) for name, value in settings.items() if not NO_FUNCTION.fullmatch(name))
    return [(name, value) for name, value in found if value is not None]


def compare(name, expected, base, ours, left_over=()):
    """Return what our loader did about a setting.

    Args:
        name: The setting.
        expected: Output of the reference with it.
        base: The same without it.
        ours: Returns our output.
        left_over: Tensors that the reference no longer uses; a sentence may name them instead of the setting.
    """
    if _same(expected, base):
        return "has no effect"
    try:
        found, sentence = ours(), name
    except StError as exc:
        found, sentence = None, str(exc)
    named = [word for word in (name, *left_over) if word in sentence]
    assert named, f"{name} has an effect, and is refused without a word of it: {sentence}"
    assert found is None or _same(found, expected), f"{name} has an effect and is dropped"
    return "refused" if found is None else "followed"


def _same(one, two):
    return one.shape == two.shape and torch.allclose(one, two, **CLOSE)
