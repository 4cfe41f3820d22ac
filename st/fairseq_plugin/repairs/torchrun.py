"""Let fairseq's commands join a group of CPU processes that torchrun started.

fairseq takes rank and size from torchrun's environment only where it counts GPUs, which without one is a division by
zero, or, when ``--distributed-world-size`` is left alone, each process training by itself on the same files. What
``fairseq-validate`` has counted it gathers by way of a GPU.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from typing import Any

import torch

logger = logging.getLogger(__name__)


def join_torchrun(environment: Mapping[str, str] = os.environ) -> bool:
    """Make fairseq use torchrun's group; does nothing with CUDA or outside torchrun.

    Returns:
        Whether fairseq was changed.
    """
    if torch.cuda.is_available() or int(environment.get("WORLD_SIZE", "1")) < 2 or "RANK" not in environment:
        return False
    from fairseq.distributed import utils

    def infer_init_method(cfg: Any, force_distributed: bool = False) -> None:
        cfg.distributed_init_method = "env://"
        cfg.distributed_world_size = int(environment["WORLD_SIZE"])
        cfg.distributed_rank = int(environment["RANK"])
        cfg.distributed_num_procs = 1
        cfg.distributed_no_spawn = True
        cfg.distributed_backend = "gloo"
        cfg.device_id = 0

    def all_gather_list(data: Any, group: Any = None, max_size: int = 0) -> list[Any]:
        found: list[Any] = [None] * utils.get_world_size(group or utils.get_global_group())
        torch.distributed.all_gather_object(found, data, group)
        return found

    utils.infer_init_method = infer_init_method
    utils.all_gather_list = all_gather_list
    return True
