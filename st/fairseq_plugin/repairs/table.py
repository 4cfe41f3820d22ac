"""All that is replaced in fairseq, torch and Python's library: what, by what, why, and what happens without it."""

from __future__ import annotations

from collections.abc import Callable

from st.fairseq_plugin.repairs import (
    best_score,
    checkpointing,
    clear_config,
    clear_start,
    readers,
    save_dir,
    spawned,
    termination,
    torchrun,
    training_log,
)
from st.fairseq_plugin.repairs.replace import Repair, replace, train_modules

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
    *(
        Repair(
            what=f"{module}.merge_with_parent",
            by=clear_config.merge_with_parent,
            why="an option of this project that is unknown, open or of another type is named in one sentence",
            without="a stack trace; an open option quietly takes its default",
        )
        for module in ("fairseq.dataclass.utils", "fairseq.tasks", "fairseq.models", "fairseq.registry")
    ),
    Repair(
        what="fairseq.distributed.utils.call_main",
        by=clear_start.call_main,
        why="`--cpu` means one process, and commands that cannot work with sound say so",
        without="one CPU process for each GPU; stack traces from `fairseq-interactive` and `--fp16`",
    ),
    Repair(
        what="fairseq_cli.train.add_defaults",
        by=clear_start.add_defaults,
        why="options that this task cannot honour are refused before the model is built",
        without="options without effect (`--amp`), worse training (`--bf16`), stack traces after minutes",
        when=TRAINING,
    ),
    *(
        Repair(
            what=what,
            by=clear_start.build,
            why="options of a schedule or an optimizer that contradict each other end in one sentence",
            without="an assertion's stack trace",
        )
        for what in ("fairseq.optim.build_optimizer", "fairseq.optim.lr_scheduler.build_lr_scheduler")
    ),
    Repair(
        what="fairseq_cli.train.train",
        by=termination.train,
        why="SIGTERM saves and ends with 143; nothing is learnt after `--max-update` or `--patience`",
        without="SIGTERM loses all since the last checkpoint; a finished training that is started again makes updates",
        when=TRAINING,
    ),
    Repair(
        what="fairseq_cli.train.validate_and_save",
        by=termination.validate_and_save,
        why="the one place between two updates at which all processes can agree to leave",
        without="no way to end between two updates",
        when=TRAINING,
    ),
    Repair(
        what="fairseq_cli.train.get_valid_stats",
        by=best_score.get_valid_stats,
        why="a metric that is not logged is named, and is looked for in the first validation subset only",
        without="`KeyError` at the end of the first epoch, or at the second subset",
        when=TRAINING,
    ),
    Repair(
        what="torch.multiprocessing.spawn",
        by=spawned.spawn,
        why="SIGTERM reaches the processes of a training, one for each GPU, and is waited for",
        without="the command ends and leaves them training",
        when=TRAINING,
    ),
    Repair(
        what="fairseq.checkpoint_utils.verify_checkpoint_directory",
        by=save_dir.require_writable,
        why="a folder that cannot be written to ends the training with a sentence",
        without="a stack trace",
    ),
    Repair(
        what="fairseq.checkpoint_utils.torch_persistent_save",
        by=checkpointing.save,
        why="a checkpoint is written under a temporary name, then renamed",
        without="half a file, if the disk is full or the process is killed",
    ),
    Repair(
        what="fairseq.file_io.PathManager.copy",
        by=checkpointing.copy_at_once,
        why="`checkpoint_last.pt` and `checkpoint_best.pt` change over in one step",
        without="killed meanwhile, the old one is gone and the new one half there",
    ),
    Repair(
        what="fairseq.checkpoint_utils.load_checkpoint",
        by=checkpointing.load,
        why="training goes on from a checkpoint that can be read and is of this model, at its update, in all processes",
        without="training quietly begins at update 0, or stops as torch refuses what one process sends the others",
    ),
    Repair(
        what="fairseq.logging.progress_bar.progress_bar",
        by=training_log.make_progress_bar,
        why="statistics also go to `log.jsonl`, which `st plot` draws",
        without="they have to be cut out of fairseq's output",
    ),
    Repair(
        what="fairseq.distributed.utils.infer_init_method",
        by=torchrun.infer_init_method,
        why="fairseq takes rank and size from torchrun only where it counts GPUs",
        without="a division by zero, or each process trains by itself on the same files",
        when=TORCHRUN,
    ),
    Repair(
        what="fairseq.distributed.utils.all_gather_list",
        by=torchrun.all_gather_list,
        why="what `fairseq-validate` has counted is gathered by way of a GPU",
        without="a stack trace",
        when=TORCHRUN,
    ),
    Repair(
        what="multiprocessing.queues.Queue._on_queue_feeder_error",
        by=readers.end_without_room,
        why="a reading process ends if a batch cannot be handed over, and the training says why",
        without="Python prints the error and drops the batch, for which the training waits without end",
        when=READING,
    ),
)


def install() -> None:
    """Replace what applies in this process; calling it again replaces what has come to apply."""
    for repair in REPAIRS:
        if APPLIES[repair.when]():
            replace(repair.what, repair.by)
