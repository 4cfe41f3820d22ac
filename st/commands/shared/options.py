"""Options that several commands have, of ``st`` and ``covost``: declared once, so that each means the same everywhere."""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable, Container, Sequence
from pathlib import Path
from typing import Any

from st.errors import UsageError, with_flags

_SHARD = re.compile(r"([0-9]{1,9})/([0-9]{1,9})")


FLAGS = {
    "by": "split_by",
    "data_dir": "data",
    "dev": "dev_share",
    "dictionary": "dict",
    "hotwords": "hotword",
    "join_gap_s": "join_gap",
    "languages": "lang",
    "length_penalty": "lenpen",
    "max_s": "max_duration",
    "max_sentences": "vocab_sentences",
    "min_gap_s": "min_gap",
    "min_s": "min_duration",
    "model_weight": "lm_weight",
    "num_train_voices": "voices",
    "spm_model": "spm",
    "test": "test_share",
    "trim": "trim_vocab",
    "weight": "rescore_weight",
    "window_s": "window_seconds",
}
"""Fields of options whose flags have other names."""


Option = tuple[str, Callable[[str], Any], str, Any, str]
"""An option with a value: its flag, the type, what stands for the value in the help, the default, and the help."""


def add_options(parser: argparse.ArgumentParser, options: Sequence[Option]) -> None:
    """Declare options, in this order."""
    for flag, kind, metavar, default, text in options:
        parser.add_argument(flag, type=kind, metavar=metavar, default=default, help=text)


def in_flags(message: str, options: Container[str]) -> str:
    """Write the fields that stand between backquotes in a message as the flags of a command that has these options."""

    def flag_of(field: str) -> str | None:
        return next((name for name in (FLAGS.get(field, field), field) if name in options), None)

    return with_flags(message, flag_of)


def shard_numbers(text: str) -> tuple[int, int]:
    """Read ``i/n`` of ``--shard``.

    Raises:
        UsageError: If it is not of this form, or not 1 <= i <= n.
    """
    match = _SHARD.fullmatch(text)
    if match is None or not 1 <= int(match[1]) <= int(match[2]):
        raise UsageError(f"--shard is {text!r}; expected i/n with i from 1 to n, such as 1/3, 2/3 and 3/3")
    return int(match[1]), int(match[2])


def add_shard_argument(parser: argparse.ArgumentParser, text: str) -> None:
    """Declare ``--shard``, for commands whose work can be divided."""
    parser.add_argument("--shard", type=shard_numbers, metavar="i/n", help=f"{text} (default: everything)")


def add_overwrite_argument(parser: argparse.ArgumentParser, what: str = "--out") -> None:
    """Declare ``--overwrite``, and ``--force``, which some commands called it before."""
    parser.add_argument("--overwrite", action="store_true", help=f"replace {what} if it exists (default: refuse)")
    parser.add_argument("--force", dest="overwrite", action="store_true", help=argparse.SUPPRESS)


def refuse_existing(path: Path, overwrite: bool, option: str = "--out") -> None:
    """Raise UsageError if a file would be replaced and may not be; devices and pipes are written to."""
    if path.is_file() and not overwrite:
        raise UsageError(f"{option} {path}: exists already; add --overwrite to replace it")


def number_type(name: str) -> str:
    """Return the name of a number type, which may be given as fp32, bf16 or fp16; others stay what they are."""
    return {"fp32": "float32", "bf16": "bfloat16", "fp16": "float16"}.get(name, name)


def add_compute_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what says where and with which numbers a model computes."""
    parser.add_argument("--device", default="auto", help="cpu, cuda, cuda:1, or auto: the GPU if any (default: auto)")
    parser.add_argument(
        "--dtype",
        default="float32",
        type=number_type,
        choices=("float32", "bfloat16", "float16", "int8"),
        help="numbers, also as fp32, bf16, fp16; int8, on CPUs: linear layers in 8 bits, the rest in bfloat16 or float32 (default: float32)",
    )
    parser.add_argument("--threads", type=int, metavar="N", help="CPU threads (default: torch's choice)")


def check_threads(threads: int | None) -> None:
    """Raise UsageError unless there is at least one."""
    if threads is not None and threads < 1:
        raise UsageError(f"--threads is {threads}; expected at least 1")


def add_convention_argument(parser: argparse.ArgumentParser, default: str = "tc") -> None:
    """Declare ``--convention``, for commands that score translations; None stands for the default, which the help names."""
    from st.evaluation.scoring.conventions import CONVENTIONS

    names = "; ".join(f"{name}: {convention.description}" for name, convention in CONVENTIONS.items())
    parser.add_argument(
        "--convention",
        choices=tuple(CONVENTIONS),
        help=f"what of translations and references is compared; {names}. Scores of another one than tc are not those of "
        f"CoVoST 2's papers, and their signatures say so (default: {default})",
    )


def add_vocabulary_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare where the vocabularies of a checkpoint come from that has none itself."""
    parser.add_argument("--data", type=Path, metavar="DIR", help="prepared tree to take the vocabularies from")
    parser.add_argument("--spm", type=Path, metavar="FILE", help="SentencePiece model, if the checkpoint has none")
    parser.add_argument("--dict", type=Path, metavar="FILE", help="fairseq dictionary of the decoder, likewise")
    parser.add_argument("--ctc-vocab", type=Path, metavar="FILE", help="vocab.json of the CTC head, likewise")
