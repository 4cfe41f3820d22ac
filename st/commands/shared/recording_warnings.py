"""What ``st translate`` and ``st transcribe`` warn of: texts that are empty, cut off, or go in circles."""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from st.inference import DecodedUtterance, Translation
    from st.inference.long.pieces import Piece
    from st.inference.recordings import RecordingResult

logger = logging.getLogger(__name__)

_SHOWN = 5
"""Times of segments that are named."""


def warn(result: RecordingResult, targets: Sequence[str]) -> None:
    """Warn of what is wrong with a result, if anything."""
    if result.pieces is None:
        _warn_of_one(result.name, result.decoded, targets)
    else:
        _warn_of_pieces(result.name, result.pieces, targets)


def _warn_of_one(name: str, decoded: DecodedUtterance, targets: Sequence[str]) -> None:
    from st.inference.results.decoded import REASONS

    if decoded.reason is not None:
        remedy = "; --keep-all decodes it all the same" if decoded.reason in ("silent", "no_speech") else ""
        called = decoded.reason.replace("_", " ")
        logger.warning("%s: no text: %s (%s)%s", name, called, REASONS[decoded.reason], remedy)
    cut, circling = _faults(decoded, targets)
    if cut:
        logger.warning("%s: cut off at the length limit: %s", name, " ".join(cut))
    if circling:
        logger.warning(
            "%s: goes in circles, as happens where nobody speaks: %s%s", name, " ".join(circling), _remedy(targets)
        )


def _faults(decoded: DecodedUtterance, targets: Sequence[str]) -> tuple[list[str], list[str]]:
    """Return which texts are cut off and which go in circles."""
    written: Mapping[str, DecodedUtterance | Translation]
    written = {code: found[0] for code, found in decoded.nbest.items()} if targets else {"the transcript": decoded}
    cut = [called for called, text in written.items() if text.truncated]
    return cut, [called for called, text in written.items() if text.repetition]


def _remedy(targets: Sequence[str]) -> str:
    return "; --no-repeat-ngram 3, or 2, lets no three, or two, pieces come twice" if targets else ""


def _warn_of_pieces(name: str, pieces: Sequence[Piece], targets: Sequence[str]) -> None:
    """Say what of a long recording has no text, and where texts are faulty."""
    from st.inference.long.pieces import SKIP_REASONS, Skipped

    left_out: dict[str, float] = defaultdict(float)
    places: dict[str, list[float]] = defaultdict(list)
    for piece in pieces:
        if isinstance(piece, Skipped):
            left_out[piece.reason] += piece.end - piece.start
            continue
        for what, faulty in zip(
            ("cut off at the length limit", "in circles"), _faults(piece.decoded, targets), strict=True
        ):
            if faulty:
                places[what].append(piece.segment.start)
    total = sum(left_out.values())
    if total:
        why = "; ".join(f"{seconds:.1f} s: {SKIP_REASONS[reason]}" for reason, seconds in sorted(left_out.items()))
        logger.info("%s: %.1f s have no text (%s)", name, total, why)
    if left_out.get("unreadable"):
        logger.warning("%s: its last %.1f s cannot be read", name, left_out["unreadable"])
    for what, starts in places.items():
        shown = ", ".join(f"{start:.1f}" for start in starts[:_SHOWN]) + (" …" if len(starts) > _SHOWN else "")
        remedy = _remedy(targets) if what == "in circles" else ""
        logger.warning("%s: %d segments %s, at %s s%s", name, len(starts), what, shown, remedy)
