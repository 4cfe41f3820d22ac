"""Decode a test set: every recording encoded once, longest first, and never twice after an interruption."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from st.audio.audible import unheard
from st.audio.reading import SAMPLE_RATE, read_audio
from st.console import progress
from st.errors import EvaluationError
from st.evaluation.corpus import Utterance, make_batches
from st.evaluation.decoder import Decoded, Decoder, Waveform
from st.evaluation.partial import PartialResults
from st.evaluation.shards import WHOLE, Shard
from st.inference.rates import speed_sentence

logger = logging.getLogger(__name__)

Batch = Sequence[Utterance]


def decode_utterances(
    decoder: Decoder,
    utterances: Sequence[Utterance],
    data_dir: Path | str,
    *,
    partial: PartialResults,
    batch_seconds: float,
    batch_size: int | None = None,
    by_language: bool = False,
    shard: Shard = WHOLE,
) -> Mapping[str, Decoded]:
    """Decode what ``partial`` does not hold yet of a shard, and return everything decoded by recording.

    Recordings in which nobody can be heard are decoded like all others, with a warning that counts them.

    Args:
        decoder: The model.
        utterances: The test set.
        data_dir: The prepared tree that their recordings are relative to.
        partial: Earlier results; grows batch by batch.
        batch_seconds: Most audio in a batch, padding counted.
        batch_size: Most recordings in a batch; None for any number.
        by_language: Whether no batch has recordings in two languages.
        shard: Which batches are to be decoded here.

    Raises:
        AudioError: If a recording cannot be read; test recordings are never skipped.
        EvaluationError: If the decoder does not return one result per recording.
    """
    # The batches are those of the whole set, so that resumed runs and shards compute exactly what one run does.
    most = int(batch_seconds * SAMPLE_RATE)
    batches = shard.take(make_batches(utterances, most, batch_size, by_language=by_language))
    pending = [batch for batch in batches if any(item.audio not in partial.items for item in batch)]
    total_s, waiting_s = sum(map(_seconds, batches)), sum(map(_seconds, pending))
    what = (
        f"{sum(map(len, batches))} of {len(utterances)} recordings"
        if shard.count > 1
        else f"{len(utterances)} recordings"
    )
    logger.info("decoding %s (%.1f min) in %d batches", what, total_s / 60, len(batches))
    begun = time.perf_counter()
    with progress(
        total=round(total_s),
        initial=round(total_s - waiting_s),
        unit="s",
        desc=f"decoding {shard}" if shard.count > 1 else "decoding",
        # One bar stands for all processes of one launch: they have equal shares.
        hidden=not shard.leads,
        smoothing=0.05,
    ) as bar:
        nobody: list[str] = []
        for batch, waveforms in _read_ahead(pending, Path(data_dir)):
            nobody += [item.audio for item, waveform in zip(batch, waveforms, strict=True) if unheard(waveform)]
            results = decoder.decode_batch(
                waveforms, [item.targets for item in batch], [item.language for item in batch]
            )
            _check(batch, results)
            partial.add(batch, results)
            bar.update(round(_seconds(batch)))
    if waiting_s:
        logger.info("decoded %s", speed_sentence(waiting_s, time.perf_counter() - begun))
    if nobody:
        logger.warning(
            "nobody can be heard in %d recordings, such as %s; what the model writes for them counts all the same",
            len(nobody),
            nobody[0],
        )
    return partial.items


def _seconds(utterances: Batch) -> float:
    return sum(item.num_samples for item in utterances) / SAMPLE_RATE


def _read_ahead(batches: Sequence[Batch], data_dir: Path) -> Iterator[tuple[Batch, list[Waveform]]]:
    """Yield each batch with its audio, reading the next while this one is decoded."""

    def read(batch: Batch) -> list[Waveform]:
        return [read_audio(str(data_dir / item.audio)) for item in batch]

    if not batches:
        return
    with ThreadPoolExecutor(max_workers=1) as pool:
        coming = pool.submit(read, batches[0])
        for index, batch in enumerate(batches):
            waveforms = coming.result()
            if index + 1 < len(batches):
                coming = pool.submit(read, batches[index + 1])
            yield batch, waveforms


def _check(batch: Batch, results: Sequence[Decoded]) -> None:
    if len(results) != len(batch):
        raise EvaluationError(f"the decoder returned {len(results)} results for a batch of {len(batch)} recordings")
    for item, result in zip(batch, results, strict=True):
        missing = [target for target in item.targets if target not in result.translations]
        if missing:
            raise EvaluationError(f"{item.audio}: the decoder returned no translation into {' '.join(missing)}")
