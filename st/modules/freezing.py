"""Which parameters learn: named sets and regular expressions over the names that ``st inspect --names`` prints."""

from __future__ import annotations

import re
from collections.abc import Iterable

from st.errors import ConfigError
from st.modules.config import PARTS

SETS: dict[str, str] = {
    "encoder": r"^encoder\.",
    "feature-extractor": r"^encoder\.feature_extractor\.",
    "length-adaptor": r"^length_adaptor\.",
    "decoder": r"^decoder\.",
    "embeddings": r"^decoder\.embed_(tokens|positions)\.",
    "ctc": r"^ctc\.",
    "all-but-adapters": r"^(?!ctc\.|encoder\.encoder\.layers\.\d+\.adapter_layer\.)",
    "heads": rf"^(?!({'|'.join(PARTS)})\.)",
    # Li et al. 2021 (arXiv:2010.12829): only layer norms and attention learn, and what is new, here adaptor and heads.
    "lna-encoder": r"^encoder\.(?!.*(layer_norm|self_attn))",
    "lna-decoder": r"^decoder\.(?!.*(layer_?norm|self_attn|encoder_attn))",
}
"""What each set freezes."""
ALIASES = {"lna": ("lna-encoder", "lna-decoder"), "adaptor": ("length-adaptor",)}
"""``adaptor`` is what the length adaptor was called before."""


OF_DECODER = ("length-adaptor", "decoder", "embeddings", "lna-decoder")
"""Sets that a model without a decoder has nothing of, so that recipes that freeze it fit such a model, too."""


def split_rules(text: str) -> list[str]:
    """Split at commas, but not at those inside brackets: ``"ctc,fc(1|2),x{1,2}"`` has three rules."""
    rules = [""]
    depth, escaped = 0, False
    for char in text:
        if char == "," and depth == 0 and not escaped:
            rules.append("")
            continue
        if not escaped:
            depth += (char in "([{") - (char in ")]}")
        escaped = char == "\\" and not escaped
        rules[-1] += char
    return [rule.strip() for rule in rules if rule.strip()]


def frozen_names(names: Iterable[str], rules: str) -> set[str]:
    """Return the names that ``rules`` freeze.

    Args:
        names: Of all parameters, such as ``decoder.layers.0.fc1.weight``.
        rules: Names of :data:`SETS` and regular expressions, separated by commas; an expression counts where it is
            found anywhere in a name.

    Raises:
        ConfigError: If a rule is no regular expression or freezes nothing, or nothing would be left to learn.
    """
    names = list(names)
    frozen: set[str] = set()
    decodes = any(name.startswith("decoder.") for name in names)
    for rule in split_rules(rules):
        for single in ALIASES.get(rule, (rule,)):
            found = _matching(names, single)
            if not found and (decodes or single not in OF_DECODER):
                raise ConfigError(
                    f"`freeze`: {single!r} matches no parameter of this model; sets: {', '.join((*ALIASES, *SETS))}; "
                    f"names look like {names[0]} (all of them: st inspect CHECKPOINT --names)"
                )
            frozen |= found
    if len(frozen) == len(names):
        raise ConfigError(f"`freeze` {rules} leaves no parameter to learn")
    return frozen


def _matching(names: list[str], rule: str) -> set[str]:
    try:
        pattern = re.compile(SETS.get(rule, rule))
    except re.error as exc:
        raise ConfigError(f"`freeze`: {rule!r} is not a regular expression: {exc}") from None
    return {name for name in names if pattern.search(name)}
