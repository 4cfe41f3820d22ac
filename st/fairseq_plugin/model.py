"""fairseq model ``xlsr_mbart``: :class:`st.modules.model.SpeechTranslator` behind fairseq's interface."""

import logging
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from fairseq.models import register_model
from torch import Tensor

from st.checkpoints.formats.fairseq.names import from_fairseq, to_fairseq
from st.errors import ConfigError
from st.fairseq_plugin.architectures import register_presets
from st.fairseq_plugin.model_options import XlsrMbartConfig, head_configs, model_config
from st.fairseq_plugin.repairs.clear_errors import clear_errors
from st.fairseq_plugin.repairs.clear_start import refuse_half_precision
from st.fairseq_plugin.speech_model import SpeechModel, require_fit
from st.fairseq_plugin.state_cache import EncoderStateCache
from st.modules.config import ModelConfig
from st.modules.ctc_head import CtcHead
from st.modules.freezing import frozen_names
from st.modules.model import Encoded, SpeechTranslator
from st.modules.presets import PRESETS

logger = logging.getLogger(__name__)


@register_model("xlsr_mbart", dataclass=XlsrMbartConfig)
class XlsrMbartModel(SpeechModel):
    """XLS-R encoder, length adaptor, mBART decoder, heads; checkpoints carry fairseq's parameter names."""

    def __init__(
        self,
        config: ModelConfig,
        *,
        freeze_encoder: bool = False,
        cache_encoder_states: bool = False,
        freeze: str = "",
        freeze_finetune_updates: int = 0,
    ):
        super().__init__()
        check_freezing(config, freeze_encoder, cache_encoder_states, freeze_finetune_updates)
        self.translator = SpeechTranslator(config)
        for head in self.translator.children():
            if isinstance(head, CtcHead):
                head.prefer_blank()
        self.frozen = freeze_encoder
        self.freeze = freeze
        self.cache = EncoderStateCache() if cache_encoder_states else None
        self.freeze_finetune_updates = freeze_finetune_updates
        self._encoded: list[tuple[Tensor, Encoded]] | None = None
        parameters = dict(self.translator.named_parameters())
        frozen = frozen_names(parameters, freeze) if freeze else set()
        if freeze_encoder:
            frozen |= {name for name in parameters if not name.startswith(("length_adaptor.", "decoder."))}
        if len(frozen) == len(parameters):
            raise ConfigError(
                f"--freeze-encoder and --freeze {freeze} leave no parameter to learn; leave one of them out"
            )
        for name, parameter in parameters.items():
            parameter.requires_grad_(name not in frozen)
            # What --lr-scale goes by; fairseq's composite optimizer reads the same name.
            setattr(parameter, "param_group", name.partition(".")[0])  # noqa: B010
        self.register_state_dict_post_hook(_rename_out)
        self.register_load_state_dict_pre_hook(_rename_in)

    @classmethod
    def build_model(cls, cfg: Any, task: Any) -> "XlsrMbartModel":
        """Build for a task's vocabularies; start from checkpoints where the config names them."""
        heads = head_configs(task.data_config, task.labels)
        config = model_config(cfg, vocab_size=None if task.text is None else len(task.text), heads=heads)
        if cfg.decoder and task.text is None:
            raise ConfigError(
                f"--decoder {cfg.decoder}: the data have no {' and no '.join(task.data_config.text_files)}, so that the "
                "model has no decoder; leave --decoder out, or prepare the data with a text vocabulary"
            )
        model = cls(
            config,
            freeze_encoder=cfg.freeze_encoder,
            cache_encoder_states=cfg.cache_encoder_states,
            freeze=",".join(filter(None, (cfg.freeze, "all-but-adapters" if cfg.train_adapter else ""))),
            freeze_finetune_updates=cfg.freeze_finetune_updates,
        )
        if cfg.encoder or cfg.decoder:
            from st.checkpoints.start.initialise import load_decoder, load_encoder

            if cfg.encoder:
                new = bool(cfg.train_adapter) and not cfg.encoder_language
                model.origins += load_encoder(
                    model.translator, cfg.encoder, language=cfg.encoder_language, new_adapters=new
                )
            if cfg.decoder:
                model.origins += load_decoder(
                    model.translator, cfg.decoder, task.text, trim=getattr(task, "trim", None)
                )
        recompute = str(cfg.checkpoint_activations)
        model.translator.encoder.encoder.recompute = recompute in ("encoder", "all")
        if "decoder" in config.parts:
            model.translator.decoder.recompute = recompute in ("decoder", "all")
        if cfg.compile:
            compile_layers(model.translator)
        model.log_parameters()
        return model

    @clear_errors
    def load_state_dict(
        self, state_dict: Mapping[str, Tensor], strict: bool = True, model_cfg: Any = None, args: Any = None
    ) -> Any:
        """Load the weights of a checkpoint; called by fairseq.

        Raises:
            CheckpointError: If they are of a model of another shape.
        """
        require_fit(self.translator, from_fairseq(state_dict), strict=strict)
        return super().load_state_dict(state_dict, strict, model_cfg, args)

    @property
    def encoder_rests(self) -> bool:
        """Whether the first updates, in which the encoder stays as it is, are not over yet."""
        return self.num_updates < self.freeze_finetune_updates

    @property
    def encoder(self) -> torch.nn.Module:
        """The speech encoder."""
        return self.translator.encoder

    @property
    def decoder(self) -> torch.nn.Module:
        """The text decoder."""
        return self.translator.decoder

    def max_positions(self) -> tuple[int, int]:
        """Return the longest source (samples; no limit) and target (tokens)."""
        return int(1e9), self.translator.config.decoder.max_positions

    @clear_errors
    def prepare_for_inference_(self, cfg: Any) -> None:
        """Prepare for decoding; called by fairseq.

        Raises:
            ConfigError: If the data are to be divided by options that ``fairseq-generate`` does not read, or the weights
                were halved.
        """
        refuse_half_precision(cfg)
        if cfg.dataset.num_shards > 1:
            raise ConfigError(
                "--num-shards and --shard-id are ignored by fairseq-generate, so that every shard would decode "
                "everything; give --distributed-world-size, --distributed-rank and --distributed-no-spawn instead"
            )
        super().prepare_for_inference_(cfg)

    @contextmanager
    def encoding_once(self) -> Iterator[None]:
        """Encode a batch once for all that is done with it in this context, in which no weight may change."""
        self._encoded = []
        try:
            yield
        finally:
            self._encoded = None

    def encode(self, waveforms: Tensor, lengths: Tensor, utterances: tuple[str, list[int]] | None = None) -> Encoded:
        """Encode a batch, or take its states from the cache or from an earlier call in :meth:`encoding_once`.

        Args:
            waveforms: ``(N, T)``.
            lengths: ``(N,)``.
            utterances: Name of the subset and indices in it, the cache's keys; None to bypass the cache.
        """
        for known, encoded in self._encoded or ():
            if known is waveforms:
                return encoded
        encoded = self._encode(waveforms, lengths, utterances)
        if self._encoded is not None:
            self._encoded.append((waveforms, encoded))
        return encoded

    def _encode(self, waveforms: Tensor, lengths: Tensor, utterances: tuple[str, list[int]] | None) -> Encoded:
        if not self.frozen:
            with torch.set_grad_enabled(torch.is_grad_enabled() and not self.encoder_rests):
                return self.translator.encode(waveforms, lengths)
        with torch.no_grad(), _evaluation_mode(self.translator.encoder):
            if self.cache is None or utterances is None:
                return self.translator.encode(waveforms, lengths)
            return self.cache.fetch(utterances, lambda: self.translator.encode(waveforms, lengths), waveforms.device)

    def forward(
        self,
        waveforms: Tensor,
        lengths: Tensor,
        source_rows: Tensor,
        prev_output_tokens: Tensor,
        *,
        utterances: tuple[str, list[int]] | None = None,
        translate: bool = True,
        heads: Collection[str] = (),
        copies: int = 1,
        transcripts: tuple[Tensor, Tensor, Tensor] | None = None,
    ) -> dict[str, Any]:
        """Run what a loss needs: the decoder, if asked to ``translate``, and ``heads`` by name.

        With ``copies`` of 2 the batch is computed twice, with dropout and masks of its own each time, one copy after
        the other along the first dimension of everything returned.

        With ``transcripts``, labels (P, L), their lengths (P,) and decoder inputs (P, U), the decoder reads these too; with
        them alone nothing is encoded, and ``frames`` and ``states`` are empty.

        Returns:
            ``logits`` (R, U, V) or None; ``transcript_logits`` (P, U, V) or None; ``heads``, logits by name,
            ``(N, S, C)`` with CTC; ``frames`` (N,); ``states`` (N, S, M).
        """
        read = None
        if transcripts is not None:
            if not self.translator.config.length_adaptor.text_layers:
                raise ConfigError(
                    "--transcript-weight: this model reads no transcripts; build it with --length-adaptor-text-layers 2"
                )
            labels, counts, inputs = transcripts
            memory = self.translator.read(labels, counts)
            read = self.translator.decoder(inputs, memory.states, memory.lengths)
            if not translate and not heads:
                nothing = read.new_empty(0)
                return {"logits": None, "transcript_logits": read, "heads": {}, "frames": nothing, "states": nothing}
        if copies > 1:
            rows = len(lengths)
            source_rows = torch.cat([source_rows + rows * copy for copy in range(copies)])
            prev_output_tokens = prev_output_tokens.repeat(copies, 1)
        if copies > 1 and not self.frozen:
            waveforms, lengths = waveforms.repeat(copies, 1), lengths.repeat(copies)
        encoded = self.encode(waveforms, lengths, utterances)
        if copies > 1 and self.frozen:  # without dropout and masks its states are the same every time
            encoded = encoded.repeat(copies)
        logits = None
        if translate:
            memory = self.translator.adapt(encoded).select(source_rows)
            logits = self.translator.decoder(prev_output_tokens, memory.states, memory.lengths)
        found = {name: self.translator.head_logits(name, encoded) for name in heads}
        return {
            "logits": logits,
            "transcript_logits": read,
            "heads": found,
            "frames": encoded.lengths,
            "states": encoded.states,
        }


