"""Start a pre-training from what was trained before: a pre-training that goes on, or an encoder that gets a new quantizer."""

from __future__ import annotations

import dataclasses
import logging
from pathlib import Path

import torch

from st.checkpoints.assemble import check_names, require_finite
from st.checkpoints.contents import Contents
from st.checkpoints.loading import read_contents, resolve
from st.checkpoints.origins import origin_name, origins_of
from st.checkpoints.start.behaviour import BEHAVIOUR
from st.errors import CheckpointError
from st.kernels.mapped_memory import give_back
from st.modules.encoder_config import EncoderConfig
from st.modules.pretraining.config import PretrainingConfig
from st.modules.pretraining.model import SpeechPretrainer

logger = logging.getLogger(__name__)


@dataclasses.dataclass
class PretrainingStart:
    """A checkpoint that a pre-training begins with."""

    contents: Contents
    name: str

    @classmethod
    def read(cls, source: Path | str) -> PretrainingStart:
        """Read anything that :func:`st.load` opens and that has a speech encoder.

        Raises:
            CheckpointError: If it has none.
        """
        path, name = resolve(source)
        contents = read_contents(path)
        if "encoder" not in contents.config.parts:
            raise CheckpointError(f"{name}: a {contents.format} file has no encoder that could be trained on")
        return cls(contents, name)

    @property
    def config(self) -> PretrainingConfig | None:
        """Settings of its objective, whose temperature goes on where it stands; None if it has no objective."""
        found = self.contents.objective
        return None if found is None else found.config.going_on_at(found.temperature)

    @property
    def origins(self) -> tuple[str, ...]:
        """Names of what its weights come from, see :mod:`st.checkpoints.origins`."""
        found = origins_of(self.contents, self.name)
        return (origin_name(self.name),) if found is None else found

    def fill(self, model: SpeechPretrainer) -> None:
        """Copy its weights into a model; without an objective, the model's own stays as it is, which is said.

        Raises:
            CheckpointError: If a tensor is missing, unexpected, of another shape, or not finite, or the encoder would be
                another function; the model is unchanged then.
        """
        self._require_same_function(model.encoder.config)
        objective = self.contents.objective
        state = {name: tensor for name, tensor in self.contents.state.items() if name.startswith("encoder.")}
        parameters = dict(model.named_parameters())
        if objective is not None:
            state |= objective.state
        else:
            parameters = {name: parameter for name, parameter in parameters.items() if name.startswith("encoder.")}
        check_names(parameters, state, source=self.name, label=self.contents.keymap.theirs)
        require_finite(state, source=self.name, label=self.contents.keymap.theirs)
        with torch.no_grad():
            for name, parameter in parameters.items():
                parameter.copy_(state[name])
                if self.contents.mapped:
                    give_back(state[name])
        self._say(len(state))

    def _require_same_function(self, mine: EncoderConfig) -> None:
        theirs = self.contents.config.encoder
        wrong = [
            f"{field} is {getattr(theirs, field)}, expected {getattr(mine, field)}"
            for field in BEHAVIOUR["encoder"]
            if getattr(theirs, field) != getattr(mine, field)
        ]
        if wrong:
            raise CheckpointError(f"{self.name}: does not fit the model's encoder: {'; '.join(wrong)}")

    def _say(self, tensors: int) -> None:
        if self.contents.objective is None:
            logger.warning(
                "%s: %s, %d tensors; it has no quantizer, so that a fresh one begins: targets are learned anew",
                self.name,
                self.contents.format,
                tensors,
            )
            return
        logger.info(
            "%s: %s, %d tensors with the quantizer; the temperature goes on at %.4g",
            self.name,
            self.contents.format,
            tensors,
            self.contents.objective.temperature,
        )
