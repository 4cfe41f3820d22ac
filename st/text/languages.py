"""The languages and directions of CoVoST 2, in one table.

CoVoST 2 speaks BCP-47-like codes (``sv-SE``, ``zh-CN``), mBART-50 its own (``sv_SE``, ``zh_CN``). mBART-50 has
neither Catalan nor Welsh: the published XLS-R translation models put them on the Spanish and the Finnish slot.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NewType

from st.errors import UsageError

CovostCode = NewType("CovostCode", str)
MbartCode = NewType("MbartCode", str)


@dataclass(frozen=True, slots=True)
class Language:
    """One language of CoVoST 2."""

    code: CovostCode
    """CoVoST / Common Voice code, e.g. ``zh-CN``."""
    mbart: MbartCode
    """Slot in mBART-50's vocabulary, e.g. ``zh_CN``."""
    name: str
    script: str
    """ISO 15924 code of the script its Common Voice sentences are written in."""
    group: str
    """Resource group of the XLS-R paper, by hours into English: ``high``, ``mid`` or ``low``."""
    bleu_tokenizer: str = "13a"
    """sacreBLEU tokenizer of the paper's convention."""


def _row(
    code: str, mbart: str, name: str, script: str, group: str, bleu_tokenizer: str = "13a"
) -> tuple[str, Language]:
    return code, Language(CovostCode(code), MbartCode(mbart), name, script, group, bleu_tokenizer)


LANGUAGES: dict[str, Language] = dict(
    [
        _row("en", "en_XX", "English", "Latn", "high"),
        _row("fr", "fr_XX", "French", "Latn", "high"),
        _row("de", "de_DE", "German", "Latn", "high"),
        _row("es", "es_XX", "Spanish", "Latn", "high"),
        _row("ca", "es_XX", "Catalan", "Latn", "high"),
        _row("fa", "fa_IR", "Persian", "Arab", "mid"),
        _row("it", "it_IT", "Italian", "Latn", "mid"),
        _row("ru", "ru_RU", "Russian", "Cyrl", "mid"),
        _row("pt", "pt_XX", "Portuguese", "Latn", "mid"),
        _row("zh-CN", "zh_CN", "Chinese (Simplified)", "Hans", "mid", "char"),
        _row("tr", "tr_TR", "Turkish", "Latn", "low"),
        _row("ar", "ar_AR", "Arabic", "Arab", "low"),
        _row("et", "et_EE", "Estonian", "Latn", "low"),
        _row("mn", "mn_MN", "Mongolian", "Cyrl", "low"),
        _row("nl", "nl_XX", "Dutch", "Latn", "low"),
        _row("sv-SE", "sv_SE", "Swedish", "Latn", "low"),
        _row("lv", "lv_LV", "Latvian", "Latn", "low"),
        _row("sl", "sl_SI", "Slovenian", "Latn", "low"),
        _row("ta", "ta_IN", "Tamil", "Taml", "low"),
        _row("ja", "ja_XX", "Japanese", "Jpan", "low", "char"),
        _row("id", "id_ID", "Indonesian", "Latn", "low"),
        _row("cy", "fi_FI", "Welsh", "Latn", "low"),
    ]
)

INTO_ENGLISH: tuple[str, ...] = tuple(f"{code}_en" for code in LANGUAGES if code != "en")
OUT_OF_ENGLISH: tuple[str, ...] = tuple(
    f"en_{code}"
    for code in ("de", "tr", "fa", "sv-SE", "mn", "zh-CN", "cy", "ca", "sl", "et", "id", "ar", "ta", "lv", "ja")
)
DIRECTIONS: tuple[str, ...] = INTO_ENGLISH + OUT_OF_ENGLISH
"""All 36 directions, written ``<source>_<target>``."""

UNSPACED_SCRIPTS = ("Hans", "Jpan")
"""Scripts that write no space between words nor sentences."""

GROUPS: dict[str, tuple[str, ...]] = {"all": DIRECTIONS, "x_en": INTO_ENGLISH, "en_x": OUT_OF_ENGLISH}


