"""fairseq task ``speech_translation``: a prepared tree in, batches, generators and dev BLEU out."""

import logging
from argparse import Namespace
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Optional

import torch
from fairseq.tasks import register_task
from omegaconf import MISSING

from st.audio.augmentation import AugmentationConfig
from st.audio.reading import SAMPLE_RATE
from st.data.config import DataConfig
from st.data.dataset import TranslationDataset
from st.data.manifest import SPLITS
from st.data.text_pairs import TextPairs
from st.errors import CheckpointError, ConfigError
from st.fairseq_plugin.data.dataset import FairseqTranslationDataset
from st.fairseq_plugin.data.dictionary import FairseqDictionary
from st.fairseq_plugin.data.iterator import IGNORED
from st.fairseq_plugin.data.options import DataOptions, augmentation_config
from st.fairseq_plugin.distributed import refuse_unused_parameters
from st.fairseq_plugin.generator import FairseqGenerator
from st.fairseq_plugin.learning import refuse_nothing_to_learn
from st.fairseq_plugin.model_options import rename_former_options
from st.fairseq_plugin.nonfinite import zeros_like_log
from st.fairseq_plugin.repairs import termination
from st.fairseq_plugin.repairs.clear_errors import clear_errors
from st.fairseq_plugin.sharding import gathered
from st.fairseq_plugin.speech_task import SpeechTask, SpeechTaskConfig
from st.fairseq_plugin.validation import bleu_counts
from st.modules.config import CTC, ModelConfig
from st.modules.heads import head_kind, load_labels
from st.options import option
from st.text.languages import match_directions
from st.text.subword_sampling import SubwordSampler
from st.text.trimming import TRIM_FILENAME, TrimmedVocabulary
from st.text.vocabulary import TextVocabulary

logger = logging.getLogger(__name__)

TRAINING_SETS = ("train", "asr_train")
"""How the names of subsets begin that training draws from."""


@dataclass
class SpeechTranslationConfig(SpeechTaskConfig, DataOptions):
    """Options of the task."""

    data: str = option(MISSING, "folder that `st prepare` or `covost prepare` wrote")
    directions: str = option("all", "directions to use, e.g. fr_en,en_de; all, x_en, en_x; of those prepared")
    heads: str = option("all", "heads that the model has, separated by commas, e.g. language; of those in config.yaml")
    max_source_positions: Optional[int] = option(
        None, "longest training recording, in samples at 16 kHz; longer ones are left out"
    )
    max_target_positions: int = option(1024, "longest target, in tokens")
    text_pairs: Optional[str] = option(
        None,
        "table (TSV with the columns src_text and tgt_text) of more sentences and translations, which nobody has spoken: with "
        "--transcript-weight the decoder reads as many of them as of transcripts",
    )
    eval_bleu: bool = option(False, "decode the validation set and report BLEU per direction (best checkpoint: bleu)")
    eval_bleu_beam: int = option(1, "beam for that")
    eval_bleu_max_len: int = option(100, "most tokens of a hypothesis for that")


