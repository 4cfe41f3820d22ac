"""What the tasks of this project have in common: audio of prepared trees in batches, bfloat16, exact resume, clear errors."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from fairseq.data import data_utils
from fairseq.dataclass import ChoiceEnum, FairseqDataclass
from fairseq.tasks import FairseqTask

from st.data.epoch_plan import NO_LIMIT
from st.errors import CheckpointError
from st.fairseq_plugin.data.dataset import FairseqTranslationDataset
from st.fairseq_plugin.data.iterator import IGNORED, EpochIterator
from st.fairseq_plugin.distributed import agree_on_products
from st.fairseq_plugin.nonfinite import zeros_like_log
from st.fairseq_plugin.repairs import best_score, numerics, termination, training_log
from st.fairseq_plugin.repairs.clear_errors import clear_errors
from st.fairseq_plugin.repairs.table import install
from st.fairseq_plugin.sharding import exhaustion_ends_training, is_sharded
from st.kernels.settings import bfloat16_is_fast, tune
from st.modules.config import ModelConfig
from st.options import option


@dataclass
class SpeechTaskConfig(FairseqDataclass):
    """Options of every task."""

    cache_audio: bool = option(
        False, "keep decoded audio in memory (16-bit: 115 MB an hour); the training set's with --num-workers 0 only"
    )
    precision: ChoiceEnum(["fp32", "bf16", "auto"]) = option(  # type: ignore[valid-type]
        "fp32", "bf16: autocast, with fp32 weights and reductions; auto: bf16 where the hardware multiplies it"
    )
    threads: int = option(0, "CPU threads of each process; 0 leaves torch's choice")
    jsonl_log: str = option(
        training_log.DEFAULT, "log of JSON objects, one a line, in --save-dir unless given with its folder; or none"
    )


class SpeechTask(FairseqTask):
    """Training on the audio of prepared trees."""

    def __init__(self, cfg: Any) -> None:
        super().__init__(cfg)
        tune(cfg.threads or None)
        agree_on_products()
        self._model_config: ModelConfig | None = None
        """Shape of the model that was built last."""
        self._trained_config: ModelConfig | None = None
        """Of the checkpoint whose task state was loaded, if it says."""
        self._origins: tuple[str, ...] | None = None
        self._min_samples = 1
        self._checked = False
        training_log.LOG.name = cfg.jsonl_log

    @classmethod
    @clear_errors
    def setup_task(cls, cfg: Any, **kwargs: Any) -> "SpeechTask":
        """Make the task; called by fairseq, whose training command may have been imported after this plugin."""
        install()
        return cls(cfg)

    # -- data ---------------------------------------------------------------------------------------------------

    @clear_errors
    def get_batch_iterator(
        self,
        dataset: FairseqTranslationDataset,
        max_tokens: int | None = None,
        max_sentences: int | None = None,
        max_positions: tuple[float, float] | None = None,
        ignore_invalid_inputs: bool = False,
        required_batch_size_multiple: int = 1,
        seed: int = 1,
        num_shards: int = 1,
        shard_id: int = 0,
        num_workers: int = 0,
        epoch: int = 1,
        data_buffer_size: int = 0,
        disable_iterator_cache: bool = False,
        skip_remainder_batch: bool = False,
        grouped_shuffling: bool = False,
        update_epoch_batch_itr: bool = False,
    ) -> EpochIterator:
        """Return the batches of an epoch; called by fairseq."""
        known: dict[Any, EpochIterator] = self.dataset_to_epoch_iter
        if dataset in known and not disable_iterator_cache:
            return known[dataset]
        longest, _ = self.max_positions()
        shortest = self._min_samples
        if dataset.shuffle and num_workers:
            dataset.forget_audio()
        if dataset.shuffle:
            dataset.dataset.begin_epoch(seed, epoch, min(longest, max_tokens or NO_LIMIT), shortest)
        with data_utils.numpy_seed(seed + epoch):
            indices = dataset.ordered_indices()
        if max_positions is not None:
            indices = dataset.within_limits(
                indices, longest, max_positions[1], leave_out=ignore_invalid_inputs, min_samples=shortest
            )
        batches = dataset.batch_by_size(indices, max_tokens, max_sentences)
        if dataset.shuffle:
            dataset.describe_epoch(batches, epoch)
        iterator = EpochIterator(
            dataset,
            batches,
            seed=seed,
            epoch=epoch,
            num_shards=num_shards,
            shard_id=shard_id,
            num_workers=num_workers,
            buffer_size=data_buffer_size,
            group_size=num_shards if grouped_shuffling else 1,
            skip_remainder=skip_remainder_batch,
        )
        if dataset.can_reuse_epoch_itr_across_epochs:
            known[dataset] = iterator
        return iterator

    # -- checkpoints --------------------------------------------------------------------------------------------

    @clear_errors
    def require_same_function(self) -> None:
        """Compare what the shapes of tensors do not show: the model built last with the task state loaded last.

        Raises:
            CheckpointError: If a checkpoint was trained with other settings than the model has.
        """
        from st.checkpoints.start.behaviour import differences

        if self._model_config is None or self._trained_config is None:
            return
        if wrong := differences(self._trained_config, self._model_config):
            raise CheckpointError(
                f"the checkpoint was trained to be another function than this model: {'; '.join(wrong)}. "
                "Give the options that it was trained with, --decoder too (st inspect CHECKPOINT shows its shape)"
            )

    def get_checkpoint_dict(self) -> dict[str, Any]:
        """Return what fairseq itself does not keep; :mod:`st.fairseq_plugin.repairs.checkpointing` takes it back."""
        return {type(self).__name__: best_score.state() | termination.state() | numerics.state()}

    # -- steps --------------------------------------------------------------------------------------------------

    @contextmanager
    def _precision(self, sample: dict[str, Any], model: Any = None) -> Iterator[None]:
        device = sample["net_input"]["waveforms"].device.type if sample else "cpu"
        # Of weights that are divided no copies are kept beyond the layer that needs them.
        cached = not is_sharded(model)
        with torch.autocast(device, dtype=torch.bfloat16, enabled=self.uses_bf16(device), cache_enabled=cached):
            yield

    def uses_bf16(self, device: str) -> bool:
        """Return whether products are rounded to bfloat16 on a device of this type (``cpu``, ``cuda``)."""
        if self.cfg.precision == "auto":
            return torch.cuda.is_bf16_supported(including_emulation=False) if device == "cuda" else bfloat16_is_fast()
        return bool(self.cfg.precision == "bf16")

    @clear_errors
    def train_step(
        self, sample: Any, model: Any, criterion: Any, optimizer: Any, update_num: int, ignore_grad: bool = False
    ) -> Any:
        """Forward and backward of one batch."""
        if not self._checked:
            self.check_training(model, criterion)
            self._checked = True
        model.train()
        model.set_num_updates(update_num)
        with exhaustion_ends_training(model):
            with self._precision(sample, model):
                loss, sample_size, log = criterion(model, sample)
            if ignore_grad or IGNORED in sample:
                loss, sample_size, log = loss * 0, 0, zeros_like_log(log)
            self.check_loss(loss, model, criterion)
            optimizer.backward(loss)
        model.note_gradients()
        return loss, sample_size, log

    def optimizer_step(self, optimizer: Any, model: Any, update_num: int) -> None:
        """Make an update of what is to learn by now."""
        model.drop_resting_gradients()
        optimizer.step()

    def check_training(self, model: Any, criterion: Any) -> None:
        """Refuse what cannot be trained together, before the first step; a task says what."""

    def check_loss(self, loss: torch.Tensor, model: Any, criterion: Any) -> None:
        """Refuse a loss from which nothing learns, before its backward pass; a task says why."""
