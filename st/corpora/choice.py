"""Which languages of a corpus of many are taken."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

from st.options import option
from st.text.languages import canonical


@dataclass(frozen=True, kw_only=True, slots=True)
class LanguageOptions:
    """Which languages of a corpus of many are taken."""

    languages: str = option("", "spoken languages, such as fr,zh-CN; all by default")
    targets: str = option("", "languages of translations, such as en,de; all by default")


def chosen(code: str, codes: str) -> bool:
    """Return whether a comma-separated list of codes has a language; an empty one has all.

    Raises:
        UsageError: If one of them is no code.
    """
    return not codes or code in _canonical(codes)


@lru_cache(maxsize=64)
def _canonical(codes: str) -> frozenset[str]:
    return frozenset(canonical(code.strip()) for code in codes.split(",") if code.strip())
