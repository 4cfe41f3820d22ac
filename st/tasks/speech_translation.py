"""fairseq task ``speech_translation``: a prepared tree in, batches, generators and dev BLEU out."""

import logging
from argparse import Namespace
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Optional

import torch
from fairseq.dataclass import ChoiceEnum, FairseqDataclass
from fairseq.tasks import FairseqTask, register_task
from omegaconf import MISSING

from st.criterions.validation import bleu_counts
from st.data.config import DataConfig
from st.data.ctc_vocabulary import CtcVocabulary
from st.data.dataset import TranslationDataset
from st.data.languages import parse_directions
from st.data.text import TextVocabulary
from st.errors import CheckpointError, ConfigError
from st.runtime import bfloat16_is_fast, tune
from st.tasks.clear_errors import clear_errors
from st.tasks.dataset import FairseqTranslationDataset
from st.tasks.generator import FairseqGenerator

logger = logging.getLogger(__name__)


def _option(default: Any, text: str) -> Any:
    return field(default=default, metadata={"help": text})


@dataclass
class SpeechTranslationConfig(FairseqDataclass):
    """Options of the task."""

    data: str = field(default=MISSING, metadata={"help": "folder that `covost prepare` wrote"})
    directions: str = _option("all", "directions to use, e.g. fr_en,en_de; all, x_en, en_x; of those prepared")
    max_source_positions: Optional[int] = _option(None, "longest training recording, in samples at 16 kHz")
    max_target_positions: int = _option(1024, "longest target, in tokens")
    cache_audio: bool = _option(False, "keep decoded audio in memory (16-bit: 115 MB an hour)")
    precision: ChoiceEnum(["fp32", "bf16", "auto"]) = _option(  # type: ignore[valid-type]
        "fp32", "bf16: autocast, with fp32 weights and reductions; auto: bf16 where the hardware multiplies it"
    )
    eval_bleu: bool = _option(False, "decode the validation set and report BLEU per direction (best checkpoint: bleu)")
    eval_bleu_beam: int = _option(1, "beam for that")
    eval_bleu_max_len: int = _option(100, "most tokens of a hypothesis for that")
    threads: int = _option(0, "CPU threads of each process; 0 leaves torch's choice")


