"""Languages by code: the table beside this file, what data sets declare, and Unicode's CLDR for all others.

A code is one of BCP 47, such as ``mr``, ``pt-BR`` or ``qaa-x-test``; what else people write for the same is understood:
``zh_CN``, ``zho`` and ``zh`` are CoVoST 2's ``zh-CN``, ``de_DE`` and ``deu`` are ``de``. CLDR comes with the package
Babel; without it a language that neither the table nor a data set knows is called by its code.

mBART-50 has neither Catalan nor Welsh: the published XLS-R translation models put them on the Spanish and the Finnish slot.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

from st.errors import ConfigError, UsageError

TABLE = Path(__file__).with_name("languages.tsv")

UNSPACED_SCRIPTS = frozenset(
    ["Bali", "Hani", "Hans", "Hant", "Java", "Jpan", "Khmr", "Lana", "Laoo", "Mymr", "Talu", "Thai", "Tibt"]
)
"""Scripts (ISO 15924) that write no space between words."""


@dataclass(frozen=True, slots=True)
class Language:
    """One language as it is written."""

    code: str
    """The code that this project writes, e.g. ``zh-CN``."""
    name: str
    script: str = ""
    """ISO 15924 code; empty if it is not known."""
    spaced: bool = True
    """Whether there are spaces between words."""
    bleu_tokenizer: str = "13a"
    """sacreBLEU tokenizer of the main BLEU: ``char`` where there are no spaces between words, as in the papers on CoVoST 2."""
    mbart50: str = ""
    """Slot in mBART-50's vocabulary, e.g. ``zh_CN``."""
    casing: str = ""
    """What a data set says of capitals: ``turkic``, where ``I`` is the capital of ``ı`` and ``İ`` that of ``i``."""


def _written_in(code: str, name: str, script: str, mbart50: str = "") -> Language:
    spaced = script not in UNSPACED_SCRIPTS
    return Language(code, name, script, spaced, "13a" if spaced else "char", mbart50)


_ROWS = [line.split("\t") for line in TABLE.read_text(encoding="utf-8").splitlines()[1:]]
LANGUAGES: dict[str, Language] = {
    code: _written_in(code, name, script, mbart50) for code, mbart50, _, script, name in _ROWS
}
"""The table: CoVoST 2's 22 languages, the others of mBART-50, and some that are written without spaces."""
_OF_BASE: dict[str, str] = {}
"""Code of the table by ISO 639 code, of two or three letters."""
for _code, _, _others, _, _ in _ROWS:
    for _base in (_code.split("-")[0], *_others.split()):
        _OF_BASE.setdefault(_base, _code)

_declared: dict[str, Language] = {}
"""What data sets say of languages beyond the table."""

_CODE = re.compile(r"([a-z]{2,3})((?:[-_][a-z]{4})?)((?:[-_](?:[a-z]{2}|\d{3}))?)((?:[-_][a-z\d]{1,8})*)", re.I)
_GROUP = re.compile(r"all|x_(?P<target>[^_]+)|(?P<source>[^_]+)_x")


def subtags(code: str) -> list[str]:
    """Divide a language's code as any tool writes it (``zh-CN``, ``zh_CN``, ``tur_Latn``) into small-lettered parts."""
    return code.replace("_", "-").lower().split("-")


def is_code(code: str) -> bool:
    """Return whether a code can be that of a language."""
    return _CODE.fullmatch(code) is not None


@lru_cache(maxsize=4096)
def canonical(code: str) -> str:
    """Return the one code that this project writes for a language, by any usual one (``tr_TR``, ``tur``, ``sv``).

    Raises:
        UsageError: If it does not begin with two or three letters of ISO 639, or is no code at all.
    """
    if code in LANGUAGES:
        return code
    match = _CODE.fullmatch(code)
    if match is None:
        raise UsageError(f"no language {code!r}; expected a code such as en, zh-CN, pt-BR or tur")
    base, script, region, others = match[1].lower(), match[2].title(), match[3].upper(), match[4].lower()
    row = LANGUAGES.get(_OF_BASE.get(base, ""))
    if row is not None:
        # A language's usual region: fr-FR, that of its code or slot; but Welsh has the slot of Finnish.
        slot = subtags(row.mbart50) if _OF_BASE.get(subtags(row.mbart50)[0]) == row.code else []
        if {*subtags(script + region)[1:], *subtags(others)[1:]} <= {
            row.script.lower(),
            *subtags(row.code),
            *slot,
            "xx",
        }:
            return row.code
        base = subtags(row.code)[0]
    return f"{base}{script}{region}{others}".replace("_", "-")


