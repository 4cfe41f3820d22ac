"""Small classifiers of random weights."""

from __future__ import annotations

import torch

from st.checkpoints.bundle import ModelBundle
from st.checkpoints.formats.exported import Exported, class_part
from st.checkpoints.formats.transformers.writer import write_transformers
from st.data.config import DataConfig
from st.modules.config import HeadConfig, ModelConfig
from st.modules.encoder_config import EncoderConfig
from st.modules.model import SpeechTranslator
from st.text.class_labels import ClassLabels

LABELS = ("de", "en", "fr")
ENCODER = EncoderConfig(
    conv_layers=((16, 10, 5), (16, 8, 8), (16, 8, 8)),
    dim=16,
    ffn_dim=32,
    num_heads=2,
    num_layers=2,
    pos_conv_kernel=8,
    pos_conv_groups=2,
)


def class_model(*, scale=6.0, **heads):
    """Return a bundle whose heads tell :data:`LABELS`, in different ways for different recordings."""
    heads = heads or {"language": HeadConfig("utterance", 3, 0, {"width": 8})}
    torch.manual_seed(1)
    model = SpeechTranslator(ModelConfig(encoder=ENCODER, heads=heads, parts=("encoder",))).eval()
    with torch.no_grad():
        for name in heads:
            model.get_submodule(name).out.weight.mul_(scale)
    return ModelBundle(model, None, {name: ClassLabels(LABELS) for name in heads}, DataConfig(), "a classifier")


def save_classifier(folder, bundle=None):
    """Write a classifier as a folder."""
    bundle = bundle or class_model()
    state = {name: parameter.detach() for name, parameter in bundle.model.named_parameters()}
    exported = Exported(config=bundle.model.config, state=state, text=None, labels=bundle.labels, data=bundle.config)
    write_transformers(class_part(exported), folder)
    return folder
