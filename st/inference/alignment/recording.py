"""When was each word of a text said, in a recording of any length, of which the text may lack parts or have too many?

Memory does not grow with the recording, save for a few numbers for each frame and each letter: audio is read block by block,
encoded window by window, scores lie in a file, and the path is found piece by piece.

Legend: S frames.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Sequence

import numpy as np
import numpy.typing as npt
from torch import Tensor

from st.decoding.alignment.anchors import find_pins, heard_letters
from st.decoding.alignment.lattice import Lattice
from st.decoding.alignment.score_rows import ScoreFile
from st.decoding.alignment.viterbi import TABLE_CELLS, Path, best_path
from st.errors import DecodingError
from st.inference.alignment.alignable import AlignableText, AlignOptions
from st.inference.alignment.aligned import AlignedWord, Alignment
from st.inference.alignment.path_times import PathTimes, Stretch
from st.inference.alignment.text_words import TextWord
from st.inference.alignment.word_times import TimedText
from st.inference.long.windows import AudioSource, LongEncoder, Window, measure
from st.inference.translator import Translator
from st.text.ctc_vocabulary import CtcVocabulary

logger = logging.getLogger(__name__)

Track = Callable[[Sequence[Window]], Iterable[Window]]


def align_recording(
    translator: Translator,
    source: AudioSource,
    text: str,
    options: AlignOptions | None = None,
    *,
    name: str | None = None,
    track: Track = iter,
) -> Alignment:
    """Align a text with a recording.

    Args:
        translator: A model with a CTC head.
        source: The recording, of any length.
        text: What was said, in lines; ``<star>`` in it stands for any speech.
        options: How.
        name: What the result calls the recording; None is its file.
        track: Told the windows of audio that are gone through; for a progress bar.

    Raises:
        AudioError: If the recording cannot be used.
        ManifestError: Likewise, of a slice of a store.
        DecodingError: If the model has no CTC head, the text has no word, or all of it is to be found and does not fit
            into the recording.
    """
    translator.check_transcribes()
    if translator.ctc is None:
        raise DecodingError("this model has no CTC vocabulary")
    called = name or ("standard input" if isinstance(source, bytes) else str(source))
    written = AlignableText(text, translator.ctc, options or AlignOptions())
    encoder = LongEncoder(translator)
    wave = measure(source, translator.model.config.encoder.wave_epsilon)
    if wave.truncated:
        logger.warning("%s: the file ends before its header says; using what is there", called)
    with ScoreFile(len(written.columns)) as scores:
        labels = _collect(encoder.logits(source, wave, track), written, scores)
        times = _times(written, labels, scores)
    words = _words(written, times.letters(), translator.ctc, encoder.frame_s)
    extra = [_extra(stretch, labels, translator.ctc, encoder.frame_s) for stretch in times.unwritten()]
    return Alignment(called, text, tuple(words), tuple(extra), written.unknown, wave.duration_s)


def _collect(parts: Iterable[Tensor], written: AlignableText, scores: ScoreFile) -> npt.NDArray[np.int32]:
    """Write down the scores of all frames; return the best label of each ``(S,)``."""
    found = []
    for logits in parts:
        rows, labels = written.columns.rows(logits)
        scores.append(rows)
        found.append(labels)
    return np.concatenate(found)


def _times(written: AlignableText, labels: npt.NDArray[np.int32], scores: ScoreFile) -> PathTimes:
    lattice, columns = written.lattice(), written.columns
    best = columns.of(labels)
    return PathTimes(find_path(scores, lattice, best, columns.delimiter), lattice, best, columns.delimiter, scores)


def find_path(scores: ScoreFile, lattice: Lattice, best: npt.NDArray[np.int32], delimiter: int) -> Path:
    """Find the state of each frame; a path of many is pinned where the text was heard beyond doubt.

    Args:
        scores: Those of all frames.
        lattice: The states.
        best: The column of the best label of each frame ``(S,)``.
        delimiter: Column of what the head writes between words.

    Raises:
        DecodingError: If there is no path.
    """
    pins = find_pins(heard_letters(best, delimiter), lattice) if len(best) * len(lattice) > TABLE_CELLS else []
    try:
        return best_path(scores, lattice, len(best), pins)
    except DecodingError:
        if not pins:
            raise
    # Between two pins every word has to be said, and does not fit; they cannot both be right.
    return best_path(scores, lattice, len(best))


def _words(
    written: AlignableText, heard: dict[int, list[Stretch]], vocabulary: CtcVocabulary, frame_s: float
) -> list[AlignedWord]:
    words, now = [], 0.0
    for number, (word, line) in enumerate(zip(written.words, written.lines, strict=True)):
        content, stretches = written.text[word.start : word.end], heard.get(number, [])
        if not stretches:
            words.append(AlignedWord(TimedText(content, now, now, 0.0, word.start), False, line))
            continue
        frames = [stretch.end - stretch.start for stretch in stretches]
        mean = sum(one.confidence * count for one, count in zip(stretches, frames, strict=True)) / sum(frames)
        start, now = _seconds(Stretch(stretches[0].start, stretches[-1].end, mean), frame_s)
        timed = TimedText(content, start, now, mean, word.start)
        words.append(AlignedWord(timed, True, line, tuple(_letters(word, stretches, vocabulary, frame_s))))
    return words


def _letters(
    word: TextWord, stretches: Sequence[Stretch], vocabulary: CtcVocabulary, frame_s: float
) -> Iterator[TimedText]:
    """Yield the letters of a word; none of one that the head cannot spell."""
    for stretch in stretches if word.labels else ():
        label = word.labels[stretch.letter]
        if label != vocabulary.delimiter:
            yield TimedText(vocabulary.symbols[label], *_seconds(stretch, frame_s), stretch.confidence, word.start)


def _seconds(stretch: Stretch, frame_s: float) -> tuple[float, float]:
    return round(stretch.start * frame_s, 3), round(stretch.end * frame_s, 3)


def _extra(stretch: Stretch, labels: npt.NDArray[np.int32], vocabulary: CtcVocabulary, frame_s: float) -> TimedText:
    heard = vocabulary.decode(labels[stretch.start : stretch.end].tolist())
    return TimedText(heard, *_seconds(stretch, frame_s), stretch.confidence)
