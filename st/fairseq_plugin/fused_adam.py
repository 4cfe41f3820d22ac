"""fairseq optimizer ``fused_adamw``: torch's fused AdamW, one kernel over all parameters, on CPU as on CUDA.

fairseq's own ``adam`` computes the same update tensor by tensor, which on a small model costs a sixth of a step.

Beyond it: parts of the model may have learning rates of their own (``--lr-scale``), and an update whose gradient is
infinite or not a number is left out, where fairseq stops.
"""

import logging
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Optional

import torch
from fairseq.dataclass import FairseqDataclass
from fairseq.optim import FairseqOptimizer, register_optimizer
from omegaconf import II
from torch import Tensor

from st.errors import CheckpointError, ConfigError, StError
from st.fairseq_plugin.options import parse_named_numbers
from st.fairseq_plugin.repairs.clear_errors import clear_errors
from st.fairseq_plugin.sharding import divide, local, total_norm
from st.options import option

logger = logging.getLogger(__name__)

PARTS = ("encoder", "length_adaptor", "decoder", "ctc")
"""What ``--lr-scale`` can name, beside other heads; each parameter says in ``param_group`` which it belongs to."""
FORMER_PARTS = {"adaptor": "length_adaptor"}
"""Names of parts in earlier versions."""


@dataclass
class FusedAdamWConfig(FairseqDataclass):
    """Options of the optimizer; the names are those of fairseq's adam."""

    adam_betas: str = option("(0.9, 0.98)", "decay of the two moments, as (b1, b2)")
    adam_eps: float = option(1e-8, "added to the root of the second moment")
    weight_decay: float = option(0.0, "decoupled weight decay")
    lr_scale: Optional[str] = option(None, f"learning rates of parts relative to --lr, as encoder=0.1,ctc=2: {PARTS}")
    max_nonfinite_updates: int = option(10, "stop after so many updates in a row without a finite gradient")
    lr: Any = II("optimization.lr")


def parse_betas(text: str) -> tuple[float, float]:
    """Parse ``"(0.9, 0.98)"``.

    Raises:
        ConfigError: If it is not two numbers in [0, 1).
    """
    try:
        first, second = (float(part) for part in text.strip("()[] ").split(","))
    except ValueError:
        first = second = -1.0
    if not (0 <= first < 1 and 0 <= second < 1):
        raise ConfigError(f"--adam-betas is {text!r}; expected two numbers in [0, 1) such as (0.9, 0.98)")
    return first, second


def parse_scales(text: str | None, heads: Iterable[str] = ()) -> dict[str, float]:
    """Parse ``"encoder=0.1,ctc=2"``; ``heads`` are parts beside :data:`PARTS`.

    Raises:
        ConfigError: If a part is unknown or named twice, or a scale is not a positive number.
    """
    known = dict.fromkeys((*PARTS, *heads, *FORMER_PARTS))
    hint = " (--freeze keeps parameters as they are)"
    scales = parse_named_numbers("--lr-scale", text, known, zero=False, hint=hint)
    named = {FORMER_PARTS.get(part, part): scale for part, scale in scales.items()}
    if len(named) < len(scales):
        raise ConfigError(f"--lr-scale: {text!r} names a part by its name and by its former one; leave one of them out")
    return named


def _part(parameter: Tensor) -> str:
    return str(getattr(parameter, "param_group", ""))


