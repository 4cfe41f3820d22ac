"""A model that hears the language of tones in recordings of any length, and what every decoding has to account for."""

from __future__ import annotations

from pathlib import Path

import torch
from tone_language import VOCABULARY, ToneTranslator

from st.data.clips import Clips
from st.inference import TranscriptOptions
from st.inference.ensemble import ctc_logits
from st.inference.long.decoding import LongDecoder
from st.inference.long.pieces import Heard, Skipped
from st.inference.long.types import Begun, Finished, LongSource
from st.inference.results.decoded import DecodedUtterance
from st.inference.transcription.transcriber import Transcriber


class LongToneTranslator(ToneTranslator):
    """Hears the language of tones in recordings of any length."""

    keep_all, clips = False, Clips()

    def __init__(self) -> None:
        self.transcriber = Transcriber.__new__(Transcriber)
        self.transcriber.model, self.transcriber.ctc, self.transcriber.text = self.model, VOCABULARY, None
        self.transcriber.options = TranscriptOptions()
        self.transcriber._frame_s, self.transcriber._impossible = 0.02, None
        self.transcriber._lm = self.transcriber._words = self.transcriber._evidence = None

    def decode(self, waveforms: list, _targets: list, *, times: bool) -> list[DecodedUtterance]:
        """Hear each recording by itself."""
        waves = [torch.as_tensor(wave)[None] for wave in waveforms]
        encoded = [self.model.encode(wave, torch.tensor([wave.size(1)])) for wave in waves]
        return [self.transcriber.of_logits(ctc_logits([self], [one])[0], times=times) for one in encoded]


def pieces_of(decoder: LongDecoder, path: Path | str) -> list[Heard | Skipped]:
    (_, first), *middle, (_, last) = decoder.decode([LongSource(str(path), path)])
    assert isinstance(first, Begun)
    assert last == Finished()
    pieces = [piece for _, piece in middle]
    check_accounts(pieces, first.duration_s)
    return pieces


def check_accounts(pieces: list[Heard | Skipped], duration_s: float) -> None:
    """Every second is in a piece, none in two."""
    spans = [(piece.segment.start, piece.segment.end) if isinstance(piece, Heard) else (piece.start, piece.end)
             for piece in pieces]  # fmt: skip
    assert [start for start, _ in spans] == [0, *(end for _, end in spans[:-1])]
    assert spans[-1][1] == duration_s
    assert all(start < end for start, end in spans)
