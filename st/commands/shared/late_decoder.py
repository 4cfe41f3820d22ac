"""The model that `st evaluate` decodes with: loaded when it is needed, for each language if it has adapters."""

from __future__ import annotations

import argparse
import dataclasses
import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from st.commands.shared.recordings import memory_transcripts, use_memory, warn_untrained

if TYPE_CHECKING:
    from st.decoding.options import BeamOptions
    from st.evaluation.decoder import Decoded, Decoder, Waveform


class LateDecoder:
    """Loads the model when the first batch is there: bringing shards together needs none.

    One with adapters is loaded for each language; no batch has two.
    """

    def __init__(
        self,
        args: argparse.Namespace,
        directions: Sequence[str],
        translated: Sequence[str],
        options: BeamOptions,
        *,
        by_language: bool,
    ) -> None:
        self._args, self._directions, self._translated, self._options = args, directions, translated, options
        self._by_language = by_language
        self._decoder: Decoder | None = None
        self._language: str | None = None

    def decode_batch(
        self, waveforms: Sequence[Waveform], target_languages: Sequence[Sequence[str]], spoken: Sequence[str]
    ) -> Sequence[Decoded]:
        """Decode a batch with the model of the command line."""
        language = spoken[0] if self._by_language else None
        if self._decoder is None or language != self._language:
            self._decoder = None  # Two large models need not fit.
            self._decoder = _load(self._args, self._directions, self._translated, self._options, language)
            self._language = language
        return self._decoder.decode_batch(waveforms, target_languages, spoken)


def _load(
    args: argparse.Namespace,
    directions: Sequence[str],
    translated: Sequence[str],
    options: BeamOptions,
    language: str | None,
) -> Decoder:
    from st.inference import TranscriptOptions, load_translator
    from st.text.languages import split_direction

    decoder = None if args.joint_ctc_weight is None else options
    # The settings of a report tell no language model but that of the memory.
    transcripts = TranscriptOptions(decoder=decoder, no_lm=True, language=language)
    if decoder is None and (heard := memory_transcripts(args.memory)) is not None:
        transcripts = dataclasses.replace(heard, no_lm=True, language=language)
    translator = load_translator(
        args.checkpoint,
        # A recogniser has its own letters, and a tree of transcripts alone needs no vocabulary of a decoder.
        data_dir=args.data if translated else None,
        device=own_device(args.device, os.environ),
        dtype=args.dtype,
        options=options,
        ensemble=args.ensemble,
        transcripts=transcripts,
        keep_all=True,  # Scores are of what the model writes for every recording, as published ones are.
    )
    if args.joint_ctc_weight is not None or not translated:
        translator.check_transcribes()
    if args.joint_ctc_weight is not None:
        translator.check_languages([split_direction(direction)[0] for direction in directions])
    # A target that the model has no tag for must not come up after an hour of the other directions.
    targets = [split_direction(direction)[1] for direction in translated]
    translator.check_languages(targets)
    warn_untrained(translator, targets)
    use_memory(args, translator)
    return translator


def own_device(device: str, environment: Mapping[str, str]) -> str:
    """Return the GPU of this process under ``torchrun``, where all were asked for the same."""
    import torch

    rank = environment.get("LOCAL_RANK")
    if rank is None or device not in ("auto", "cuda") or not torch.cuda.is_available():
        return device
    return f"cuda:{int(rank) % torch.cuda.device_count()}"
