"""Training sets in which utterances have nothing to learn from: said once, before the first update."""

from __future__ import annotations

import logging
from collections.abc import Collection
from typing import Any

from st.errors import ConfigError
from st.modules.config import CTC

logger = logging.getLogger(__name__)


def report_missing_texts(task: Any, translate: bool, heads: Collection[str]) -> None:
    """Say how many utterances of the training sets have no translation, and how many no text for each head.

    Args:
        task: Whose training sets are loaded.
        translate: Whether the decoder learns.
        heads: Names of the heads that learn.

    Raises:
        ConfigError: If the decoder is to learn and no utterance has a translation, or it is not and none has a text for
            any head.
    """
    sets = [each.dataset for each in getattr(task, "datasets", {}).values() if getattr(each, "shuffle", False)]
    utterances = [utterance for each in sets for utterance in each.utterances]
    known = [utterance.texts if CTC in task.labels else utterance.more for utterance in utterances]
    untranslated = sum(not utterance.targets for utterance in utterances)
    if translate and untranslated:
        if untranslated == len(utterances):
            raise ConfigError(
                "no training utterance has a translation (tgt_lang and tgt_text in the manifests); add them, or train the "
                "heads alone with --translation-weight 0"
            )
        logger.warning(
            "%d of %d training utterances have no translation: the decoder leaves them out",
            untranslated,
            len(utterances),
        )
    untaught = []
    for place, name in enumerate(task.labels):
        if name not in heads:
            continue
        texts = [texts[place] for texts in known]
        missing = sum(not any(map(str.isalnum, text)) for text in texts)
        if missing and missing == len(texts):
            untaught.append(name)
        elif missing:
            logger.warning(
                "%d of %d training utterances have no %s: the head %s leaves them out",
                missing,
                len(texts),
                _what(name),
                name,
            )
    if untaught and not translate and len(untaught) == len(heads):
        raise ConfigError(
            f"no training utterance has a {_what(untaught[0])}, and --translation-weight 0 learns from nothing else; add "
            "them, or translate"
        )
    for name in untaught:
        spared = "--ctc-weight 0" if name == CTC else f"--head-weights {name}=0"
        logger.warning(
            "no training utterance has a %s: the head stays untrained; %s spares its computation", _what(name), spared
        )


def _what(head: str) -> str:
    """Return what a head learns from, for messages."""
    return "transcript (src_text in the manifests)" if head == CTC else f"text for the head {head}"
