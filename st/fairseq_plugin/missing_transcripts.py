"""Training sets in which utterances have no transcript: said once, before the first update."""

from __future__ import annotations

import logging
from typing import Any

from st.errors import ConfigError

logger = logging.getLogger(__name__)


def report_missing_transcripts(task: Any, translate: bool) -> None:
    """Say how many utterances of the training sets the CTC loss learns nothing from.

    Args:
        task: Whose training sets are loaded.
        translate: Whether the decoder learns.

    Raises:
        ConfigError: If no utterance has a transcript, and nothing else is to be learnt from.
    """
    sets = [each.dataset for each in getattr(task, "datasets", {}).values() if getattr(each, "shuffle", False)]
    texts = [utterance.src_text for each in sets for utterance in each.utterances]
    missing = sum(not any(map(str.isalnum, text)) for text in texts)
    if not missing:
        return
    if missing < len(texts):
        logger.warning("%d of %d training utterances have no transcript: CTC leaves them out", missing, len(texts))
        return
    where = "no training utterance has a transcript (src_text in the manifests)"
    if not translate:
        raise ConfigError(f"{where}, and --translation-weight 0 learns from nothing else; add them, or translate")
    logger.warning(
        "%s: only translation is learnt, and the CTC head stays untrained; --ctc-weight 0 spares its computation", where
    )
