"""Speech translation on XLS-R; also the fairseq plugin of ``--user-dir st``.

>>> import st
>>> translator = st.load_translator("checkpoint_best.pt")  # doctest: +SKIP
>>> translator.translate("clip.mp3", to="de").translations["de"]  # doctest: +SKIP

What ``dir(st)`` lists is the public API. Everything else is private by convention: it may move or change with any version.

Importing this package is light: it loads neither torch nor fairseq. Where fairseq is loaded already, as in its own
commands, the task, the model, the criterion and the optimizer are registered with it.
"""

from __future__ import annotations

import sys
from importlib import import_module
from typing import TYPE_CHECKING, Any

from st.errors import StError as StError

if TYPE_CHECKING:
    from st.checkpoints.loading import load as load
    from st.decoding.options import BeamOptions as BeamOptions
    from st.decoding.sampling import SamplingOptions as SamplingOptions
    from st.inference.alignment.alignable import AlignOptions as AlignOptions
    from st.inference.alignment.aligned import Alignment as Alignment
    from st.inference.alignment.recording import align_recording as align_recording
    from st.inference.alignment.word_times import TimedText as TimedText
    from st.inference.identification.identifier import Identified as Identified
    from st.inference.identification.identifier import Identifier as Identifier
    from st.inference.identification.identifier import IdentifyOptions as IdentifyOptions
    from st.inference.identification.identifier import load_identifier as load_identifier
    from st.inference.load import load_translator as load_translator
    from st.inference.long.segments import Segment as Segment
    from st.inference.long.segments import Word as Word
    from st.inference.long.types import LongOptions as LongOptions
    from st.inference.results.decoded import DecodedUtterance as DecodedUtterance
    from st.inference.results.decoded import Translation as Translation
    from st.inference.transcription.transcriber import TranscriptOptions as TranscriptOptions
    from st.inference.translator import Translator as Translator

__version__ = "0.1.0"

_HOMES = {
    "AlignOptions": "st.inference.alignment.alignable",
    "Alignment": "st.inference.alignment.aligned",
    "BeamOptions": "st.decoding.options",
    "DecodedUtterance": "st.inference.results.decoded",
    "Identified": "st.inference.identification.identifier",
    "Identifier": "st.inference.identification.identifier",
    "IdentifyOptions": "st.inference.identification.identifier",
    "LongOptions": "st.inference.long.types",
    "SamplingOptions": "st.decoding.sampling",
    "Segment": "st.inference.long.segments",
    "TimedText": "st.inference.alignment.word_times",
    "TranscriptOptions": "st.inference.transcription.transcriber",
    "Translation": "st.inference.results.decoded",
    "Translator": "st.inference.translator",
    "Word": "st.inference.long.segments",
    "align_recording": "st.inference.alignment.recording",
    "load": "st.checkpoints.loading",
    "load_identifier": "st.inference.identification.identifier",
    "load_translator": "st.inference.load",
}
"""Where each public name is imported from when it is first used."""


def register_plugins() -> None:
    """Register what there is with fairseq, and repair what it lacks; calling it again changes nothing.

    Raises:
        ConfigError: If the recipe of ``fairseq-hydra-train`` leaves an option open.
    """
    import st.fairseq_plugin.criterion
    import st.fairseq_plugin.fused_adam
    import st.fairseq_plugin.model
    import st.fairseq_plugin.pretraining.criterion
    import st.fairseq_plugin.pretraining.model
    import st.fairseq_plugin.pretraining.task
    import st.fairseq_plugin.task  # noqa: F401
    from st.fairseq_plugin.repairs.open_options import refuse_open_options
    from st.fairseq_plugin.repairs.table import install

    refuse_open_options()
    install()


if "fairseq" in sys.modules and hasattr(sys.modules["fairseq"], "tasks"):
    register_plugins()


def __getattr__(name: str) -> Any:
    """Import a public name on first use."""
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    """List the public API."""
    return ["StError", *_HOMES, "__version__"]
