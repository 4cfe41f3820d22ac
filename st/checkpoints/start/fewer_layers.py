"""Start a smaller model from the layers of a larger one, some of which are left out.

What is kept is evenly spaced and includes the first and the last layer, as in Shleifer and Rush 2020 (arXiv:2010.13002).
Such a model has to be trained before it is of use.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping

from torch import Tensor

logger = logging.getLogger(__name__)

PREFIXES = {"encoder": "encoder.layers.", "decoder": "layers."}
"""What the names of layers begin with, within their part."""


def kept_layers(count: int, wanted: int) -> list[int]:
    """Return which of ``count`` layers are kept, from 0, if ``wanted`` of them shall be left: 1 to ``count``."""
    if wanted == 1:
        return [0]
    gaps = wanted - 1
    return [(2 * place * (count - 1) + gaps) // (2 * gaps) for place in range(wanted)]  # rounded, halves up


def drop_layers(state: Mapping[str, Tensor], part: str, count: int, wanted: int, *, source: str) -> dict[str, Tensor]:
    """Return the tensors of a part without some of its layers, the others numbered anew; say which are kept.

    Args:
        state: Tensors by their names within the part.
        part: A name of :data:`PREFIXES`.
        count: Layers that it has.
        wanted: Layers that are to be left; where it has no more, nothing changes.
        source: Name of the file, for the message.
    """
    if wanted >= count:
        return dict(state)
    prefix = PREFIXES[part]
    kept = kept_layers(count, wanted)
    places = {str(number): str(place) for place, number in enumerate(kept)}
    found = {}
    for name, tensor in state.items():
        number, _, rest = name.removeprefix(prefix).partition(".")
        if not name.startswith(prefix):
            found[name] = tensor
        elif number in places:
            found[f"{prefix}{places[number]}.{rest}"] = tensor
    listed = " ".join(str(number + 1) for number in kept)
    logger.info("%s: of its %d %s layers %d are kept as a start: %s", source, count, part, wanted, listed)
    return found
