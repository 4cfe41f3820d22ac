"""What the models of this project have in common behind fairseq's interface."""

import logging
from collections import Counter
from collections.abc import Mapping
from typing import Any

import torch
from fairseq.models import BaseFairseqModel
from torch import Tensor, nn

from st.checkpoints.assemble import listed
from st.errors import CheckpointError
from st.fairseq_plugin.distributed import any_process

logger = logging.getLogger(__name__)


class SpeechModel(BaseFairseqModel):
    """A model that knows how far training is and which of its parameters had a gradient."""

    origins: tuple[str, ...] = ()
    """Published models that it was started from, by name."""

    drops: torch.Generator | None = None
    """Draws layers to leave out, alike in all processes that weights are divided over."""
    whole_state: dict[str, Tensor] | None = None
    """The weights of all processes, while the first one saves them."""

    def __init__(self) -> None:
        super().__init__()
        self.num_updates = 0
        self._had_gradient: list[bool] = []

    def state_dict(self, *args: Any, **kwargs: Any) -> Any:
        """Return the weights; where they are divided, those of this process, unless all were put together."""
        return super().state_dict(*args, **kwargs) if self.whole_state is None else self.whole_state

    def log_parameters(self) -> None:
        """Log how many parameters learn, part by part."""
        learning: Counter[str] = Counter()
        for parameter in self.parameters():
            learning[getattr(parameter, "param_group", "")] += parameter.numel() if parameter.requires_grad else 0
        total = sum(parameter.numel() for parameter in self.parameters())
        parts = ", ".join(f"{part} {count:,}" for part, count in learning.items())
        logger.info("%s of %s parameters learn: %s", f"{learning.total():,}", f"{total:,}", parts)

    def set_num_updates(self, num_updates: int) -> None:
        """Note how far training is; fairseq calls this at every update and after loading a checkpoint."""
        super().set_num_updates(num_updates)
        self.num_updates = num_updates
        # fairseq seeds torch anew for each update, in all processes alike; from then on they draw apart.
        if self.drops is not None and self.drops.initial_seed() != torch.initial_seed():
            self.drops.manual_seed(torch.initial_seed())

    def note_gradients(self) -> None:
        """Note which parameters have a gradient after a backward pass, before processes exchange theirs."""
        self._had_gradient = [parameter.grad is not None for parameter in self.parameters()]

    def drop_resting_gradients(self) -> None:
        """Take the gradients of those parameters away that had none in any process.

        Several processes make zeros of what is missing; an optimizer would count, decay and later move by them.
        """
        parameters = list(self.parameters())
        for parameter, had in zip(parameters, any_process(self._had_gradient, parameters[0].device), strict=True):
            if not had:
                parameter.grad = None


def require_fit(model: nn.Module, state: Mapping[str, Tensor], *, strict: bool) -> None:
    """Compare the tensors of a checkpoint, under our names, with those of a model.

    Args:
        model: What is to take them.
        state: The tensors.
        strict: Whether names have to be the same, too.

    Raises:
        CheckpointError: If shapes or names differ; the message lists them.
    """
    here = dict(model.named_parameters())
    different = [
        f"{key} is {tuple(value.shape)} there and {tuple(here[key].shape)} here"
        for key, value in state.items()
        if key in here and here[key].shape != value.shape
    ]
    problems = [listed("different", different)]
    if strict:
        problems.append(listed("missing there", [key for key in here if key not in state]))
        problems.append(listed("unknown here", [key for key in state if key not in here]))
    if any(problems):
        raise CheckpointError(
            f"the checkpoint has another shape or vocabulary than this model: {'; '.join(filter(None, problems))}. "
            "Give the options and the data that it was trained with (st inspect CHECKPOINT shows its shape)"
        )
