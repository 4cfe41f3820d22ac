"""Settings of the contrastive objective of wav2vec 2.0, those of the published models among them.

Numbers are those of fairseq's recipes (examples/wav2vec/config/pretraining) and, for XLS-R, those that give the published
numbers of parameters: 317M, 965M and 2,162M.
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import Any

from st.doors.shown import shown
from st.errors import ConfigError
from st.modules.encoder_config import EncoderConfig
from st.options import option

MASK_PROB, MASK_LENGTH = 0.65, 10
"""Share of frames that masked spans would cover if none overlapped, and frames of a span; about half is masked."""
LEAST_TARGETS = 2
"""Masked frames that an utterance needs: one to tell from the other."""
_MAX_SIZE = 1 << 20
_SIZES = ("latent_groups", "latent_vars", "final_dim", "num_negatives")


@dataclass(kw_only=True, slots=True, frozen=True)
class PretrainingConfig:
    """Quantizer, projections and distractors. Names are fairseq's."""

    latent_groups: int = option(2, "codebooks of the quantizer; a code has one entry of each")
    latent_vars: int = option(320, "entries of each codebook")
    latent_dim: int = option(0, "width of a code, all groups together; 0: that of --final-dim")
    final_dim: int = option(256, "width in which predictions and targets are compared")
    latent_temp: tuple[float, ...] = option(
        (2.0, 0.1, 0.999995),
        "temperature of the Gumbel softmax: at the start, at the end, and its factor at every update, as 2,0.1,0.999995",
    )
    num_negatives: int = option(100, "distractors of each masked frame, of the same utterance")
    logit_temp: float = option(0.1, "what cosine similarities are divided by")
    dropout_features: float = option(0.0, "dropout of what is quantised")

    def __post_init__(self) -> None:
        """Check the values, which a file from elsewhere may have given.

        Raises:
            ConfigError: If one is malformed or out of range; the message names it.
        """
        for name in (*_SIZES, *(["latent_dim"] if self.latent_dim != 0 else [])):
            value = getattr(self, name)
            _require(type(value) is int and 0 < value <= _MAX_SIZE, name, value, f"a number from 1 to {_MAX_SIZE:,}")
        _require(
            self.code_dim % self.latent_groups == 0, "latent_groups", self.latent_groups, f"to divide {self.code_dim}"
        )
        temperatures = self.latent_temp
        numbers = isinstance(temperatures, tuple) and all(type(number) in (int, float) for number in temperatures)
        fits = numbers and len(temperatures) == 3 and 0 < temperatures[1] <= temperatures[0] < math.inf
        expected = "three numbers: start, end of at most that and above 0, factor above 0 and at most 1"
        _require(fits and 0 < temperatures[2] <= 1, "latent_temp", temperatures, expected)
        _require(_is_number(self.logit_temp) and self.logit_temp > 0, "logit_temp", self.logit_temp, "a number above 0")
        dropout = self.dropout_features
        _require(_is_number(dropout) and 0 <= dropout < 1, "dropout_features", dropout, "a number from 0 up to 1")

    @property
    def code_dim(self) -> int:
        """Width of a code, all groups together."""
        return self.latent_dim or self.final_dim

    @property
    def num_entries(self) -> int:
        """Entries of all codebooks together."""
        return self.latent_groups * self.latent_vars

    def temperature(self, num_updates: int) -> float:
        """Return the temperature of the Gumbel softmax after so many updates."""
        start, end, factor = self.latent_temp
        return float(max(start * factor**num_updates, end))

    def going_on_at(self, temperature: float) -> PretrainingConfig:
        """Return the same with a schedule that begins at a temperature, where another training left off."""
        _, end, factor = self.latent_temp
        return dataclasses.replace(self, latent_temp=(max(temperature, end), end, factor))

    def to_dict(self) -> dict[str, Any]:
        """Return plain lists and numbers, for JSON or YAML."""
        return dataclasses.asdict(self) | {"latent_temp": list(self.latent_temp)}

    @classmethod
    def from_dict(cls, values: Any) -> PretrainingConfig:
        """Build from :meth:`to_dict`'s form.

        Raises:
            ConfigError: If a key is unknown or a value is none; the message names it.
        """
        known = {field.name for field in dataclasses.fields(cls)}
        if not isinstance(values, dict) or set(values) - known:
            raise ConfigError(
                f"pre-training options are {shown(values)}; expected a table of {', '.join(sorted(known))}"
            )
        temperatures = values.get("latent_temp")
        fixed = {"latent_temp": tuple(temperatures)} if isinstance(temperatures, list | tuple) else {}
        return cls(**values | fixed)


def _is_number(value: object) -> bool:
    return type(value) in (int, float) and math.isfinite(value)  # type: ignore[arg-type]


def _require(condition: bool, name: str, value: object, expected: str) -> None:
    if not condition:
        raise ConfigError(f"`{name}` is {shown(value)}; expected {expected}")


def check_encoder(encoder: EncoderConfig) -> None:
    """Refuse an encoder whose settings make no task of pre-training.

    Raises:
        ConfigError: If it masks no frames, or masks channels, which would hide what is to be predicted: a spectrogram's
            bands are masked before the convolutions, and so in the targets, too; or one that joins frames.
    """
    if encoder.mask_time_prob <= 0:
        raise ConfigError("`mask_time_prob` of the encoder is 0: nothing is masked, and nothing is to be predicted")
    if encoder.mask_channel_prob:
        raise ConfigError(
            f"`mask_channel_prob` of the encoder is {encoder.mask_channel_prob:g}; pre-training masks frames alone, leave it at 0"
        )
    if encoder.pooling_layers or encoder.mel_stack:
        raise ConfigError(
            f"`pooling_layers` of the encoder is {encoder.pooling_layers} and `mel_stack` {encoder.mel_stack}; the pre-training of "
            "w2v-BERT 2.0 is another one: start it from an encoder of another kind"
        )


PRETRAINING_PRESETS: dict[str, PretrainingConfig] = {
    "tiny": PretrainingConfig(latent_vars=64, final_dim=64),
    "small": PretrainingConfig(latent_vars=128, final_dim=128, latent_temp=(2.0, 0.5, 0.9995)),
    "300m": PretrainingConfig(final_dim=768),
    "1b": PretrainingConfig(final_dim=1024),
    "2b": PretrainingConfig(final_dim=1024),
}
"""Objectives by the names of encoders in :data:`st.modules.presets.PRESETS`; those that are not here were trained to others."""
