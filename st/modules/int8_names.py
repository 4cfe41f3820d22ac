"""Which weights of a model are of 8 bits where any are: the linear layers of the encoder's and the decoder's layers.

They are four fifths of the arithmetic. Convolutions, norms, embeddings, heads, adapters of a language and the projection
before the encoder's layers stay in floating point: they are little work, and errors of theirs go through all that follows.
"""

from __future__ import annotations

import re

INTO_ATTENTION = ("q_proj", "k_proj", "v_proj")
"""Linear layers whose output attention reads."""
OTHERS = ("out_proj", "fc1", "fc2", "pointwise_conv1", "pointwise_conv2")
EMBEDDINGS = "decoder.embed_tokens.weight"
"""Its copy for the logits is of 8 bits as well; the table itself is kept in half precision."""

_WEIGHT = re.compile(
    rf"(?:encoder\.encoder|decoder)\.layers\.\d+\.(?:.*\.)?(?:{'|'.join(INTO_ATTENTION + OTHERS)})\.weight"
)


def is_int8(name: str) -> bool:
    """Return whether the parameter of a name is among them."""
    return _WEIGHT.fullmatch(name) is not None
