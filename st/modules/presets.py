"""Published shapes, by name.

Numbers are those of the released XLS-R checkpoints (Babu et al. 2021, arXiv:2111.09296; its table prints a width of 1024
for the 1B model, the released file has 1280), of mBART-50 (Tang et al. 2020), w2v-BERT 2.0 (Barrault et al. 2023,
arXiv:2312.05187) and WavLM (Chen et al. 2021, arXiv:2110.13900).
"""

from __future__ import annotations

from typing import Any

from st.doors.shown import shown
from st.errors import ConfigError
from st.modules.config import DecoderConfig, LengthAdaptorConfig, ModelConfig
from st.modules.encoder_config import EncoderConfig


def _xlsr(dim: int, ffn_dim: int, num_layers: int, **others: Any) -> ModelConfig:
    return ModelConfig(
        encoder=EncoderConfig(dim=dim, ffn_dim=ffn_dim, num_layers=num_layers, **others),
        length_adaptor=LengthAdaptorConfig(project=dim != 1024),
    )


_WAV2VEC2: dict[str, Any] = {"conv_norm": "group", "conv_bias": False, "norm_first": False}
_DATA2VEC: dict[str, Any] = {"conv_bias": False, "norm_first": False, "pos_conv_depth": 5, "pos_conv_kernel": 19}


PRESETS: dict[str, ModelConfig] = {
    # For tests and the demo: frames of 40 ms and wide first strides, so that two cores train it in minutes.
    "tiny": ModelConfig(
        encoder=EncoderConfig(
            conv_layers=((128, 40, 20), (192, 4, 4), (192, 3, 2), (192, 2, 2), (192, 2, 2)),
            dim=256,
            ffn_dim=1024,
            num_heads=4,
            num_layers=6,
            pos_conv_kernel=32,
            pos_conv_groups=8,
        ),
        length_adaptor=LengthAdaptorConfig(num_layers=1),
        decoder=DecoderConfig(vocab_size=1000, dim=256, ffn_dim=1024, num_heads=4, num_layers=3, max_positions=256),
    ),
    # For training from random weights on 1 to 20 hours of speech: nothing of the front end need be learned.
    "small": ModelConfig(
        encoder=EncoderConfig(
            mel_bands=80,
            conv_layers=((192, 3, 2), (192, 3, 2)),
            conv_module_kernel=15,
            dim=192,
            ffn_dim=768,
            num_heads=4,
            num_layers=6,
            pos_conv_kernel=32,
            pos_conv_groups=8,
        ),
        length_adaptor=LengthAdaptorConfig(num_layers=1),
        decoder=DecoderConfig(vocab_size=1000, dim=192, ffn_dim=768, num_heads=4, num_layers=3, max_positions=256),
    ),
    "300m": _xlsr(1024, 4096, 24),
    "1b": _xlsr(1280, 5120, 48),
    "2b": _xlsr(1920, 7680, 48),
    # wav2vec 2.0 and HuBERT base, wav2vec 2.0 large of 960 hours, data2vec.
    "base": _xlsr(768, 3072, 12, num_heads=12, **_WAV2VEC2),
    "large": _xlsr(1024, 4096, 24, **_WAV2VEC2),
    "data2vec_base": _xlsr(768, 3072, 12, num_heads=12, **_DATA2VEC),
    "data2vec_large": _xlsr(1024, 4096, 24, **_DATA2VEC),
    "wavlm_base": _xlsr(768, 3072, 12, num_heads=12, distance_buckets=320, **_WAV2VEC2),
    "wavlm_large": ModelConfig(encoder=EncoderConfig(conv_bias=False, distance_buckets=320)),
    "w2v_bert": ModelConfig(
        encoder=EncoderConfig(
            layer_kind="conformer",
            conv_layers=(),
            mel_bands=80,
            mel_stack=2,
            conv_module_kernel=31,
            left_distances=64,
            right_distances=8,
        )
    ),
}


def preset(name: str) -> ModelConfig:
    """Return a preset by name.

    Raises:
        ConfigError: If there is no such preset; the message lists them.
    """
    if name not in PRESETS:
        raise ConfigError(f"no model preset {shown(name)}; choose from: {', '.join(PRESETS)}")
    return PRESETS[name]
