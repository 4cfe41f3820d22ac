"""Give ``--ddp-backend fully_sharded`` torch's own FSDP: fairseq asks fairscale for it, which nobody maintains.

fairseq's trainer is told that it has no FSDP of its own kind, so that it goes the way of all other wrappers: the model is
wrapped, only the first process saves, each reads. What that way lacks is here. The division itself, and what does not go
with it, is in :mod:`st.fairseq_plugin.sharding`.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

from fairseq import checkpoint_utils
from fairseq.distributed import DistributedTimeoutWrapper
from omegaconf import OmegaConf

from st.checkpoints.door import read_pickled
from st.fairseq_plugin.sharding import BACKEND, is_sharded, shard, whole


def is_fsdp(_original: Callable[[Any], bool], _trainer: Any) -> bool:
    """Deny fairscale's FSDP."""
    return False


def enable_wrap(_original: Callable[..., Any], _cfg: Any) -> AbstractContextManager[None]:
    """Build a model as for any other backend."""
    return nullcontext()


def wrap(_original: Callable[..., Any], module: Any, *_args: Any, **_options: Any) -> Any:
    """Leave a model as it is; the trainer divides it, who knows the device."""
    return module


def wrap_model(original: Callable[..., Any], args: Any, model: Any, process_group: Any, device: Any) -> Any:
    """Divide a model over the processes, if that is what was asked for."""
    if args.ddp_backend != BACKEND:
        return original(args, model, process_group, device)
    model = shard(model, process_group, device, reshard_after_forward=not args.no_reshard_after_forward)
    if args.heartbeat_timeout > 0:
        return DistributedTimeoutWrapper(model, timeout=args.heartbeat_timeout)
    return model


def save_checkpoint(original: Callable[..., Any], cfg: Any, trainer: Any, epoch_itr: Any, val_loss: Any) -> Any:
    """Put together what is divided before the first process saves; all processes come here."""
    model, optimizer = trainer.get_model(), trainer.optimizer
    if cfg.no_save or not is_sharded(model):
        return original(cfg, trainer, epoch_itr, val_loss)
    model.whole_state = whole(model.state_dict())
    if not cfg.no_save_optimizer_state:
        optimizer.whole_state = whole(optimizer.state_dict())
    try:
        return original(cfg, trainer, epoch_itr, val_loss)
    finally:
        model.whole_state = optimizer.whole_state = None


def read_checkpoint(
    original: Callable[..., Any], path: str, arg_overrides: Any = None, load_on_all_ranks: bool = False
) -> Any:
    """Map a checkpoint that all processes of a training read, so that not each of them holds all of it."""
    if not load_on_all_ranks or arg_overrides is not None:
        return original(path, arg_overrides, load_on_all_ranks)
    state = read_pickled(path, verify=False)
    state["cfg"] = OmegaConf.create(state["cfg"], flags={"allow_objects": True})
    return checkpoint_utils._upgrade_state_dict(state)
