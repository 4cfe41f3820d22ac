"""The errors that users meet: one small tree, each message saying where, what was found, and what to do."""

from __future__ import annotations

import re
from collections.abc import Callable


class StError(Exception):
    """Base of every error this project raises on purpose; a command prints it as one sentence and exits 1.

    Fields of options stand between backquotes in the message, as in "`beam` is 0"; a command writes its flags there.
    """

    exit_code = 1


class UsageError(StError):
    """The command line asks for something that does not exist (exit code 2)."""

    exit_code = 2


class ConfigError(StError):
    """A configuration value is missing, of the wrong type, or contradicts another."""


class ManifestError(StError):
    """A corpus table or manifest does not have the promised layout."""


class AudioError(StError):
    """A recording cannot be decoded or is not usable.

    Attributes:
        reason: Machine-readable cause, such as ``"undecodable"``, ``"empty_audio"`` or ``"too_short"``.
    """

    def __init__(self, message: str, *, reason: str = "undecodable") -> None:
        super().__init__(message)
        self.reason = reason


class CheckpointError(StError):
    """A model file is missing, unsafe, corrupt, or does not fit the model."""


class DecodingError(StError):
    """Decoding was asked for something the model cannot do."""


class EvaluationError(StError):
    """Hypotheses and references cannot be compared."""


class ArchiveError(StError):
    """An archive is damaged, or unpacking it would be dangerous."""


class DownloadError(StError):
    """A file cannot be fetched, or what came is not what was promised."""


class UploadError(StError):
    """A model cannot be sent to the hub, or what the hub has is not what was sent."""


def with_flags(message: str, flag_of: Callable[[str], str | None]) -> str:
    """Write the fields that stand between backquotes in a message as flags.

    Args:
        message: Of an error.
        flag_of: Returns the name of a field's flag, or None if it has none and stays as it is.
    """

    def written(match: re.Match[str]) -> str:
        name = flag_of(match[1])
        return match[0] if name is None else f"--{name.replace('_', '-')}"

    return re.sub(r"`([a-z0-9_]+)`", written, message)


_WRONG_KINDS: dict[type[OSError], str] = {
    FileExistsError: "is a file; expected a folder",
    NotADirectoryError: "is a file, or lies below one; expected a folder",
    IsADirectoryError: "is a folder; expected a file",
}


def system_sentence(error: OSError) -> str:
    """Return what the system could not do as one sentence that names the file."""
    if not error.filename or not error.strerror:
        return str(error)
    return f"{error.filename}: {_WRONG_KINDS.get(type(error), error.strerror)}"


EXTRAS = {
    "fairseq": "train",
    "hydra": "train",
    "tensorboard": "train",
    "polars": "prepare",
    "httpx2": "prepare",
    "espeakng_loader": "sample",
    "lameenc": "sample",
    "matplotlib": "plot",
    "av": "audio",
    "pysubs2": "subtitles",
    "onnx": "onnx",
    "onnxruntime": "onnx",
    "mweralign": "resegment",
    "silero_vad": "vad",
    "ray": "ray",
}
"""Packages that are not always installed, and the extra that brings each."""


def install_sentence(error: ModuleNotFoundError) -> str | None:
    """Return what to install as one sentence; None if what is missing is a module of this project."""
    package = (error.name or "").partition(".")[0]
    if package in ("", "st", "covost"):
        return None
    name = f"xlsr-st[{EXTRAS[package]}]" if package in EXTRAS else "xlsr-st"
    return f"this needs the package {package}, which is not installed; pip install '{name}' brings it"
