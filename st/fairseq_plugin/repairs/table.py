"""All that is replaced in fairseq, torch and Python's library; the reasons are in ``docs/architecture-repairs.md``."""

from __future__ import annotations

from collections.abc import Callable

from st.fairseq_plugin.repairs import (
    best_score,
    checkpointing,
    clear_config,
    clear_start,
    fully_sharded,
    readers,
    save_dir,
    spawned,
    termination,
    torchrun,
    training_log,
)
from st.fairseq_plugin.repairs.replace import replace, train_modules

TRAINING, TORCHRUN, READING = (
    "training commands",
    "torchrun's groups of CPU processes",
    "processes that read recordings",
)
APPLIES: dict[str, Callable[[], bool]] = {
    "all": lambda: True,
    TRAINING: lambda: bool(train_modules()),
    TORCHRUN: torchrun.on_cpus,
    READING: readers.reads,
}
"""Whether this process is one of these."""

REPAIRS = (
    ("fairseq.dataclass.utils.merge_with_parent", clear_config.merge_with_parent, "all"),
    ("fairseq.tasks.merge_with_parent", clear_config.merge_with_parent, "all"),
    ("fairseq.models.merge_with_parent", clear_config.merge_with_parent, "all"),
    ("fairseq.registry.merge_with_parent", clear_config.merge_with_parent, "all"),
    ("fairseq.distributed.utils.call_main", clear_start.call_main, "all"),
    ("fairseq_cli.train.add_defaults", clear_start.add_defaults, TRAINING),
    ("fairseq.optim.build_optimizer", clear_start.build, "all"),
    ("fairseq.optim.lr_scheduler.build_lr_scheduler", clear_start.build, "all"),
    ("fairseq_cli.train.fsdp_enable_wrap", fully_sharded.enable_wrap, TRAINING),
    ("fairseq_cli.train.fsdp_wrap", fully_sharded.wrap, TRAINING),
    ("fairseq.trainer.Trainer.is_fsdp", fully_sharded.is_fsdp, "all"),
    ("fairseq.models.DistributedFairseqModel", fully_sharded.wrap_model, "all"),
    ("fairseq_cli.train.train", termination.train, TRAINING),
    ("fairseq_cli.train.validate_and_save", termination.validate_and_save, TRAINING),
    ("fairseq_cli.train.get_valid_stats", best_score.get_valid_stats, TRAINING),
    ("torch.multiprocessing.spawn", spawned.spawn, TRAINING),
    ("fairseq.checkpoint_utils.verify_checkpoint_directory", save_dir.require_writable, "all"),
    ("fairseq.checkpoint_utils.save_checkpoint", fully_sharded.save_checkpoint, "all"),
    ("fairseq.checkpoint_utils.torch_persistent_save", checkpointing.save, "all"),
    ("fairseq.file_io.PathManager.copy", checkpointing.copy_at_once, "all"),
    ("fairseq.checkpoint_utils.load_checkpoint", checkpointing.load, "all"),
    ("fairseq.checkpoint_utils.load_checkpoint_to_cpu", fully_sharded.read_checkpoint, "all"),
    ("fairseq.logging.progress_bar.progress_bar", training_log.make_progress_bar, "all"),
    ("fairseq.distributed.utils.infer_init_method", torchrun.infer_init_method, TORCHRUN),
    ("fairseq.distributed.utils.all_gather_list", torchrun.all_gather_list, TORCHRUN),
    ("multiprocessing.queues.Queue._on_queue_feeder_error", readers.end_without_room, READING),
)
"""What is replaced, by what, and in which processes; why, and what happens without it, says the page."""


def install() -> None:
    """Replace what applies in this process; calling it again replaces what has come to apply."""
    for what, by, when in REPAIRS:
        if APPLIES[when]():
            replace(what, by)