def language(code: str) -> Language:
    """Return what is known of a language.

    Raises:
        UsageError: If this is not the code of a language.
    """
    known = canonical(code)
    return _declared.get(known) or LANGUAGES.get(known) or _by_cldr(known)


@cache
def _by_cldr(code: str) -> Language:
    """Describe a language as CLDR does, if Babel is installed; a variety of a language of the table as that."""
    base, *rest = code.split("-")
    row = LANGUAGES.get(_OF_BASE.get(base, ""))
    given = next((tag for tag in rest[:1] if len(tag) == 4 and tag.isalpha()), "")
    name, script = code, row.script if row else ""
    try:
        from babel.core import Locale, get_global
    except ModuleNotFoundError:
        return _written_in(code, name, given or script)
    likely, english = get_global("likely_subtags"), Locale("en")
    alias = get_global("language_aliases").get(base, base)
    found = next((likely[key] for key in ("_".join([alias, *rest]), alias) if key in likely), "")
    script = given or next((tag for tag in found.split("_")[1:2]), script)
    plain = english.languages.get(alias)
    parts = (english.scripts.get(tag) or english.territories.get(tag) or tag for tag in rest)
    described = f"{plain} ({', '.join(parts)})" if plain and rest else plain
    return _written_in(code, english.languages.get("_".join([alias, *rest])) or described or code, script)


_FACTS: dict[str, tuple[str, type]] = {
    "name": ("name", str),
    "script": ("script", str),
    "spaces": ("spaced", bool),
    "bleu": ("bleu_tokenizer", str),
    "casing": ("casing", str),
}
"""What a data set may say of a language: field and type."""
_FORMS: dict[str, tuple[str, str]] = {
    "script": ("[A-Z][a-z]{3}", "ISO 15924's code, such as Latn"),
    "casing": ("turkic", "turkic, or no casing for that of all other languages"),
}
"""Facts that have few values: their pattern, and what it means."""


def declare(languages: Mapping[str, Any]) -> None:
    """Take what a data set says of languages beyond the table; the latest word counts.

    Args:
        languages: By code, any of ``name``, ``script`` (ISO 15924), ``spaces`` between words, ``bleu``, the sacreBLEU
            tokenizer, and ``casing``, which can be ``turkic``. What is not said follows from the script.

    Raises:
        ConfigError: If a fact is unknown or of the wrong type, or the language is one of the table.
    """
    if not isinstance(languages, Mapping):
        raise ConfigError(f"languages is {languages!r}; expected a mapping of codes to what is known of them")
    for code, facts in languages.items():
        if not isinstance(code, str) or not is_code(code) or canonical(code) in LANGUAGES:
            raise ConfigError(f"languages: {code!r}; expected the code of a language that is not known already")
        if not isinstance(facts, dict):
            raise ConfigError(
                f"languages: {code} is {facts!r}; expected name, script, spaces, bleu or casing with their values"
            )
        for fact, value in facts.items():
            fits = fact in _FACTS and isinstance(value, _FACTS[fact][1])
            if not fits or (isinstance(value, str) and not (value and value.isprintable())):
                kinds = ", ".join(f"{name} ({kind.__name__})" for name, (_, kind) in _FACTS.items())
                raise ConfigError(f"languages: {code}: {fact} is {value!r}; expected any of {kinds}")
            if fact in _FORMS and not re.fullmatch(_FORMS[fact][0], value):
                raise ConfigError(f"languages: {code}: {fact} is {value!r}; expected {_FORMS[fact][1]}")
        known = _by_cldr(canonical(code))
        script = facts.get("script", known.script)
        spaced = facts.get("spaces", script not in UNSPACED_SCRIPTS)
        bleu = facts.get("bleu", "13a" if spaced else "char")
        name, casing = facts.get("name", known.name), facts.get("casing", "")
        _declared[known.code] = Language(known.code, name, script, spaced, bleu, casing=casing)


