"""From a checkpoint to a :class:`Translator`."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from st.decoding.options import BeamOptions
from st.errors import CheckpointError
from st.inference.precision import choose_device, choose_dtype, prepare
from st.inference.transcription.choice import name_languages, settle_transcripts
from st.inference.transcription.transcriber import TranscriptOptions
from st.inference.translator import Translator


def load_translator(
    checkpoint: Path | str,
    *,
    data_dir: Path | str | None = None,
    device: str = "auto",
    dtype: str = "float32",
    padding: str | None = "masked",
    options: BeamOptions | None = None,
    transcripts: TranscriptOptions | None = None,
    ensemble: Path | str | Sequence[Path | str] = (),
    keep_all: bool = False,
    **beam_options: Any,
) -> Translator:
    """Load a model and everything it needs to turn audio into text.

    Args:
        checkpoint: Anything that :func:`st.load` opens and that can turn audio into text.
        data_dir: Prepared tree to take the vocabularies from; None for those in the checkpoint.
        device: ``cpu``, ``cuda``, ``cuda:1`` …, or ``auto``: the GPU if there is one.
        dtype: ``float32``, ``bfloat16`` or ``float16``; norms and sums are computed in float32 in any case. ``int8`` on a
            CPU: linear layers and the logits of the vocabulary in 8 bits, the rest in bfloat16 or float32.
        padding: How the length adaptor treats padding, see :data:`st.checkpoints.loading.PADDINGS`. A published
            translation model gives the same text alone as where it comes from, and in a batch too; None for its
            origin's numbers in padded batches.
        options: How to search.
        transcripts: How to transcribe; a model of MMS gets the adapters and the head of its language.
        ensemble: Another checkpoint, or several, whose probabilities are averaged with this one's; see :meth:`Translator.join`.
        keep_all: Whether to decode recordings in which nobody can be heard too; see :mod:`st.audio.audible`.
        beam_options: Fields of :class:`BeamOptions`, instead of ``options``.

    Raises:
        CheckpointError: If the checkpoint cannot be used.
        ConfigError: If a vocabulary is malformed, an option out of range, the dictionaries of an ensemble differ, or
            nobody knows the languages to choose from.
        UsageError: If there is no such device or number type.
    """
    from st.checkpoints.loading import load

    if options is not None and beam_options:
        raise TypeError(f"give either options or {', '.join(beam_options)}")
    options = options or BeamOptions(**beam_options)
    place = choose_device(device)
    number_type = choose_dtype(dtype, place)
    others = [ensemble] if isinstance(ensemble, (str, Path)) else ensemble
    for path in others:
        require_checkpoint(path)
    spoken = None if transcripts is None else transcripts.language
    bundle = load(
        checkpoint,
        data_dir=data_dir,
        device=place,
        padding=padding,
        language=spoken,
        dtype=torch.int8 if number_type == torch.int8 else None,
    )
    if transcripts is not None and bundle.language is not None:
        transcripts = dataclasses.replace(transcripts, own_letters=True)
    if transcripts is not None:
        taught = bundle.decoder_transcribes
        transcripts = name_languages(transcripts, bundle)
        transcripts = settle_transcripts(transcripts, bundle.trained_directions, decoder_transcribes=taught)
    computed = prepare(bundle.model, number_type)
    translator = Translator(
        bundle.model,
        bundle.text,
        bundle.ctc,
        standardize_audio=bundle.config.standardize_audio,
        options=options,
        dtype=computed,
        trained_directions=bundle.trained_directions,
        decoder_trained=bundle.decoder_trained,
        decoder_transcribes=bundle.decoder_transcribes,
        transcripts=transcripts,
        keep_all=keep_all,
        lm=bundle.lm,
        labels=bundle.labels,
        clips=bundle.config.clips,
    )
    for path in others:
        translator.join(
            load_translator(path, data_dir=data_dir, device=device, dtype=dtype, padding=padding, options=options)
        )
    return translator


def require_checkpoint(checkpoint: Path | str) -> None:
    """Raise CheckpointError if there is nothing of that name, before something else takes its time to load."""
    from st.checkpoints.hub import is_of_hub

    if not is_of_hub(checkpoint) and not Path(checkpoint).exists():
        raise CheckpointError(f"{checkpoint}: no such file")
