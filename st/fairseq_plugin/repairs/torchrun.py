"""Let fairseq's commands join a group of CPU processes that torchrun started.

fairseq takes rank and size from torchrun's environment only where it counts GPUs, which without one is a division by
zero, or, when ``--distributed-world-size`` is left alone, each process training by itself on the same files. What
``fairseq-validate`` has counted it gathers by way of a GPU.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import Any

import torch
from fairseq.distributed import utils


def on_cpus(environment: Mapping[str, str] = os.environ) -> bool:
    """Return whether torchrun started this process, together with others, on a machine without GPUs."""
    return not torch.cuda.is_available() and int(environment.get("WORLD_SIZE", "1")) > 1 and "RANK" in environment


def infer_init_method(_original: Callable[..., None], cfg: Any, force_distributed: bool = False) -> None:
    """Take the group from the environment."""
    cfg.distributed_init_method = "env://"
    cfg.distributed_world_size = int(os.environ["WORLD_SIZE"])
    cfg.distributed_rank = int(os.environ["RANK"])
    cfg.distributed_num_procs = 1
    cfg.distributed_no_spawn = True
    cfg.distributed_backend = "gloo"
    cfg.device_id = 0


def all_gather_list(_original: Callable[..., Any], data: Any, group: Any = None, max_size: int = 0) -> list[Any]:
    """Gather what the processes of a group have, without a GPU."""
    found: list[Any] = [None] * utils.get_world_size(group or utils.get_global_group())
    torch.distributed.all_gather_object(found, data, group)
    return found