@register_task("speech_translation", dataclass=SpeechTranslationConfig)
class SpeechTranslationTask(SpeechTask):
    """Speech translation and recognition on a prepared tree."""

    def __init__(self, cfg: Any) -> None:
        super().__init__(cfg)
        data_dir = Path(cfg.data)
        self.data_config = DataConfig.load(data_dir)
        self.text = TextVocabulary.load_if_any(data_dir)
        if self.text is None:
            files = " and no ".join(self.data_config.text_files)
            logger.info("%s: no %s: the model has no decoder and learns to transcribe alone", data_dir, files)
        self.kinds = {name: head_kind(head.kind) for name, head in self.data_config.head_data.items()}
        self.labels = load_labels(data_dir, self.data_config, self._chosen_heads(cfg.heads))
        self.trim = TrimmedVocabulary.load(data_dir) if (data_dir / TRIM_FILENAME).is_file() else None
        self.directions = self._chosen_directions(cfg.directions)
        self.subwords = self._subword_sampler()
        self.text_pairs = self._more_text(cfg.text_pairs)
        self._validator: FairseqGenerator | None = None
        self._scored: list[str] = []
        """Directions of all validation and test sets that were loaded."""

    def _chosen_heads(self, names: str) -> list[str]:
        """Return the heads that the model has.

        Raises:
            ConfigError: If one is not declared, or of a kind that is opened and used, but not trained.
        """
        known = [*self.data_config.head_data]
        chosen = known if names == "all" else [name.strip() for name in names.split(",") if name.strip()]
        if absent := [name for name in chosen if name not in known]:
            raise ConfigError(f"--heads: {self.cfg.data} declares no head {', '.join(absent)}, only {', '.join(known)}")
        if not chosen:
            raise ConfigError(f"--heads is {names!r}; expected some of {', '.join(known)}, or all")
        if untrained := [name for name in chosen if self.kinds[name].loss is None]:
            raise ConfigError(
                f"the head {untrained[0]} is of kind {self.data_config.head_data[untrained[0]].kind}, which is not trained "
                "here; leave it out by --heads"
            )
        return chosen

    def _chosen_directions(self, names: str) -> list[str]:
        prepared = self.data_config.directions
        chosen, absent = match_directions(names, prepared)
        if absent or not chosen:
            raise ConfigError(
                f"--directions: {self.cfg.data} was not prepared for {', '.join(absent) or names}; "
                f"it holds: {' '.join(prepared) or 'none'}"
            )
        return list(chosen)

    def _subword_sampler(self) -> SubwordSampler | None:
        """Return what ``--subword-alpha`` asks for.

        Raises:
            ConfigError: If it is out of range, or there are no pieces with probabilities.
        """
        if not self.cfg.subword_alpha:
            return None
        if self.text is None:
            raise ConfigError(
                "--subword-alpha is about the targets of a decoder, and these data have no vocabulary for one"
            )
        return SubwordSampler(self.text, self.cfg.subword_alpha)

    def _more_text(self, path: str | None) -> TextPairs | None:
        """Return what ``--text-pairs`` names.

        Raises:
            ConfigError: If there is more than one direction that it could be of, or nothing that could read it.
        """
        if path is None:
            return None
        if self.text is None or CTC not in self.labels or len(self.directions) != 1:
            raise ConfigError(
                "--text-pairs needs a decoder, a CTC head and one direction, of which the table is; these data have "
                f"{' '.join(self.directions) or 'none'}; choose one by --directions"
            )
        return TextPairs.load(path, self.directions[0], self.labels[CTC], self.text, self.subwords)

    # -- data ---------------------------------------------------------------------------------------------------

    @clear_errors
    def load_dataset(self, split: str, combine: bool = False, **kwargs: Any) -> None:
        """Load a subset: ``train``, ``dev``, ``test``, or one manifest such as ``dev_fr_en``; or transcripts.

        What begins with ``train`` or ``asr_train`` is a training set: shuffled, sampled and augmented.
        """
        directions = self.directions if split.removeprefix("asr_") in SPLITS else None
        training = split.startswith(TRAINING_SETS)
        encoder = (self._model_config or ModelConfig()).encoder
        dataset = TranslationDataset.load(
            self.cfg.data,
            split,
            directions,
            self.text,
            self.labels,
            data=self.data_config,
            empty_targets=not training,
            cache_audio=self.cfg.cache_audio,
            sampling_alpha=self.cfg.sampling_alpha if training else 1.0,
            augmentation=augmentation_config(self.cfg) if training else AugmentationConfig(),
            standardize_audio=self.data_config.standardize_audio and encoder.standardizes,
            wave_epsilon=encoder.wave_epsilon,
            subwords=self.subwords if training else None,
            # The targets of a set of transcripts are transcripts already.
            add_transcripts=split.startswith("train") and self.cfg.add_transcripts,
        )
        self.datasets[split] = FairseqTranslationDataset(dataset, shuffle=training, name=split)
        found = dataset.directions
        if not training:
            self._scored = sorted({*self._scored, *found})
        hours = dataset.sizes.sum() / SAMPLE_RATE / 3600
        logger.info("%s: %d utterances, %.2f h, directions %s", split, len(dataset), hours, " ".join(found))
        if split in SPLITS:
            self.datasets[split].expect_directions(self.directions)

    def max_positions(self) -> tuple[int, int]:
        """Return the longest source (samples) and target (tokens)."""
        return self.cfg.max_source_positions or int(1e9), self.cfg.max_target_positions

    @property
    def source_dictionary(self) -> None:
        """The source is sound."""
        return None

    @property
    def target_dictionary(self) -> FairseqDictionary | None:
        """The target vocabulary, as much of fairseq's dictionary as its commands ask for; None without a decoder."""
        return None if self.text is None else FairseqDictionary(self.text)

    def _decoders_text(self, what: str) -> TextVocabulary:
        """Return the decoder's vocabulary.

        Raises:
            ConfigError: If there is none; ``what`` asked for it.
        """
        if self.text is None:
            raise ConfigError(
                f"{what} needs a decoder, and {self.cfg.data} has no {' and no '.join(self.data_config.text_files)}; use st "
                "evaluate or st transcribe, or prepare the data with a text vocabulary"
            )
        return self.text

    # -- model and checkpoints ----------------------------------------------------------------------------------

    def build_model(self, cfg: Any, from_checkpoint: bool = False) -> Any:
        """Build the model and remember its shape for the checkpoint; fairseq looks for ``from_checkpoint`` by name."""
        if from_checkpoint:
            # All weights come from the checkpoint; the files that training started from may be elsewhere by now.
            cfg.encoder = cfg.decoder = None
            rename_former_options(cfg)
        model = clear_errors(super().build_model)(cfg, from_checkpoint)
        self._model_config = config = model.translator.config
        # What the file behind --decoder decides is an option of every later command that has no such file.
        cfg.decoder_activation, cfg.decoder_scale_embedding = config.decoder.activation, config.decoder.scale_embedding
        if from_checkpoint:
            self.require_same_function()
        else:
            self._origins = tuple(dict.fromkeys(model.origins))
        self._min_samples = model.translator.encoder.receptive_field
        return model

    def state_dict(self) -> dict[str, Any]:
        """Return what makes a checkpoint usable alone: shape, vocabularies, data config; and what it began with."""
        from st.checkpoints.bundle import bundle_files

        files = bundle_files(self.cfg.data)
        config = self._model_config.to_dict() if self._model_config is not None else {}
        known = {} if self._origins is None else {"origins": list(self._origins)}
        return {"st_bundle": {"format": 1, "model_config": config, "files": files, **known}}

    @clear_errors
    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Check that a checkpoint was trained with these vocabularies, and remember what its model is.

        Raises:
            CheckpointError: If it was not.
        """
        from st.checkpoints.formats.fairseq.reader import bundled_config

        self._trained_config = None
        if "st_bundle" not in state_dict:
            return
        own = self.state_dict()["st_bundle"]["files"]
        other = state_dict["st_bundle"].get("files", {})
        heads = self.data_config.head_data.values()
        for name in (self.data_config.vocab_filename, *(head.vocab_filename for head in heads)):
            if name in other and other[name] != own.get(name):
                here = f"has {len(own[name].splitlines())}" if name in own else "is missing"
                raise CheckpointError(
                    f"the checkpoint was trained with another {name} ({len(other[name].splitlines())} lines; "
                    f"{self.cfg.data}/{name} {here}); "
                    "prepare the data with the checkpoint's vocabularies or start anew"
                )
        self._trained_config = bundled_config(state_dict["st_bundle"], "the checkpoint")
        # All weights are the checkpoint's now; one of an earlier version does not say where it got them.
        known = state_dict["st_bundle"].get("origins")
        self._origins = tuple(known) if known is not None else self._origins or None

    # -- steps --------------------------------------------------------------------------------------------------

    def check_training(self, model: Any, criterion: Any) -> None:
        """Refuse parameters without a gradient where torch's wrapper needs one of each."""
        refuse_unused_parameters(model, criterion)

    def check_loss(self, loss: torch.Tensor, model: Any, criterion: Any) -> None:
        """Refuse options under which nothing learns."""
        refuse_nothing_to_learn(loss, model, criterion)

    def valid_step(self, sample: Any, model: Any, criterion: Any) -> Any:
        """Loss of one batch, and its counts for BLEU if asked for."""
        termination.raise_if_requested()
        model.eval()
        # A search takes as many steps as its own sentences need, so that no weight may have to be fetched for one.
        weights = gathered(model) if self.cfg.eval_bleu else nullcontext()
        with torch.no_grad(), weights, self._precision(sample, model), model.encoding_once():
            loss, sample_size, log = criterion(model, sample)
            if self.cfg.eval_bleu:
                if self._validator is None:
                    options = Namespace(beam=self.cfg.eval_bleu_beam, max_len_a=0, max_len_b=self.cfg.eval_bleu_max_len)
                    self._validator = self.build_generator([model], options)
                hypotheses = self._validator.generate([model], sample) if sample["nsentences"] else []
                text = self._decoders_text("--eval-bleu")
                texts = [text.decode(best[0]["tokens"].tolist()) for best in hypotheses]
                log |= bleu_counts(texts, sample["references"], sample["directions"], self._scored)
        if IGNORED in sample:
            loss, sample_size, log = loss * 0, 0, zeros_like_log(log)
        return loss, sample_size, log

    @clear_errors
    def build_generator(self, models: Any, args: Any, **kwargs: Any) -> FairseqGenerator:
        """Return this project's searches behind the interface of fairseq's generators."""
        return FairseqGenerator.from_namespace(self._decoders_text("decoding with fairseq"), args)

    def inference_step(
        self, generator: Any, models: Any, sample: Any, prefix_tokens: Any = None, constraints: Any = None
    ) -> Any:
        """Decode one batch; the language tag is the sample's own, and the first of ``prefix_tokens`` if given."""
        if IGNORED in sample:
            sample |= {"id": sample["id"][:0], "nsentences": 0}
        if not sample["nsentences"]:
            return []
        with torch.no_grad(), self._precision(sample):
            return generator.generate(models, sample, prefix_tokens)
