"""COMET, where its package is installed; without it an evaluation goes on and says so.

The package reads its own model files, which are pickled: name only models that you trust.
"""

from __future__ import annotations

import importlib
import logging
from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from st.checkpoints.hub import is_of_hub
from st.errors import CheckpointError
from st.evaluation.scoring.hypotheses import HypothesisRow

logger = logging.getLogger(__name__)

PACKAGE = "unbabel-comet"
BATCH_SIZE = 16


def why_not() -> str | None:
    """Return why COMET is skipped whatever the texts are, or None if its package is there."""
    try:
        importlib.import_module("comet")
    except ImportError as error:
        return _skipped(f"{error}; install it with: pip install {PACKAGE}")
    return None


def comet_scores(model: str, tables: Mapping[str, Sequence[HypothesisRow]]) -> tuple[dict[str, float], str]:
    """Score directions with a COMET model.

    Args:
        model: Hub id such as ``Unbabel/wmt22-comet-da``, or a checkpoint file.
        tables: Hypotheses with references and sources, by direction.

    Returns:
        COMET by direction, in percent, and what was used; or nothing, and why it was skipped.
    """
    missing = why_not()
    if missing:
        return {}, missing
    try:
        comet = importlib.import_module("comet")
        scorer = comet.load_from_checkpoint(model if _is_local(model) else comet.download_model(model))
        scores = {name: _score(scorer, rows) for name, rows in tables.items()}
    except (ImportError, OSError, RuntimeError, ValueError, KeyError, CheckpointError) as error:
        return {}, _skipped(f"{model}: {error}")
    return scores, f"{model}, {PACKAGE} {_version()}"


def _is_local(model: str) -> bool:
    """Return whether a model is a file here; the package asks the hub for whatever else it is given.

    Raises:
        CheckpointError: If it is not, and is no name of the hub either.
    """
    path = Path(model)
    if not path.is_file() and (path.name != model or path.suffix) and not is_of_hub(model):
        raise CheckpointError("no such file")
    return path.is_file()


def _score(scorer: Any, rows: Sequence[HypothesisRow]) -> float:
    import torch

    samples = [{"src": row.source, "mt": row.hypothesis, "ref": row.reference} for row in rows]
    gpus = 1 if torch.cuda.is_available() else 0
    return 100.0 * float(scorer.predict(samples, batch_size=BATCH_SIZE, gpus=gpus).system_score)


def _skipped(reason: str) -> str:
    logger.warning("COMET is skipped: %s", reason)
    return f"skipped: {reason}"


def _version() -> str:
    try:
        return version(PACKAGE)
    except PackageNotFoundError:
        return "of unknown version"