def language(code: str) -> Language:
    """Look up a language by its CoVoST code.

    Raises:
        UsageError: If CoVoST 2 has no such language; the message lists the 22 codes.
    """
    try:
        return LANGUAGES[code]
    except KeyError:
        raise UsageError(f"no language {code!r} in CoVoST 2; choose from: {' '.join(LANGUAGES)}") from None


_ISO_639_3 = dict(
    zip(
        LANGUAGES,
        [
            "eng",
            "fra",
            "deu",
            "spa",
            "cat",
            "fas",
            "ita",
            "rus",
            "por",
            "zho",
            "tur",
            "ara",
            "est",
            "mon",
            "nld",
            "swe",
            "lav",
            "slv",
            "tam",
            "jpn",
            "ind",
            "cym",
        ],
        strict=True,
    )
)
_UNSPACED_OTHERS = frozenset(
    [
        "th",
        "tha",
        "lo",
        "lao",
        "km",
        "khm",
        "my",
        "mya",
        "bo",
        "bod",
        "dz",
        "dzo",
        "zh",
        "zho",
        "cmn",
        "yue",
        "wuu",
        "nan",
    ]
)
"""Languages beyond CoVoST 2, and those of Chinese, that write no space between words."""


def subtags(code: str) -> list[str]:
    """Divide a language's code as any tool writes it (``zh-CN``, ``zh_CN``, ``tur_Latn``) into small-lettered parts."""
    return code.replace("_", "-").lower().split("-")


def covost_code(code: str) -> str:
    """Return CoVoST's code of a language by any usual one (``tr-TR``, ``tr_TR``, ``tur``, ``sv``), others as they are."""
    base = subtags(code)[0]
    if code in LANGUAGES:
        return code
    return next((known for known in LANGUAGES if base in (subtags(known)[0], _ISO_639_3[known])), code)


def check_code(code: str) -> None:
    """Raise unless a code can be that of a language, in CoVoST 2 or not.

    Raises:
        UsageError: If it does not begin with two or three letters of ISO 639.
    """
    base = subtags(code)[0]
    if not (base.isascii() and base.isalpha() and len(base) in (2, 3)):
        raise UsageError(f"no language {code!r}; expected a code such as: {' '.join(LANGUAGES)}, uk, tur")


def join_sentences(sentences: Sequence[str], code: str) -> str:
    """Write sentences one behind the other, with spaces where the language's script has them.

    Args:
        sentences: At least one.
        code: CoVoST code of their language; an unknown one gets spaces.
    """
    return ("" if written_without_spaces(code) else " ").join(sentences)


def written_without_spaces(code: str) -> bool:
    """Return whether a language puts no spaces between its words, so that only its characters can be counted."""
    base = subtags(code)[0]
    return base in _UNSPACED_OTHERS or (code in LANGUAGES and language(code).script in UNSPACED_SCRIPTS)


def split_direction(direction: str) -> tuple[str, str]:
    """Split ``"fr_en"`` into ``("fr", "en")``.

    Raises:
        UsageError: If it is not one of the 36 directions; the message lists them.
    """
    if direction not in DIRECTIONS:
        raise UsageError(f"no direction {direction!r} in CoVoST 2; choose from: {' '.join(DIRECTIONS)}")
    source, target = direction.split("_")
    return source, target


def parse_directions(text: str) -> tuple[str, ...]:
    """Parse a comma-separated list of directions and group names (``all``, ``x_en``, ``en_x``).

    Returns:
        Directions in the order of :data:`DIRECTIONS`, without repeats.

    Raises:
        UsageError: If a name is unknown or the list is empty.
    """
    names = [name.strip() for name in text.split(",") if name.strip()]
    if not names:
        raise UsageError("no direction given; name some, such as fr_en,en_de, or all, x_en, en_x")
    chosen: set[str] = set()
    for name in names:
        if name in GROUPS:
            chosen.update(GROUPS[name])
        else:
            split_direction(name)
            chosen.add(name)
    return tuple(direction for direction in DIRECTIONS if direction in chosen)


def source_languages(directions: tuple[str, ...]) -> tuple[str, ...]:
    """Return the spoken languages of ``directions``, each once, in table order."""
    spoken = {direction.split("_")[0] for direction in directions}
    return tuple(code for code in LANGUAGES if code in spoken)
