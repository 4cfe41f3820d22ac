"""Small random models whose outputs are worth searching for."""

from __future__ import annotations

import torch
from torch import Tensor

from st.modules.config import DecoderConfig, LengthAdaptorConfig, ModelConfig
from st.modules.encoder_config import EncoderConfig
from st.modules.model import Encoded, SpeechTranslator

CONFIG = ModelConfig(
    encoder=EncoderConfig(
        conv_layers=((8, 10, 5), (8, 3, 2)), dim=32, ffn_dim=32, num_heads=2, num_layers=1, pos_conv_kernel=4,
        pos_conv_groups=2,
    ),
    length_adaptor=LengthAdaptorConfig(num_layers=1),
    decoder=DecoderConfig(vocab_size=61, dim=32, ffn_dim=64, num_heads=4, num_layers=2, max_positions=64),
)  # fmt: skip


def make_model(seed: int = 0, *, sharpness: float = 1.6, eos_bias: float = 3.0) -> SpeechTranslator:
    """Random weights, scaled so that tokens depend on memory, history and position, and sentences end at any time.

    Untouched random weights give flat distributions: everything would run into the length limit.
    """
    torch.manual_seed(seed)
    model = SpeechTranslator(CONFIG).eval()
    decoder = model.decoder
    with torch.no_grad():
        decoder.embed_positions.weight.mul_(8)
        for layer in decoder.layers:
            for attention in (layer.encoder_attn, layer.self_attn):
                attention.v_proj.weight.mul_(4)
                attention.q_proj.weight.mul_(3)
        decoder.layer_norm.weight.mul_(sharpness)
        decoder.layer_norm.bias.add_(eos_bias * decoder.embed_tokens.weight[2])
    return model


def make_memory(num: int, seed: int = 1) -> Encoded:
    generator = torch.Generator().manual_seed(seed)
    lengths = torch.randint(1, 20, (num,), generator=generator)
    states = torch.randn(num, int(lengths.max()), CONFIG.decoder.dim, generator=generator) * 2
    return Encoded(states, lengths)


def make_prefix(num: int, seed: int = 2) -> Tensor:
    """A first target token for each sentence, ``(num,)``."""
    return torch.randint(4, CONFIG.decoder.vocab_size, (num,), generator=torch.Generator().manual_seed(seed))


def collapse(path: list[int]) -> list[int]:
    """Merge repeated labels of a path through the CTC head, then drop the blank, label 0."""
    return [label for before, label in zip([-1, *path], path, strict=False) if label not in (before, 0)]