def check_freezing(config: ModelConfig, freeze_encoder: bool, cache_encoder_states: bool, updates: int) -> None:
    """Refuse options that contradict each other.

    Raises:
        ConfigError: The message names both.
    """
    if cache_encoder_states and not freeze_encoder:
        raise ConfigError("--cache-encoder-states needs --freeze-encoder: states of a learning encoder change")
    if cache_encoder_states and (below := [name for name, head in config.heads.items() if head.layer]):
        raise ConfigError(
            f"--cache-encoder-states keeps the encoder's output only; it excludes a layer (--ctc-layer, or heads in "
            f"config.yaml) for the head {below[0]}"
        )
    if updates < 0:
        raise ConfigError(f"--freeze-finetune-updates is {updates}; expected 0 or more")
    if updates and freeze_encoder:
        raise ConfigError("--freeze-finetune-updates ends after some updates, --freeze-encoder never; choose one")


def compile_layers(translator: SpeechTranslator) -> None:
    """Compile every layer in place; names of parameters stay as they are."""
    decoder = translator.decoder.layers if "decoder" in translator.config.parts else ()
    for layer in (*translator.encoder.encoder.layers, *decoder):
        layer.compile(dynamic=True)


@contextmanager
def _evaluation_mode(module: torch.nn.Module) -> Iterator[None]:
    """Switch dropout and masking off for a while."""
    training = module.training
    module.eval()
    try:
        yield
    finally:
        module.train(training)


def _rename_out(module: Any, state: dict[str, Tensor], prefix: str, _metadata: Any) -> None:
    inside = prefix + "translator."
    own = {key.removeprefix(inside): state.pop(key) for key in list(state) if key.startswith(inside)}
    state.update({prefix + key: value for key, value in to_fairseq(own).items()})


def _rename_in(module: Any, state: dict[str, Tensor], prefix: str, *_rest: Any) -> None:
    own = {key.removeprefix(prefix): state.pop(key) for key in list(state) if key.startswith(prefix)}
    state.update({f"{prefix}translator.{key}": value for key, value in from_fairseq(own).items()})


register_presets("xlsr_mbart", PRESETS)
