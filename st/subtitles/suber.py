"""SubER, the edit rate of subtitles with their times and breaks, where its package is installed.

The package wants exact versions of sacreBLEU and jiwer, so that it is in no extra of this one.
"""

from __future__ import annotations

import importlib
import tempfile
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

from st.errors import EvaluationError
from st.files import write_text
from st.subtitles.cues import Cue
from st.subtitles.formats.cue_formats import CueFile, write_cues

PACKAGE = "subtitle-edit-rate"


def suber(hypotheses: Sequence[Cue], references: Sequence[Cue], code: str | None) -> tuple[float, str]:
    """Return SubER in percent, less being better, and what computed it.

    Args:
        hypotheses: Cues of one recording.
        references: Those that people made.
        code: Language; the package divides Chinese, Japanese and Korean into words.

    Raises:
        EvaluationError: If the package is not there.
    """
    try:
        scores = importlib.import_module("suber.metrics.suber")
        readers = importlib.import_module("suber.file_readers")
    except ImportError as error:
        raise EvaluationError(
            f"SubER needs the package {PACKAGE}: {error}; pip install --no-deps {PACKAGE} regex, as it asks for another "
            "version of sacreBLEU than this"
        ) from error
    base = (code or "").split("-")[0]
    with tempfile.TemporaryDirectory() as folder:
        read = []
        for name, cues in (("hypotheses.srt", hypotheses), ("references.srt", references)):
            write_text(Path(folder) / name, write_cues(cues, "srt", CueFile([None])))
            read.append(readers.read_input_file(str(Path(folder) / name), file_format="SRT"))
    score = scores.calculate_SubER(*read, language=base if base in ("zh", "ja", "ko") else None)
    return float(score), f"SubER, {PACKAGE} {version(PACKAGE)}"
