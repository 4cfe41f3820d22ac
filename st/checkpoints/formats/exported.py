"""What is written of a model, whatever the format: its shape, its weights under our names, its vocabularies."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from torch import Tensor

from st.checkpoints.assemble import blueprint
from st.checkpoints.bundle import ctc_labels
from st.checkpoints.formats.names import CLASSES
from st.checkpoints.formats.objective import TrainedObjective
from st.data.config import DataConfig
from st.errors import CheckpointError
from st.kernels.int8_linear import half_if_it_fits, quantise_rows
from st.modules.config import CTC, ModelConfig
from st.modules.int8_names import is_int8
from st.text.ctc_vocabulary import CtcVocabulary
from st.text.labels import Labels
from st.text.languages import in_order
from st.text.vocabulary import TextVocabulary


@dataclasses.dataclass(frozen=True, kw_only=True)
class Exported:
    """What is written: shape, weights under our names, vocabularies."""

    config: ModelConfig
    state: Mapping[str, Tensor]
    scales: Mapping[str, Tensor] = dataclasses.field(default_factory=dict)
    """Of weights that are codes of 8 bits, by their names; see :func:`int8_part`."""
    text: TextVocabulary | None
    labels: Mapping[str, Labels]
    """Vocabularies of the heads by name."""
    data: DataConfig
    trim: bytes | None = None
    """Table of the rows that a trimmed vocabulary kept, as ``trim.json`` has it."""
    decoder_trained: bool = True
    """Whether a training has taught the decoder."""
    decoder_transcribes: bool = False
    """Whether it taught the decoder to write down what is said, too."""
    origins: tuple[str, ...] | None = None
    """Published models that the weights come from; None if nobody knows."""
    source: Mapping[str, str] | None = None
    """Name and ``sha256`` of the file or folder that it was read from, by which scores of that are known to be its own."""
    mapped: bool = False
    """Whether the tensors are mapped from a file, whose pages may go once they are written."""
    objective: TrainedObjective | None = None
    """Quantizer and projections of a pre-training."""
    language: str | None = None
    """Language of its adapters, as MMS calls it."""

    @property
    def ctc(self) -> CtcVocabulary | None:
        """Vocabulary of the head ``ctc``; None for a model without one."""
        return ctc_labels(self.labels)


NO_DECODER: dict[str, Any] = {"decoder_trained": True, "decoder_transcribes": False}
"""What is said of the decoder of a model that has none."""


def ctc_part(model: Exported) -> Exported:
    """Return the recogniser that is in a model: its CTC head, and the encoder up to the layer that the head reads.

    What a layer puts out goes through the encoder's last layer norm before a head reads it. So an encoder of that many
    layers, whose output the head reads, is the same function.

    Raises:
        CheckpointError: If the model has no CTC head, or others beside it.
    """
    config = model.config
    if not config.ctc_vocab_size:
        raise CheckpointError("this model has no CTC head, which a model of that kind is made of")
    require_ctc_alone(config, "a CTC model")
    encoder = dataclasses.replace(config.encoder, num_layers=config.ctc_layer or config.encoder.num_layers)
    heads = {CTC: dataclasses.replace(config.heads[CTC], layer=0)}
    shape = ModelConfig(encoder=encoder, heads=heads, parts=("encoder",))
    state = {name: model.state[name] for name, _ in blueprint(shape).named_parameters()}
    return dataclasses.replace(model, config=shape, state=state, text=None, trim=None, **NO_DECODER)


def encoder_part(model: Exported) -> Exported:
    """Return the encoder of a model, without heads.

    Raises:
        CheckpointError: If it has none.
    """
    if "encoder" not in model.config.parts:
        raise CheckpointError(f"this model has no encoder; it has: {' '.join(model.config.parts)}")
    shape = ModelConfig(encoder=model.config.encoder, parts=("encoder",))
    state = {name: model.state[name] for name, _ in blueprint(shape).named_parameters()}
    return dataclasses.replace(model, config=shape, state=state, text=None, trim=None, labels={}, decoder_trained=True)


def class_part(model: Exported) -> Exported:
    """Return the classifier that is in a model: its head that classifies, under the name that those from elsewhere have.

    The encoder ends at the layer that the head reads, as in :func:`ctc_part`.

    Raises:
        CheckpointError: If the model has no such head, or several.
    """
    config = model.config
    names = config.classifying_heads
    if len(names) != 1:
        found = f"several heads that classify ({', '.join(names)})" if names else "no head that classifies"
        raise CheckpointError(f"this model has {found}; a classifier is made of one")
    head = config.heads[names[0]]
    depth = head.layer if head.layer > 0 else config.encoder.num_layers
    encoder = dataclasses.replace(config.encoder, num_layers=depth)
    heads = {CLASSES: dataclasses.replace(head, layer=min(head.layer, 0))}
    shape = ModelConfig(encoder=encoder, heads=heads, parts=("encoder",))
    known = {f"{CLASSES}{name.removeprefix(names[0])}": name for name in model.state if name.startswith(f"{names[0]}.")}
    state = {name: model.state[known.get(name, name)] for name, _ in blueprint(shape).named_parameters()}
    labels = {CLASSES: model.labels[names[0]]}
    data = dataclasses.replace(model.data, heads={})
    return dataclasses.replace(
        model, config=shape, state=state, text=None, trim=None, labels=labels, data=data, **NO_DECODER
    )


def int8_part(model: Exported) -> Exported:
    """Return a model with codes of 8 bits for weights where inference has a use for them, and other tables of half precision.

    Biases and norms, which are vectors and take no room, stay as they are.
    """
    state, scales = dict(model.state), {}
    for name, tensor in model.state.items():
        if is_int8(name):
            state[name], scales[name] = quantise_rows(tensor)
        elif tensor.dim() > 1 and tensor.is_floating_point():
            state[name] = half_if_it_fits(tensor)
    return dataclasses.replace(model, state=state, scales=scales, mapped=False)


def require_ctc_alone(config: ModelConfig, theirs: str) -> None:
    """Refuse heads that a format has no place for.

    Raises:
        CheckpointError: If there is one beside ``ctc``, or that one is of another kind.
    """
    others = [name for name, head in config.heads.items() if name != CTC or head.kind != "ctc"]
    if others:
        raise CheckpointError(
            f"{theirs} has no place for the head {', '.join(others)}: keep the .pt, which carries all heads of a model"
            + ("; `parts` classes writes the classifier alone" if config.classifying_heads else "")
        )


def notes(model: Exported) -> dict[str, Any]:
    """Return what a file of ours says beside shape and vocabularies, which both formats carry."""
    slots = getattr(model.text, "slots", {})
    ids = {code: slots[code] for code in in_order(slots)}
    known: dict[str, Any] = {"origins": None if model.origins is None else list(model.origins), "source": model.source}
    known |= {"decoder_transcribes": True if model.decoder_transcribes else None}
    return {"language_ids": ids, "decoder_trained": model.decoder_trained} | {
        name: value for name, value in known.items() if value is not None
    }
