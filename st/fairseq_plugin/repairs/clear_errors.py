"""Inside fairseq's commands, end with one sentence instead of a stack trace where the user can mend the cause."""

from __future__ import annotations

import dataclasses
import functools
import sys
from collections.abc import Callable
from pathlib import Path
from typing import ParamSpec, TypeVar

from st.audio.augmentation import AugmentationConfig
from st.console import print_error
from st.decoding.sampling import SamplingOptions
from st.errors import StError, with_flags
from st.modules.pretraining.config import PretrainingConfig

FLAGS = {
    **{
        field.name: field.name
        for config in (AugmentationConfig, SamplingOptions, PretrainingConfig)
        for field in dataclasses.fields(config)
    },
    **{name: name for name in ("sampling_alpha", "freeze", "ctc_layer", "languages")},
    "mask_time_prob": "encoder_mask_time_prob",
    "mask_channel_prob": "encoder_mask_channel_prob",
    "length_penalty": "lenpen",
    "no_repeat_ngram": "no_repeat_ngram_size",
    "unk_penalty": "unkpen",
    "top_k": "sampling_topk",
    "top_p": "sampling_topp",
}
"""Fields that a message may name, and the names of their options in fairseq's commands."""

Parameters = ParamSpec("Parameters")
Result = TypeVar("Result")


def in_fairseq_command() -> bool:
    """Return whether this process is ``fairseq-train``, ``fairseq-hydra-train``, ``fairseq-generate`` and so on."""
    return Path(sys.argv[0]).name.startswith("fairseq")


def clear_errors(function: Callable[Parameters, Result]) -> Callable[Parameters, Result]:
    """Decorate what fairseq calls: an error of ours prints its sentence and ends the command with its exit code.

    Elsewhere, in a notebook or a test, the error is raised as it is.
    """

    @functools.wraps(function)
    def wrapper(*args: Parameters.args, **kwargs: Parameters.kwargs) -> Result:
        try:
            return function(*args, **kwargs)
        except StError as exc:
            if not in_fairseq_command():
                raise
            print_error(Path(sys.argv[0]).name, with_flags(str(exc), FLAGS.get))
            raise SystemExit(exc.exit_code) from None

    return wrapper
