"""fairseq task ``speech_pretraining``: recordings of prepared trees in, no text needed."""

import dataclasses
import logging
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from fairseq.tasks import register_task
from omegaconf import MISSING

from st.data.config import CONFIG_FILENAME, DataConfig
from st.data.direction_sampling import check_alpha
from st.data.pretraining import PretrainingDataset, read_recordings
from st.errors import CheckpointError, ConfigError
from st.fairseq_plugin.data.iterator import IGNORED
from st.fairseq_plugin.distributed import refuse_without_gradients
from st.fairseq_plugin.nonfinite import zeros_like_log
from st.fairseq_plugin.pretraining.dataset import FairseqPretrainingDataset
from st.fairseq_plugin.pretraining.watch import CodebookWatch
from st.fairseq_plugin.repairs import termination
from st.fairseq_plugin.repairs.clear_errors import clear_errors
from st.fairseq_plugin.speech_task import SpeechTask, SpeechTaskConfig
from st.fairseq_plugin.task import TRAINING_SETS
from st.modules.config import ModelConfig
from st.modules.pretraining.config import PretrainingConfig
from st.options import option

logger = logging.getLogger(__name__)


@dataclass
class SpeechPretrainingConfig(SpeechTaskConfig):
    """Options of the task."""

    data: str = option(
        MISSING,
        f"folder that `st prepare` or `covost prepare` wrote, or several of them with {os.pathsep} between them",
    )
    languages: str = option("all", "languages of the recordings to train on, e.g. fr,mdw; all: those that there are")
    min_sample_size: int = option(32_000, "shortest recording, in samples at 16 kHz; shorter ones are left out")
    max_sample_size: int = option(320_000, "longest crop of a recording, in samples at 16 kHz")
    sampling_alpha: float = option(
        1.0,
        "share of a language of n hours in an epoch: n to this power, and among several trees the same; 1: each recording "
        "once, 0: languages alike",
    )


