"""Options under which nothing learns, said before torch's backward pass fails."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from st.errors import ConfigError
from st.fairseq_plugin.distributed import unwrapped


def refuse_nothing_to_learn(loss: Tensor, model: Any, criterion: Any) -> None:
    """Refuse a loss that depends on no parameter which may change.

    Args:
        loss: Of a batch of training.
        model: As the trainer has it, wrapped or not.
        criterion: Its weights tell which heads are used.

    Raises:
        ConfigError: The message names the options that bring it about.
    """
    if loss.requires_grad:
        return
    inner = unwrapped(model)
    reasons = {
        "--freeze-encoder": inner.frozen,
        f"--freeze {inner.freeze}": bool(inner.freeze),
        f"--freeze-finetune-updates {inner.freeze_finetune_updates}": inner.encoder_rests,
        "--translation-weight 0": criterion.translation_weight == 0,
        **dict.fromkeys(criterion.resting_heads.values(), True),
    }
    found = [name for name, holds in reasons.items() if holds]
    raise ConfigError(
        f"with {', '.join(found)} nothing learns: the loss depends on no parameter that may change; leave one of them out"
    )
