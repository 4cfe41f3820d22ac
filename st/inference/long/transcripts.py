"""Transcripts of long recordings by the CTC head: windows joined in the logits, decoded where the head hears a pause."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

import torch
from torch import Tensor

from st.audio.reading import SAMPLE_RATE
from st.inference.long.frame_pieces import divide_frames
from st.inference.long.journal import Record
from st.inference.long.pieces import later
from st.inference.long.types import LongModel, LongSource
from st.inference.long.windows import FrameRange, LongEncoder, Wave
from st.inference.results.decoded import DecodedUtterance
from st.inference.transcription.transcriber import Transcriber
from st.segmentation.plan import Plan
from st.text.languages import language

PAUSE_S = 1.0
"""Time without a letter that ends a segment of a transcript."""


def transcribe_frames(
    model: LongModel, transcriber: Transcriber, source: LongSource, wave: Wave, plan: Plan, longest_s: float
) -> Iterator[Record]:
    """Yield what was said in the stretches, divided where the CTC head hears a pause, after so many seconds at most."""
    encoder, spoken = LongEncoder(model), transcriber.options.language
    ranges = [encoder.frames_of(span.start, span.end, wave.num_samples) for span in plan.stretches]
    asked = [frames for frames in ranges if frames[0] < frames[1]]
    logits = encoder.logits(source.audio, wave, parts=asked) if asked else iter(())
    longest, pause = (round(length / encoder.frame_s) for length in (longest_s, PAUSE_S))
    spaced = spoken is None or language(spoken).spaced
    for span, frames in zip(plan.stretches, ranges, strict=True):
        if frames[0] >= frames[1]:
            yield Record(DecodedUtterance("", {}, reason="too_short"), span.start, span.end)
        start = span.start
        windows = _windows_of(frames, logits)
        delimiter = transcriber.ctc.delimiter
        for piece in divide_frames(windows, longest=longest, pause=pause, delimiter=delimiter, spaced=spaced):
            stop = frames[0] + piece.start + len(piece)
            end = span.end if stop == frames[1] else stop * encoder.stride
            with torch.inference_mode():
                decoded = transcriber.of_logits(piece.logits, times=True)
            # The first frame of a stretch begins a little behind the stretch.
            first = (frames[0] + piece.start) * encoder.stride
            words = tuple(later(word, (first - start) / SAMPLE_RATE) for word in decoded.words or ())
            reason = None if model.keep_all else decoded.reason
            decoded = dataclasses.replace(decoded, words=words, reason=reason)
            # Symbols such as phonemes have spaces between them anyway.
            yield Record(decoded, start, end, piece.continues and not transcriber.ctc.spaced)
            start = end


def _windows_of(frames: FrameRange, logits: Iterator[Tensor]) -> Iterator[Tensor]:
    """Yield as many windows as the frames are made of."""
    left = frames[1] - frames[0]
    while left > 0:
        window = next(logits)
        left -= len(window)
        yield window
