"""fairseq model ``speech_pretraining``: :class:`st.modules.pretraining.model.SpeechPretrainer` behind fairseq's interface."""

import dataclasses
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Optional

from fairseq.dataclass import ChoiceEnum, FairseqDataclass
from fairseq.models import register_model
from torch import Tensor

from st.checkpoints.formats.objective import NAMES
from st.doors.shown import shown
from st.errors import ConfigError
from st.fairseq_plugin.architectures import register_presets
from st.fairseq_plugin.data.options import parse_numbers
from st.fairseq_plugin.model_options import conv_layers_of
from st.fairseq_plugin.options import with_options_of
from st.fairseq_plugin.repairs.clear_errors import clear_errors
from st.fairseq_plugin.speech_model import SpeechModel, require_fit
from st.modules.encoder_config import EncoderConfig
from st.modules.presets import preset
from st.modules.pretraining.config import MASK_LENGTH, MASK_PROB, PRETRAINING_PRESETS, PretrainingConfig
from st.modules.pretraining.contrastive import Objective
from st.modules.pretraining.model import SpeechPretrainer
from st.options import option, options

logger = logging.getLogger(__name__)
_INSIDE = "pretrainer."


@dataclass
class _Beginning(FairseqDataclass):
    preset: str = option("300m", f"shape of the model: {', '.join(PRETRAINING_PRESETS)}; the options below override it")
    start_from: Optional[str] = option(
        None,
        "checkpoint to go on from: a pre-training of fairseq, Hugging Face or omniASR with its quantizer, or any other "
        "with a speech encoder, which gets a new quantizer",
    )


_WithShape: Any = with_options_of(_Beginning, {"encoder_": EncoderConfig, "": PretrainingConfig}, unset=True)


@dataclass
class PretrainingModelConfig(_WithShape):
    """Options of the model; what is left unset comes from the checkpoint to go on from, then from the preset."""

    checkpoint_activations: ChoiceEnum(["none", "encoder"]) = option(  # type: ignore[valid-type]
        "none", "layers whose activations are computed again for the backward pass: less memory, about a third slower"
    )


@register_model("speech_pretraining", dataclass=PretrainingModelConfig)
class PretrainingModel(SpeechModel):
    """The model that is pre-trained; checkpoints carry fairseq's parameter names."""

    def __init__(self, encoder: EncoderConfig, objective: PretrainingConfig) -> None:
        super().__init__()
        self.pretrainer = SpeechPretrainer(encoder, objective)
        if encoder.feature_grad_mult == 0:
            self.pretrainer.encoder.feature_extractor.requires_grad_(False)
        for name, parameter in self.pretrainer.named_parameters():
            setattr(parameter, "param_group", name.partition(".")[0])  # noqa: B010 (what --lr-scale goes by)
        self.register_state_dict_post_hook(_rename_out)
        self.register_load_state_dict_pre_hook(_rename_in)

    @classmethod
    def build_model(cls, cfg: Any, task: Any) -> "PretrainingModel":
        """Build; start from a checkpoint where the config names one."""
        from st.checkpoints.start.pretraining import PretrainingStart

        start = PretrainingStart.read(cfg.start_from) if cfg.start_from else None
        known = None if start is None else start.config
        objective = objective_config(cfg, known)
        model = cls(encoder_config(cfg), objective)
        if start is not None:
            start.fill(model.pretrainer)
            model.origins += start.origins
        model.pretrainer.encoder.encoder.recompute = str(cfg.checkpoint_activations) == "encoder"
        model.log_parameters()
        return model

    @clear_errors
    def load_state_dict(
        self, state_dict: Mapping[str, Tensor], strict: bool = True, model_cfg: Any = None, args: Any = None
    ) -> Any:
        """Load the weights of a checkpoint; called by fairseq.

        Raises:
            CheckpointError: If they are of a model of another shape.
        """
        require_fit(self.pretrainer, {our_name(name): tensor for name, tensor in state_dict.items()}, strict=strict)
        return super().load_state_dict(state_dict, strict, model_cfg, args)

    def max_positions(self) -> tuple[int, int]:
        """Return no limits: crops have theirs."""
        return int(1e9), int(1e9)

    def forward(self, waveforms: Tensor, lengths: Tensor, keys: Tensor) -> Objective:
        """Draw masks, distractors and noise, and compute the terms of the loss.

        Args:
            waveforms: ``(N, T)``.
            lengths: ``(N,)``.
            keys: Seed and number of each item ``(N, 2)``; draws change with the update, but not those of validation.
        """
        update = self.num_updates if self.training else 0
        rows = [(seed, update, number) for seed, number in keys.tolist()]
        draws = self.pretrainer.draw(waveforms, lengths, rows)
        return self.pretrainer(waveforms, lengths, draws, num_updates=self.num_updates)


def encoder_config(cfg: Any) -> EncoderConfig:
    """Return the shape of the encoder that the options ask for; frames are masked as published unless they say otherwise.

    Raises:
        ConfigError: If the preset is unknown or the options contradict each other.
    """
    values = _given(cfg, "encoder_", EncoderConfig)
    if "conv_layers" in values:
        values["conv_layers"] = conv_layers_of(values["conv_layers"])
    masks = {"mask_time_prob": MASK_PROB, "mask_time_length": MASK_LENGTH}
    return dataclasses.replace(preset(cfg.preset).encoder, **masks | values)


def objective_config(cfg: Any, known: PretrainingConfig | None) -> PretrainingConfig:
    """Return the objective that the options ask for.

    Args:
        cfg: The options.
        known: That of a training that goes on; None for that of the preset.

    Raises:
        ConfigError: If an option is malformed or out of range; the message names it.
    """
    if cfg.preset not in PRETRAINING_PRESETS:
        raise ConfigError(
            f"no pre-training of the preset {shown(cfg.preset)}; choose from: {', '.join(PRETRAINING_PRESETS)}"
        )
    values = _given(cfg, "", PretrainingConfig)
    if "latent_temp" in values:
        values["latent_temp"] = parse_numbers("--latent-temp", values["latent_temp"])
    return dataclasses.replace(known or PRETRAINING_PRESETS[cfg.preset], **values)


def _given(cfg: Any, prefix: str, config: type) -> dict[str, Any]:
    found = {item.name: getattr(cfg, prefix + item.name, None) for item in options(config)}
    return {name: value for name, value in found.items() if value is not None}


def our_name(name: str) -> str:
    """Return our name of a parameter of fairseq's ``wav2vec2``."""
    return name if name in NAMES else f"encoder.{name}"


def _rename_out(module: Any, state: dict[str, Tensor], prefix: str, _metadata: Any) -> None:
    inside = prefix + _INSIDE
    own = {key.removeprefix(inside): state.pop(key) for key in list(state) if key.startswith(inside)}
    state.update({prefix + key.removeprefix("encoder."): value for key, value in own.items()})


def _rename_in(module: Any, state: dict[str, Tensor], prefix: str, *_rest: Any) -> None:
    own = {key.removeprefix(prefix): state.pop(key) for key in list(state) if key.startswith(prefix)}
    state.update({f"{prefix}{_INSIDE}{our_name(key)}": value for key, value in own.items()})


register_presets("speech_pretraining", PRETRAINING_PRESETS)
