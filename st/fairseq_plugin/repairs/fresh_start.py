"""Forget what the last training of this process left behind, as in a sweep of ``fairseq-hydra-train --multirun``.

fairseq keeps the best score and the count of ``--patience`` on functions, and the writers of TensorBoard by name alone:
the next training would compare itself with another one's best, and write into its folder.
"""

from __future__ import annotations

from fairseq.logging import progress_bar

from st.fairseq_plugin.repairs import best_score, save_dir, training_log


def forget_last_training() -> None:
    """Begin anew; to be called before a checkpoint is read, which brings back what belongs to this training."""
    best_score.forget()
    training_log.LOG.close()
    save_dir.release()
    writers = getattr(progress_bar, "_tensorboard_writers", None) or {}
    for writer in writers.values():
        writer.close()
    writers.clear()
