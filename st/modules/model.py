"""The whole model: speech encoder, length adaptor, text decoder, heads.

Legend: N utterances, T samples, S frames, S' memory states, R targets, U target tokens, V vocabulary, C labels.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from torch import Tensor, nn

from st.errors import ConfigError
from st.modules.config import CTC, ModelConfig
from st.modules.heads import MIXED, head_kind, head_options
from st.modules.label_adaptor import LabelAdaptor
from st.modules.length_adaptor import LengthAdaptor
from st.modules.speech_encoder import SpeechEncoder
from st.modules.text_decoder import TextDecoder


@dataclass
class Encoded:
    """What the encoder makes of a batch of utterances."""

    states: Tensor
    """Frame states ``(N, S, M)``; meaningless beyond ``lengths``."""
    lengths: Tensor
    """Valid frames ``(N,)``."""
    taps: Mapping[int, Tensor] = field(default_factory=dict)
    """What layers below the last put out, by number from 1, ``(N, S, M)``; of those that a head reads. By
    :data:`st.modules.heads.MIXED` what the first layer reads and what all put out, ``(N, L+1, S, M)``."""

    def layer(self, number: int) -> Tensor:
        """Return what a head on layer ``number`` reads ``(N, S, M)``; 0 stands for ``states``."""
        return self.taps[number] if number else self.states

    def select(self, rows: Tensor) -> Encoded:
        """Return the utterances ``rows`` ``(R,)``, repeats allowed, for the decoder to read."""
        return Encoded(self.states.index_select(0, rows), self.lengths.index_select(0, rows))

    def repeat(self, copies: int) -> Encoded:
        """Return all utterances ``copies`` times, one copy after the other."""
        taps = {layer: states.repeat(copies, *[1] * (states.dim() - 1)) for layer, states in self.taps.items()}
        return Encoded(self.states.repeat(copies, 1, 1), self.lengths.repeat(copies), taps)


class SpeechTranslator(nn.Module):
    """XLS-R encoder, mBART decoder and heads in one; ``config`` tells which of them it has.

    A head is a module under its own name, such as ``ctc``.
    """

    encoder: SpeechEncoder
    length_adaptor: LengthAdaptor | LabelAdaptor
    decoder: TextDecoder

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        if "encoder" in config.parts:
            self.encoder = SpeechEncoder(config.encoder)
        if "length_adaptor" in config.parts:
            self.length_adaptor = length_adaptor(config)
        if "decoder" in config.parts:
            self.decoder = TextDecoder(config.decoder)
        for name, head in config.heads.items():
            if hasattr(self, name):
                raise ConfigError(
                    f"a head cannot be named {name}, as something else of the model is; choose another name"
                )
            options = head_options(head.kind, head.options)
            if head.layer in MIXED:
                options["mixed"] = config.encoder.num_layers + 1
            self.add_module(name, head_kind(head.kind).module(config.encoder.dim, head.size, **options))

    def encode(self, waveforms: Tensor, lengths: Tensor) -> Encoded:
        """Encode waves ``(N, T)`` of ``lengths`` ``(N,)`` samples; see :meth:`SpeechEncoder.forward`."""
        layers = {head.layer for head in self.config.heads.values() if head.layer}
        return Encoded(*self.encoder.forward_with_taps(waveforms, lengths, layers))

    def adapt(self, encoded: Encoded) -> Encoded:
        """Shorten frames to the memory that the decoder reads, ``(N, S', M)``."""
        heard = (self.ctc_logits(encoded),) if self.config.length_adaptor.text_layers else ()
        return Encoded(*self.length_adaptor(encoded.states, encoded.lengths, *heard))

    def read(self, labels: Tensor, lengths: Tensor) -> Encoded:
        """Return the memory ``(N, S', M)`` of transcripts, labels ``(N, S')`` of ``lengths`` ``(N,)``.

        Raises:
            ValueError: If the model reads no transcripts.
        """
        if not isinstance(self.length_adaptor, LabelAdaptor):
            raise ValueError("this model reads no transcripts; it was built without length_adaptor text_layers")
        return Encoded(*self.length_adaptor.read(labels, lengths))

    def head_logits(self, name: str, encoded: Encoded) -> Tensor:
        """Return the logits of a head; ``(N, S, C)`` with CTC.

        Raises:
            ValueError: If the model has no such head.
        """
        if name not in self.config.heads:
            raise ValueError(f"this model has no head {name}")
        states = encoded.layer(self.config.heads[name].layer)
        return self.get_submodule(name)(states, encoded.lengths)  # type: ignore[no-any-return]

    def ctc_logits(self, encoded: Encoded) -> Tensor:
        """Return the logits ``(N, S, C)`` of the head ``ctc``; see :meth:`head_logits`."""
        return self.head_logits(CTC, encoded)

    def forward(self, waveforms: Tensor, lengths: Tensor, tokens: Tensor) -> Tensor:
        """Return decoder logits ``(N, U, V)`` for waves and decoder inputs ``(N, U)``."""
        memory = self.adapt(self.encode(waveforms, lengths))
        return self.decoder(tokens, memory.states, memory.lengths)  # type: ignore[no-any-return]


def length_adaptor(config: ModelConfig) -> LengthAdaptor | LabelAdaptor:
    """Return what stands between encoder and decoder."""
    if config.length_adaptor.text_layers:
        return LabelAdaptor(config.length_adaptor, config.encoder, config.decoder, config.ctc_vocab_size)
    return LengthAdaptor(config.length_adaptor, config.encoder.dim, config.decoder.dim)
