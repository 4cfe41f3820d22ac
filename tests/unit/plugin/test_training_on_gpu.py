"""A training step where tensors of a GPU and of the CPU must not meet."""

from __future__ import annotations

import types

import pytest
import torch
from fairseq.data import data_utils  # noqa: F401  (fairseq registers its own things first)
from omegaconf import OmegaConf
from pretend_cuda import pretended_gpu, put

import st

st.register_plugins()

from st.fairseq_plugin.criterion import TranslationCtcConfig, TranslationCtcCriterion  # noqa: E402
from st.fairseq_plugin.fused_adam import FusedAdamW  # noqa: E402
from st.fairseq_plugin.model import XlsrMbartModel  # noqa: E402
from st.kernels import dropout  # noqa: E402
from st.modules.config import DecoderConfig, LengthAdaptorConfig, ModelConfig, ctc_heads  # noqa: E402
from st.modules.encoder_config import EncoderConfig  # noqa: E402
from st.modules.heads import HEADS  # noqa: E402

CONFIG = ModelConfig(
    encoder=EncoderConfig(
        conv_layers=((8, 10, 5), (8, 3, 2)), dim=32, ffn_dim=32, num_heads=2, num_layers=3, pos_conv_kernel=8,
        pos_conv_groups=2, dropout=0.1, layerdrop=0.3, feature_grad_mult=0.1, mask_time_prob=0.3, mask_time_length=3,
        mask_channel_prob=0.2, mask_channel_length=4,
    ),
    length_adaptor=LengthAdaptorConfig(num_layers=2),
    decoder=DecoderConfig(vocab_size=61, dim=32, ffn_dim=64, num_heads=4, num_layers=2, max_positions=64, dropout=0.1),
    heads=ctc_heads(9, layer=1),
)  # fmt: skip
TASK = types.SimpleNamespace(
    text=types.SimpleNamespace(pad=1), datasets={}, labels={"ctc": None}, kinds=HEADS, text_pairs=None
)
ADAM = {"adam_betas": "(0.9,0.98)", "adam_eps": 1e-3, "weight_decay": 0.01, "lr": [1e-3]}
ADAM |= {"lr_scale": "encoder=0.5", "max_nonfinite_updates": 10}


def _batch() -> dict:
    """Three recordings, five targets, one recording without a transcript."""
    generator = torch.Generator().manual_seed(0)
    lengths = torch.tensor([3000, 2500, 1800])
    waves = torch.randn(3, 3200, generator=generator).masked_fill(torch.arange(3200) >= lengths[:, None], 0.0)
    target = torch.randint(4, 61, (5, 8), generator=generator)
    target[:, -1] = 2
    target[1, 4:] = torch.tensor([2, 1, 1, 1])
    inputs = {
        "waveforms": waves,
        "lengths": lengths,
        "source_rows": torch.tensor([0, 0, 1, 2, 2]),
        "prev_output_tokens": torch.cat([torch.full((5, 1), 2), target[:, :-1]], 1),
    }
    labels = torch.randint(1, 9, (3, 6), generator=generator)
    counts = {"id": torch.arange(5), "nsentences": 5, "ntokens": int(target.ne(1).sum()), "nlabels": {"ctc": (10, 0)}}
    texts = {"target": target, "heads": {"ctc": (labels, torch.tensor([6, 4, 0]))}}
    return counts | {"net_input": inputs} | texts


def _moved(value):
    if isinstance(value, dict):
        return {key: _moved(part) for key, part in value.items()}
    if isinstance(value, tuple):
        return tuple(map(_moved, value))
    return value.to("cuda:0") if isinstance(value, torch.Tensor) else value


def _model() -> XlsrMbartModel:
    torch.manual_seed(0)
    return XlsrMbartModel(CONFIG)


def _update(model: XlsrMbartModel, batch: dict, rdrop: float) -> tuple[float, float]:
    """Return loss and norm of the gradient."""
    torch.manual_seed(1)
    optimizer = FusedAdamW(OmegaConf.create(ADAM), list(model.parameters()))
    loss, _, _ = TranslationCtcCriterion(TranslationCtcConfig(rdrop_alpha=rdrop), TASK)(model.train(), batch)
    loss.backward()
    norm = optimizer.clip_grad_norm(1.0)
    optimizer.step()
    return float(loss.detach()), float(norm)


@pytest.mark.parametrize(("rdrop", "most_waits"), [(0.0, 9), (1.0, 13)])
def test_an_update_on_a_gpu_is_that_of_a_cpu(rdrop: float, most_waits: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dropout, "draws_quickly", lambda _: False)  # so that both draw the same
    model, moved = _model(), _model()
    with pretended_gpu() as gpu:
        put(moved)
        batch = _moved(_batch())
        gpu.waits.clear()
        found = _update(moved, batch, rdrop)
        assert gpu.waits.total() <= most_waits  # two of them in this test, one to clip the gradient
        weights = [parameter.detach().to("cpu") for parameter in moved.parameters()]
    assert found == pytest.approx(_update(model, _batch(), rdrop), rel=1e-4)
    for one, other in zip(weights, model.parameters(), strict=True):
        torch.testing.assert_close(one, other.detach(), rtol=1e-4, atol=1e-5)
