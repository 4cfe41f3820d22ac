"""Silero's voice activity detector, through onnxruntime.

Both come with the extra ``vad``. The network is taken out of the package ``silero-vad`` without importing it: the import
loads a second runtime and sets the number of threads of the whole process.

The network reads 512 samples at 16 kHz after the last 64 of the frame before (zeros at the start), and keeps a state; so
a recording of any length gives in blocks what it gives at one go.

Legend: K frames.
"""

from __future__ import annotations

import functools
import importlib.util
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from st.doors.parsing import parsing
from st.errors import ConfigError
from st.segmentation.levels import FRAME, Values

PACKAGE, RUNTIME = "silero_vad", "onnxruntime"
_FILE = Path("data") / "silero_vad_16k_sequence.onnx"
"""Takes many frames at one call, and gives for each what the network gives frame by frame."""
_CONTEXT = 64
"""Samples of the frame before that a frame begins with."""
_STATE = (1, 1, 128)
_MOST_FRAMES = 512
"""Frames of a call."""


def missing() -> list[str]:
    """Return which packages the detector needs and are not installed."""
    return [name for name in (PACKAGE, RUNTIME) if importlib.util.find_spec(name) is None]


def network_file() -> Path:
    """Return where the network is.

    Raises:
        ConfigError: If the package is not installed, or is a version without this file.
    """
    spec = importlib.util.find_spec(PACKAGE)
    for folder in [] if spec is None else spec.submodule_search_locations or []:
        if (Path(folder) / _FILE).is_file():
            return Path(folder) / _FILE
    found = "it is not installed" if spec is None else f"it has no {_FILE.name}"
    raise ConfigError(
        f"Silero's detector comes with the package silero-vad, 6.2 or newer, and {found}; pip install 'xlsr-st[vad]'"
    )


@functools.cache
def _session(path: Path, num_threads: int) -> Any:
    """Return the network, which keeps nothing of a recording and may be used from several threads."""
    runtime: Any = import_module(RUNTIME)
    options = runtime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = num_threads
    with parsing(path, ConfigError, expected="Silero's network", also=(Exception,)):
        return runtime.InferenceSession(str(path), sess_options=options, providers=["CPUExecutionProvider"])


class SileroDetector:
    """See :class:`st.segmentation.levels.SpeechDetector`.

    Raises:
        ConfigError: On construction, if the packages are missing or the network cannot be read.
    """

    knows_voices = True

    def __init__(self, num_threads: int = 1) -> None:
        path = network_file()
        if RUNTIME in missing():
            raise ConfigError("Silero's detector needs the package onnxruntime; pip install 'xlsr-st[vad]'")
        self._session = _session(path, num_threads)
        self._context = np.zeros(_CONTEXT, dtype=np.float32)
        self._state = (np.zeros(_STATE, dtype=np.float32), np.zeros(_STATE, dtype=np.float32))
        self._found: list[Values] = []

    def push(self, frames: Values) -> None:
        """Take the next frames ``(K, FRAME)``."""
        for start in range(0, len(frames), _MOST_FRAMES):
            part = np.ascontiguousarray(frames[start : start + _MOST_FRAMES], dtype=np.float32)
            before = np.concatenate([self._context[None], part[:-1, FRAME - _CONTEXT :]])
            inputs = {"input": np.concatenate([before, part], axis=1), "h": self._state[0], "c": self._state[1]}
            probabilities, *state = self._session.run(None, inputs)
            self._state = (state[0], state[1])
            self._context = part[-1, FRAME - _CONTEXT :].copy()
            self._found.append(np.asarray(probabilities, dtype=np.float32).reshape(-1))

    def finish(self, levels: Values) -> Values:
        """Return the probabilities ``(F,)``."""
        if not self._found:
            return np.zeros(len(levels), dtype=np.float32)
        return np.concatenate(self._found)