@register_task("speech_pretraining", dataclass=SpeechPretrainingConfig)
class SpeechPretrainingTask(SpeechTask):
    """Pre-training on the recordings of prepared trees, each a corpus."""

    def __init__(self, cfg: Any) -> None:
        super().__init__(cfg)
        check_options(cfg)
        self.trees = [Path(name) for name in cfg.data.split(os.pathsep) if name]
        if not self.trees:
            raise ConfigError(f"data is {cfg.data!r}; expected the folder of a prepared tree")
        self.standardize_audio = shared_standardisation(self.trees)
        chosen = [name for name in cfg.languages.split(",") if name]
        self.languages = None if chosen in ([], ["all"]) else chosen
        self._objective: PretrainingConfig | None = None
        self._trained_objective: PretrainingConfig | None = None
        self._watch: CodebookWatch | None = None

    # -- data ---------------------------------------------------------------------------------------------------

    @clear_errors
    def load_dataset(self, split: str, combine: bool = False, **kwargs: Any) -> None:
        """Load a subset: ``train``, ``dev``, ``test``, or one manifest such as ``asr_train_fr``."""
        training = split.startswith(TRAINING_SETS)
        # A language may have nothing to validate on.
        recordings = read_recordings(self.trees, split, self.languages, all_needed=training)
        dataset = PretrainingDataset(
            recordings,
            max_samples=self.cfg.max_sample_size,
            sampling_alpha=self.cfg.sampling_alpha if training else 1.0,
            cache_audio=self.cfg.cache_audio,
            standardize_audio=self.standardize_audio,
            wave_epsilon=(self._model_config or ModelConfig()).encoder.wave_epsilon,
        )
        self.datasets[split] = FairseqPretrainingDataset(dataset, shuffle=training, name=split)
        languages_found = " ".join(dataset.groups)
        logger.info("%s: %d recordings, %.2f h, languages %s", split, len(dataset), dataset.hours, languages_found)

    def max_positions(self) -> tuple[int, int]:
        """Return no limits: crops have theirs."""
        return int(1e9), int(1e9)

    @property
    def source_dictionary(self) -> None:
        """The source is sound."""
        return None

    @property
    def target_dictionary(self) -> None:
        """There is no text."""
        return None

    # -- model and checkpoints ----------------------------------------------------------------------------------

    def build_model(self, cfg: Any, from_checkpoint: bool = False) -> Any:
        """Build the model and remember its shape for the checkpoint; fairseq looks for ``from_checkpoint`` by name."""
        if from_checkpoint:
            cfg.start_from = None
        model = clear_errors(super().build_model)(cfg, from_checkpoint)
        pretrainer = model.pretrainer
        self._model_config = ModelConfig(encoder=pretrainer.encoder.config, parts=("encoder",))
        self._objective = pretrainer.config
        self._watch = CodebookWatch(pretrainer.config)
        # What the file behind --start-from decides is an option of every later command that has no such file.
        cfg.latent_temp = ",".join(map(repr, pretrainer.config.latent_temp))
        if from_checkpoint:
            self.require_same_function()
        else:
            self._origins = tuple(dict.fromkeys(model.origins))
        field = pretrainer.encoder.feature_extractor.receptive_field
        self._min_samples = max(self.cfg.min_sample_size, field)
        return model

    def state_dict(self) -> dict[str, Any]:
        """Return what makes a checkpoint usable alone: shape, objective, how waves are read; and what it began with."""
        config = self._model_config.to_dict() if self._model_config is not None else {}
        objective = self._objective.to_dict() if self._objective is not None else {}
        data = DataConfig(standardize_audio=self.standardize_audio)
        files = {CONFIG_FILENAME: data.to_yaml().encode("utf-8")}
        known: dict[str, Any] = {} if self._origins is None else {"origins": list(self._origins)}
        if self._watch is not None and (use := self._watch.use()):
            known["codebook_use"] = use
        bundle = {"format": 1, "model_config": config, "pretraining": objective, "files": files}
        return {"st_bundle": bundle | known}

    @clear_errors
    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Remember what the model of a checkpoint is.

        Raises:
            CheckpointError: If it is none of pre-training.
        """
        from st.checkpoints.formats.fairseq.reader import bundled_config

        self._trained_config = self._trained_objective = None
        bundle = state_dict.get("st_bundle")
        if bundle is None:
            return
        if "pretraining" not in bundle:
            raise CheckpointError(
                "the checkpoint is none of a pre-training; begin with its encoder: --start-from, in a --save-dir of its own"
            )
        self._trained_config = bundled_config(bundle, "the checkpoint")
        self._trained_objective = PretrainingConfig.from_dict(bundle["pretraining"])
        known = bundle.get("origins")
        self._origins = tuple(known) if known is not None else self._origins or None

    @clear_errors
    def require_same_function(self) -> None:
        """Compare what the shapes of tensors do not show, as :meth:`SpeechTask.require_same_function`.

        Raises:
            CheckpointError: If a checkpoint was trained with another encoder or objective.
        """
        super().require_same_function()
        theirs, ours = self._trained_objective, self._objective
        if theirs is None or ours is None or theirs == ours:
            return
        changed = [
            f"--{field.name.replace('_', '-')} is {getattr(theirs, field.name)} there and {getattr(ours, field.name)} here"
            for field in dataclasses.fields(ours)
            if getattr(theirs, field.name) != getattr(ours, field.name)
        ]
        raise CheckpointError(
            f"the checkpoint was trained to another objective: {'; '.join(changed)}. Give those of before"
        )

    # -- steps --------------------------------------------------------------------------------------------------

    def check_training(self, model: Any, criterion: Any) -> None:
        """Refuse parameters without a gradient where torch's wrapper needs one of each."""
        refuse_without_gradients(model, unlearned)

    def reduce_metrics(self, logging_outputs: list[dict[str, Any]], criterion: Any) -> None:
        """Log the sums of all processes, and watch those of training."""
        super().reduce_metrics(logging_outputs, criterion)
        if criterion.training and self._watch is not None:
            self._watch.push(logging_outputs)

    def valid_step(self, sample: Any, model: Any, criterion: Any) -> Any:
        """Loss of one batch, the same masks and distractors each time."""
        termination.raise_if_requested()
        model.eval()
        with torch.no_grad(), self._precision(sample, model):
            loss, sample_size, log = criterion(model, sample)
        if IGNORED in sample:
            loss, sample_size, log = loss * 0, 0, zeros_like_log(log)
        return loss, sample_size, log


def unlearned(model: Any) -> dict[str, bool]:
    """Return by option whether it leaves some parameters without a gradient in some steps."""
    encoder = model.pretrainer.encoder.config
    return {
        "--encoder-layerdrop": encoder.layerdrop > 0,
        "--encoder-feature-grad-mult 0": encoder.feature_grad_mult == 0,
    }


def check_options(cfg: Any) -> None:
    """Refuse sizes of crops and a sampling that make no data.

    Raises:
        ConfigError: The message names the option.
    """
    check_alpha(cfg.sampling_alpha, "languages")
    if not 0 < cfg.min_sample_size <= cfg.max_sample_size:
        raise ConfigError(
            f"--min-sample-size is {cfg.min_sample_size} and --max-sample-size {cfg.max_sample_size}; expected numbers of "
            "samples, the second at least the first"
        )


def shared_standardisation(trees: list[Path]) -> bool:
    """Return whether waves are standardised, which all trees must say alike.

    Raises:
        ConfigError: If they do not; the message names both.
    """
    said = {tree: DataConfig.load(tree).standardize_audio for tree in trees}
    first = trees[0]
    for tree, value in said.items():
        if value != said[first]:
            raise ConfigError(f"{tree}/{CONFIG_FILENAME}: standardize_audio is {value}, and {said[first]} in {first}")
    return said[first]