@register_optimizer("fused_adamw", dataclass=FusedAdamWConfig)
class FusedAdamW(FairseqOptimizer):
    """torch.optim.AdamW with ``fused=True``, a group of parameters for each learning rate."""

    @clear_errors
    def __init__(self, cfg: Any, params: Any) -> None:
        super().__init__(cfg)
        if cfg.max_nonfinite_updates < 1:
            raise ConfigError(f"--max-nonfinite-updates is {cfg.max_nonfinite_updates}; expected 1 or more")
        parameters = list(params)
        scales = parse_scales(cfg.lr_scale, dict.fromkeys(filter(None, map(_part, parameters))))
        by_scale: dict[float, list[int]] = {}
        for number, parameter in enumerate(parameters):
            scale = scales.get(_part(parameter), 1.0)
            by_scale.setdefault(scale, []).append(number)
        self._order = [number for numbers in by_scale.values() for number in numbers]
        groups = [
            {"params": [parameters[number] for number in numbers], "lr_scale": scale}
            for scale, numbers in by_scale.items()
        ]
        self._optimizer = torch.optim.AdamW(groups, **self.optimizer_config, fused=True)
        self.set_lr(self.optimizer_config["lr"])
        self._finite = True
        self._failures = 0
        self.whole_state: dict[str, Any] | None = None
        """The state of all processes, while the first one saves it."""

    @property
    def optimizer_config(self) -> dict[str, Any]:
        """Keyword arguments that override those of a loaded state."""
        learning_rate = self.cfg.lr[0] if not isinstance(self.cfg.lr, (int, float)) else self.cfg.lr
        return {
            "lr": learning_rate,
            "betas": parse_betas(self.cfg.adam_betas),
            "eps": self.cfg.adam_eps,
            "weight_decay": self.cfg.weight_decay,
        }

    # -- learning rates -----------------------------------------------------------------------------------------

    def get_lr(self) -> float:
        """Return the learning rate of parts without a scale of their own."""
        group = self.param_groups[0]
        return float(group["lr"] / group["lr_scale"])

    def set_lr(self, lr: float) -> None:
        """Set the learning rate; schedulers call this."""
        for group in self.param_groups:
            group["lr"] = lr * group["lr_scale"]

    # -- checkpoints: one group, in the order of the model, so that --lr-scale may change between two runs ---------

    def state_dict(self) -> dict[str, Any]:
        """Return the state as one of an optimizer with a single group; where moments are divided, as the model's weights."""
        if self.whole_state is not None:
            return self.whole_state
        state = self.optimizer.state_dict()
        moments = {self._order[place]: moments for place, moments in state["state"].items()}
        group = {key: value for key, value in state["param_groups"][0].items() if key != "lr_scale"}
        group |= {"lr": self.get_lr(), "params": list(range(len(self._order)))}
        return {"state": dict(sorted(moments.items())), "param_groups": [group]}

    @clear_errors
    def load_state_dict(self, state_dict: dict[str, Any], optimizer_overrides: dict[str, Any] | None = None) -> None:
        """Load a state and its learning rate, which most schedulers then set anew; other options stay those of this run.

        Raises:
            CheckpointError: If it is of a model with other learning parameters.
        """
        size = sum(len(group["params"]) for group in state_dict["param_groups"])
        if size != len(self._order):
            raise CheckpointError(
                f"the checkpoint's optimizer has {size} parameters that learn, this run {len(self._order)}: what is "
                "frozen has changed; keep --freeze and --freeze-encoder as they were, or add --reset-optimizer"
            )
        places = {number: place for place, number in enumerate(self._order)}
        parameters = list(self.params)
        moments = {
            places[number]: {name: divide(value, parameters[places[number]]) for name, value in moments.items()}
            for number, moments in state_dict["state"].items()
        }
        groups = self.optimizer.state_dict()["param_groups"]
        for group in groups:
            group["lr"] = state_dict["param_groups"][0]["lr"] * group["lr_scale"]
        super().load_state_dict({"state": moments, "param_groups": groups}, optimizer_overrides)

    # -- updates without a finite gradient ------------------------------------------------------------------------

    @clear_errors
    def clip_grad_norm(self, max_norm: float, aggregate_norm_fn: Any = None) -> Tensor:
        """Clip gradients; where their norm is infinite or not a number, drop them and the coming update.

        The norm is the same in all processes, so that all leave out the same update.

        Returns:
            The norm before clipping; 0 if the update is left out.

        Raises:
            StError: If too many updates in a row were left out.
        """
        # torch's own: fairseq's takes the norm to the GPU, if there is one, although --cpu was asked for.
        learning = [parameter for parameter in self.params if parameter.grad is not None]
        norm = total_norm(parameter.grad for parameter in learning)
        if aggregate_norm_fn is not None:
            norm = aggregate_norm_fn(norm)
        if max_norm > 0:
            torch.nn.utils.clip_grads_with_norm_(learning, max_norm, norm)
        self._finite = bool(torch.isfinite(norm).all())
        if self._finite:
            self._failures = 0
            return norm
        self._failures += 1
        logger.warning("gradient norm is %s: update left out (%d in a row)", float(norm), self._failures)
        if self._failures >= self.cfg.max_nonfinite_updates:
            raise StError(
                f"no finite gradient in {self._failures} updates in a row (--max-nonfinite-updates); the samples are "
                "in the log above; lower --lr, or start again from an earlier checkpoint"
            )
        for parameter in self.params:
            parameter.grad = None
        return torch.zeros_like(norm)

    def multiply_grads(self, c: Any) -> None:
        """Multiply all gradients by a number; called by fairseq."""
        gradients = [local(parameter.grad) for parameter in self.params if parameter.grad is not None]
        if gradients:
            torch._foreach_mul_(gradients, c.to(gradients[0].device) if torch.is_tensor(c) else c)

    def step(self, closure: Any = None, scale: float = 1.0, groups: Any = None) -> None:
        """Make the update, unless it was dropped."""
        if self._finite:
            super().step(closure, scale, groups)
        self._finite = True
