"""Training checkpoints of tiny models."""

from __future__ import annotations

import reference_models as ref
import torch

from st.checkpoints.bundle import bundle_files
from st.checkpoints.formats.fairseq.names import to_fairseq
from st.modules.config import DecoderConfig, LengthAdaptorConfig, ModelConfig, ctc_heads
from st.modules.encoder_config import EncoderConfig
from st.modules.model import SpeechTranslator


def make_model(vocab_size: int, labels: int, seed: int = 0, **adaptor) -> SpeechTranslator:
    torch.manual_seed(seed)
    config = ModelConfig(
        encoder=EncoderConfig(
            conv_layers=((8, 10, 5), (8, 3, 2)), dim=16, ffn_dim=24, num_heads=2, num_layers=2, pos_conv_kernel=4,
            pos_conv_groups=2,
        ),
        length_adaptor=LengthAdaptorConfig(num_layers=1, **adaptor),
        decoder=DecoderConfig(vocab_size=vocab_size, dim=16, ffn_dim=24, num_heads=2, num_layers=1, max_positions=32),
        heads=ctc_heads(labels),
    )  # fmt: skip
    return ref.perturb(SpeechTranslator(config))


def save_training(model: SpeechTranslator, tree, path, **changes):
    bundle = {"format": 1, "model_config": model.config.to_dict(), "files": bundle_files(tree)}
    content = {"model": to_fairseq(model.state_dict()), "task_state": {"st_bundle": bundle | changes}, "cfg": {}}
    torch.save(content, path)
    return path


def assert_same(one: SpeechTranslator, other: SpeechTranslator) -> None:
    assert list(one.state_dict()) == list(other.state_dict())
    for name, tensor in one.state_dict().items():
        assert torch.equal(tensor, other.state_dict()[name]), name