def declared(codes: Iterable[str]) -> dict[str, dict[str, str | bool]]:
    """Return what :func:`declare` has been told of some languages, in the same form."""
    return _facts({code: _declared[code] for code in map(canonical, codes) if code in _declared})


def beyond_table(codes: Iterable[str]) -> dict[str, dict[str, str | bool]]:
    """Return all that is known of the languages that the table lacks, for :func:`declare` where there is no Babel."""
    return _facts({code: language(code) for code in map(canonical, codes) if code not in LANGUAGES})


def _facts(found: Mapping[str, Language]) -> dict[str, dict[str, str | bool]]:
    facts = {code: {fact: getattr(item, name) for fact, (name, _) in _FACTS.items()} for code, item in found.items()}
    return {code: {fact: value for fact, value in told.items() if value != ""} for code, told in facts.items()}


def has_turkic_casing(code: str) -> bool:
    """Return whether a data set says so of a language, by any of its codes."""
    return bool(_declared) and is_code(code) and canonical(code) in _declared and language(code).casing == "turkic"


def lookup(code: str) -> list[Language]:
    """Return a language and what can stand in for it, if it is written alike: ``pt`` for ``pt-BR``.

    Raises:
        UsageError: If this is not the code of a language.
    """
    found = language(code)
    base, *rest = found.code.split("-")
    # What a private code means is between those who use it.
    wider = found if "x" in rest else language(base)
    return [found] if wider == found or wider.script != found.script else [found, wider]


def is_same(code: str, other: str | None) -> bool:
    """Return whether two codes are of one language, or one of them of a variety of it; what is no code is not."""
    if other is None or not (is_code(code) and is_code(other)):
        return False
    ours, theirs = lookup(code), lookup(other)
    return ours[0] in theirs or theirs[0] in ours


def in_order(codes: Collection[str]) -> tuple[str, ...]:
    """Return codes, each once, in the order of the table; others behind, by alphabet."""
    return (*(code for code in LANGUAGES if code in codes), *sorted({*codes} - LANGUAGES.keys()))


def join_sentences(sentences: Sequence[str], code: str) -> str:
    """Write sentences one behind the other, with spaces where the language's script has them."""
    return (" " if language(code).spaced else "").join(sentences)


def is_direction(text: str) -> bool:
    """Return whether a text is a direction, ``<source>_<target>``."""
    return text.count("_") == 1 and all(map(is_code, text.split("_")))


def split_direction(direction: str) -> tuple[str, str]:
    """Split ``"fr_en"`` into ``("fr", "en")``.

    Raises:
        UsageError: If it is not two codes of languages with ``_`` between them.
    """
    if not is_direction(direction):
        raise UsageError(f"no direction {direction!r}; expected the codes of two languages such as fr_en or en_zh-CN")
    source, target = direction.split("_")
    return source, target


def match_directions(names: str, among: Sequence[str]) -> tuple[tuple[str, ...], list[str]]:
    """Choose directions by a comma-separated list of them and of groups: ``all``, ``x_en`` (into English), ``en_x``.

    Args:
        names: The list.
        among: The directions that there are.

    Returns:
        Those of ``among`` that the list means, in their order; and what it names that is not there.

    Raises:
        UsageError: If the list is empty, or a name is neither a direction nor a group.
    """
    wanted = [name.strip() for name in names.split(",") if name.strip()]
    if not wanted:
        raise UsageError("no direction given; name some, such as fr_en,en_de, or all, x_en, en_x")
    known = {name: tuple(map(canonical, split_direction(name))) for name in among}
    chosen: set[str] = set()
    absent = []
    for name in wanted:
        group = _GROUP.fullmatch(name)
        if group is not None:
            sides = [None if code is None else canonical(code) for code in (group["source"], group["target"])]
        else:
            sides = [canonical(code) for code in split_direction(name)]
        found = {
            there
            for there, pair in known.items()
            if all(side in (None, code) for side, code in zip(sides, pair, strict=True))
        }
        chosen |= {name} & found or found
        if not found and group is None:
            absent.append(name)
    return tuple(name for name in among if name in chosen), absent


def source_languages(directions: Iterable[str]) -> tuple[str, ...]:
    """Return the spoken languages of directions, each once, in table order."""
    return in_order({split_direction(direction)[0] for direction in directions})
