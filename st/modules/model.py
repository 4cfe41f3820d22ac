"""The whole model: speech encoder, length adaptor, text decoder, CTC head.

Legend: N utterances, T samples, S frames, S' memory states, R targets, U target tokens, V vocabulary, C labels.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn

from st.modules.config import ModelConfig
from st.modules.ctc_head import CtcHead
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
    ctc_states: Tensor | None = None
    """What the CTC head reads ``(N, S, M)``; None for ``states``."""

    def select(self, rows: Tensor) -> Encoded:
        """Return the utterances ``rows`` ``(R,)``, repeats allowed, for the decoder to read."""
        return Encoded(self.states.index_select(0, rows), self.lengths.index_select(0, rows))

    def repeat(self, copies: int) -> Encoded:
        """Return all utterances ``copies`` times, one copy after the other."""
        ctc_states = None if self.ctc_states is None else self.ctc_states.repeat(copies, 1, 1)
        return Encoded(self.states.repeat(copies, 1, 1), self.lengths.repeat(copies), ctc_states)


class SpeechTranslator(nn.Module):
    """XLS-R encoder, mBART decoder and CTC head in one; ``config.parts`` tells which of them it has."""

    encoder: SpeechEncoder
    adaptor: LengthAdaptor
    decoder: TextDecoder

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        if "encoder" in config.parts:
            self.encoder = SpeechEncoder(config.encoder)
        if "adaptor" in config.parts:
            self.adaptor = LengthAdaptor(config.adaptor, config.encoder.dim, config.decoder.dim)
        if "decoder" in config.parts:
            self.decoder = TextDecoder(config.decoder)
        self.ctc = CtcHead(config.encoder.dim, config.ctc_vocab_size) if config.ctc_vocab_size else None

    def encode(self, waveforms: Tensor, lengths: Tensor) -> Encoded:
        """Encode waves ``(N, T)`` of ``lengths`` ``(N,)`` samples; see :meth:`SpeechEncoder.forward`."""
        if not self.config.ctc_layer:
            return Encoded(*self.encoder(waveforms, lengths))
        return Encoded(*self.encoder.forward_with_tap(waveforms, lengths, self.config.ctc_layer))

    def adapt(self, encoded: Encoded) -> Encoded:
        """Shorten frames to the memory that the decoder reads, ``(N, S', M)``."""
        return Encoded(*self.adaptor(encoded.states, encoded.lengths))

    def ctc_logits(self, encoded: Encoded) -> Tensor:
        """Return the CTC head's logits ``(N, S, C)``.

        Raises:
            ValueError: If the model has no CTC head.
        """
        if self.ctc is None:
            raise ValueError("this model has no CTC head")
        states = encoded.states if encoded.ctc_states is None else encoded.ctc_states
        return self.ctc(states)  # type: ignore[no-any-return]

    def forward(self, waveforms: Tensor, lengths: Tensor, tokens: Tensor) -> Tensor:
        """Return decoder logits ``(N, U, V)`` for waves and decoder inputs ``(N, U)``."""
        memory = self.adapt(self.encode(waveforms, lengths))
        return self.decoder(tokens, memory.states, memory.lengths)  # type: ignore[no-any-return]