@register_task("speech_translation", dataclass=SpeechTranslationConfig)
class SpeechTranslationTask(FairseqTask):
    """Speech translation and recognition on a tree prepared by `covost prepare`."""

    def __init__(self, cfg: Any) -> None:
        super().__init__(cfg)
        tune(cfg.threads or None)
        data_dir = Path(cfg.data)
        self.data_config = DataConfig.load(data_dir)
        self.text = TextVocabulary.load(data_dir)
        self.ctc = CtcVocabulary.load(data_dir / self.data_config.ctc_vocab_filename)
        self.directions = self._chosen_directions(cfg.directions)
        self._model_config: dict[str, Any] = {}
        self._validator: FairseqGenerator | None = None

    @classmethod
    @clear_errors
    def setup_task(cls, cfg: Any, **kwargs: Any) -> "SpeechTranslationTask":
        """Make the task; called by fairseq."""
        return cls(cfg)

    def _chosen_directions(self, names: str) -> list[str]:
        prepared = list(self.data_config.directions)
        asked = parse_directions(names)
        chosen = [direction for direction in asked if direction in prepared]
        missing = [direction for direction in asked if direction not in prepared]
        explicit = [name for name in names.split(",") if name.strip() in missing]
        if explicit or not chosen:
            raise ConfigError(
                f"--directions: {self.cfg.data} was not prepared for {', '.join(explicit) or names}; "
                f"it holds: {' '.join(prepared) or 'none'}"
            )
        return chosen

    # -- data ---------------------------------------------------------------------------------------------------

    @clear_errors
    def load_dataset(self, split: str, combine: bool = False, **kwargs: Any) -> None:
        """Load a subset: ``train``, ``dev``, ``test``, or one manifest such as ``dev_fr_en``."""
        directions = None if "_" in split else self.directions
        dataset = TranslationDataset.load(
            self.cfg.data, split, directions, self.text, self.ctc, cache_audio=self.cfg.cache_audio
        )
        self.datasets[split] = FairseqTranslationDataset(dataset, shuffle=split.startswith("train"), name=split)
        hours = dataset.sizes.sum() / 16000 / 3600
        logger.info("%s: %d utterances, %.2f h, directions %s", split, len(dataset), hours, " ".join(self.directions))

    def max_positions(self) -> tuple[int, int]:
        """Return the longest source (samples) and target (tokens)."""
        return self.cfg.max_source_positions or int(1e9), self.cfg.max_target_positions

    @property
    def source_dictionary(self) -> None:
        """The source is sound."""
        return None

    @property
    def target_dictionary(self) -> "FairseqDictionary":
        """The target vocabulary, as much of fairseq's dictionary as its commands ask for."""
        return FairseqDictionary(self.text)

    # -- model and checkpoints ----------------------------------------------------------------------------------

    def build_model(self, cfg: Any, from_checkpoint: bool = False) -> Any:
        """Build the model and remember its shape for the checkpoint; fairseq looks for ``from_checkpoint`` by name."""
        if from_checkpoint:
            # All weights come from the checkpoint; the files that training started from may be elsewhere by now.
            cfg.encoder = cfg.decoder = None
        model = clear_errors(super().build_model)(cfg, from_checkpoint)
        self._model_config = model.translator.config.to_dict()
        return model

    def state_dict(self) -> dict[str, Any]:
        """Return what makes a checkpoint usable alone: shape, vocabularies, data config."""
        from st.checkpoints.bundle import bundle_files

        files = bundle_files(self.cfg.data)
        return {"st_bundle": {"format": 1, "model_config": self._model_config, "files": files}}

    @clear_errors
    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Check that a checkpoint was trained with these vocabularies.

        Raises:
            CheckpointError: If it was not.
        """
        own = self.state_dict()["st_bundle"]["files"]
        other = state_dict.get("st_bundle", {}).get("files", {})
        for name in (self.data_config.vocab_filename, self.data_config.ctc_vocab_filename):
            if name in other and other[name] != own.get(name):
                raise CheckpointError(
                    f"the checkpoint was trained with another {name} ({len(other[name].splitlines())} lines; "
                    f"{self.cfg.data}/{name} has {len(own[name].splitlines())}); "
                    "prepare the data with the checkpoint's vocabularies or start anew"
                )

    # -- steps --------------------------------------------------------------------------------------------------

    @contextmanager
    def _precision(self, sample: dict[str, Any]) -> Iterator[None]:
        device = sample["target"].device.type if sample else "cpu"
        bf16 = self.cfg.precision == "bf16"
        if self.cfg.precision == "auto":
            bf16 = torch.cuda.is_bf16_supported() if device == "cuda" else bfloat16_is_fast()
        with torch.autocast(device, dtype=torch.bfloat16, enabled=bf16):
            yield

    def train_step(
        self, sample: Any, model: Any, criterion: Any, optimizer: Any, update_num: int, ignore_grad: bool = False
    ) -> Any:
        """Forward and backward of one batch."""
        model.train()
        model.set_num_updates(update_num)
        with self._precision(sample):
            loss, sample_size, log = criterion(model, sample)
        if ignore_grad:
            loss *= 0
        optimizer.backward(loss)
        return loss, sample_size, log

    def valid_step(self, sample: Any, model: Any, criterion: Any) -> Any:
        """Loss of one batch, and its counts for BLEU if asked for."""
        model.eval()
        with torch.no_grad(), self._precision(sample):
            loss, sample_size, log = criterion(model, sample)
            if self.cfg.eval_bleu:
                if self._validator is None:
                    options = Namespace(beam=self.cfg.eval_bleu_beam, max_len_a=0, max_len_b=self.cfg.eval_bleu_max_len)
                    self._validator = self.build_generator([model], options)
                hypotheses = self._validator.generate([model], sample)
                texts = [self.text.decode(best[0]["tokens"].tolist()) for best in hypotheses]
                log |= bleu_counts(texts, sample["references"], sample["directions"], self.directions)
        return loss, sample_size, log

    def build_generator(self, models: Any, args: Any, **kwargs: Any) -> FairseqGenerator:
        """Return this project's beam search behind the interface of fairseq's generators."""
        return FairseqGenerator.from_namespace(self.text, args)

    def inference_step(
        self, generator: Any, models: Any, sample: Any, prefix_tokens: Any = None, constraints: Any = None
    ) -> Any:
        """Decode one batch; the language tag is the sample's own."""
        with torch.no_grad(), self._precision(sample):
            return generator.generate(models, sample)


class FairseqDictionary:
    """The methods of fairseq's Dictionary that its commands call, over a :class:`TextVocabulary`."""

    def __init__(self, text: TextVocabulary) -> None:
        self.text = text

    def __len__(self) -> int:
        return len(self.text)

    def pad(self) -> int:
        """Index of padding."""
        return self.text.pad

    def eos(self) -> int:
        """Index of the end of a sentence."""
        return self.text.eos

    def unk(self) -> int:
        """Index of what is unknown."""
        return self.text.unk

    def bos(self) -> int:
        """Index of the beginning of a sentence."""
        return self.text.bos

    def string(
        self,
        tensor: Any,
        bpe_symbol: str | None = None,
        escape_unk: bool = False,
        extra_symbols_to_ignore: Any = None,
        unk_string: str | None = None,
        **_: Any,
    ) -> str:
        """Return plain text: pieces joined, tags and specials left out."""
        return self.text.decode(tensor.tolist())
