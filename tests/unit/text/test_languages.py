"""Languages by code, of the table and beyond it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from st.data.config import DataConfig
from st.errors import ConfigError, UsageError
from st.evaluation.covost2 import CODES, DIRECTIONS, GROUPS, covost_directions, ordered
from st.text import languages
from st.text.ctc_vocabulary import CtcVocabulary
from st.text.languages import (
    LANGUAGES,
    canonical,
    declare,
    declared,
    in_order,
    is_direction,
    is_same,
    join_sentences,
    language,
    lookup,
    match_directions,
    source_languages,
    split_direction,
)
from st.text.normalisation import lower, normalise, upper
from st.text.scripts import LETTER_NAMES
from st.text.vocabulary import MBART50_CODES


@pytest.fixture(autouse=True)
def _nothing_declared(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(languages, "_declared", {})


def test_the_table_has_covost_and_every_slot_of_mbart50() -> None:
    assert len(CODES) == 22
    assert len(DIRECTIONS) == 36
    assert tuple(LANGUAGES)[:22] == CODES
    assert {row.mbart50 for row in LANGUAGES.values() if row.mbart50} == set(MBART50_CODES)
    assert {row.script for row in LANGUAGES.values()} <= LETTER_NAMES.keys()
    assert [code for code, row in LANGUAGES.items() if not row.spaced] == [
        *("zh-CN", "ja", "my", "km", "th", "zh-TW", "yue", "wuu", "nan", "lo", "bo", "dz")
    ]
    assert all(row.bleu_tokenizer == ("13a" if row.spaced else "char") for row in LANGUAGES.values())


@pytest.mark.parametrize(
    ("spellings", "code"),
    [
        ("sv sv-SE sv_SE swe swe_Latn SV-se", "sv-SE"),
        ("zh zh-CN zh_CN zho cmn zho_Hans zh-Hans-CN", "zh-CN"),
        ("de de_DE deu ger deu_Latn", "de"),
        ("zh_TW zh-tw", "zh-TW"),
        ("zho_Hant", "zh-Hant"),
        ("fi fi_FI fin", "fi"),
        ("cy cym", "cy"),
        ("es es_XX spa", "es"),
        ("pt_BR pt-br por_BR", "pt-BR"),
        ("pt pt_XX pt-PT por_Latn", "pt"),
        ("fr fr-FR fra", "fr"),
        ("mdw MDW", "mdw"),
        ("qaa-x-test QAA_x_TEST", "qaa-x-test"),
        ("kk-latn kaz_Latn", "kk-Latn"),
    ],
)
def test_every_usual_spelling_is_understood(spellings: str, code: str) -> None:
    assert {canonical(spelling) for spelling in spellings.split()} == {code}


@pytest.mark.parametrize("code", ["klingon", "", "x", "fr en", "é", "f1", "fr-"])
def test_what_is_no_code_is_refused_in_one_sentence(code: str) -> None:
    with pytest.raises(UsageError, match=r"^no language .*; expected a code such as en, zh-CN, pt-BR or tur$"):
        language(code)


@pytest.mark.parametrize(
    ("code", "name", "script", "spaced"),
    [
        ("ga", "Irish", "Latn", True),
        ("mr", "Marathi", "Deva", True),
        ("pt-BR", "Brazilian Portuguese", "Latn", True),
        ("isl", "Icelandic", "Latn", True),
        ("zh-HK", "Chinese (Hong Kong SAR China)", "Hant", False),
        ("sr-Latn", "Serbian (Latin)", "Latn", True),
        ("ko", "Korean", "Kore", True),
        ("quy", "quy", "Latn", True),
        ("qaa-x-test", "qaa-x-test", "", True),
    ],
)
def test_cldr_knows_languages_beyond_the_table(code: str, name: str, script: str, spaced: bool) -> None:
    found = language(code)
    assert (found.name, found.script, found.spaced) == (name, script, spaced)
    assert found.bleu_tokenizer == ("13a" if spaced else "char")


def test_without_babel_a_language_beyond_the_table_is_called_by_its_code() -> None:
    code = """
import sys
sys.modules["babel"] = sys.modules["babel.core"] = None
from st.text.languages import language
print([(item.name, item.script) for item in map(language, ("fr", "pl", "ga", "pt-BR", "sr-Latn"))])
"""
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    expected = [("French", "Latn"), ("Polish", "Latn"), ("ga", ""), ("pt-BR", "Latn"), ("sr-Latn", "Latn")]
    assert found == f"{expected}\n"


def test_what_stands_in_for_a_variety_is_written_alike() -> None:
    assert [item.code for item in lookup("pt-BR")] == ["pt-BR", "pt"]
    assert [item.code for item in lookup("zh-TW")] == ["zh-TW"]
    assert [item.code for item in lookup("sr-Latn")] == ["sr-Latn"]
    assert [item.code for item in lookup("qaa-x-test")] == ["qaa-x-test"]
    assert is_same("en-US", "eng")
    assert is_same("tur", "tr_TR")
    assert not is_same("zh-TW", "zh")
    assert not is_same("pt-BR", "pt-AO")
    assert not is_same("de", None)
    assert not is_same("a translation", "de")


def test_a_data_set_may_say_what_a_language_is(tmp_path: Path) -> None:
    facts = {
        "mdw": {"name": "Mbosi"},
        "qaa-x-test": {"name": "Test", "script": "Tfng", "spaces": False},
        "qab": {"script": "Thai", "bleu": "flores200"},
    }
    DataConfig(languages=facts).save(tmp_path)
    languages._declared.clear()
    assert language("mdw").name == "mdw"
    assert DataConfig.load(tmp_path).languages == facts
    assert (language("mdw").name, language("mdw").script, language("mdw").bleu_tokenizer) == ("Mbosi", "Latn", "13a")
    assert (language("qaa_x_test").spaced, language("qaa-x-test").bleu_tokenizer) == (False, "char")
    assert (language("qab").spaced, language("qab").bleu_tokenizer) == (False, "flores200")
    assert join_sentences(["a", "b"], "qaa-x-test") == "ab"
    told = declared(["fr", "qaa_x_test", "qab"])
    assert told == {
        "qaa-x-test": {"name": "Test", "script": "Tfng", "spaces": False, "bleu": "char"},
        "qab": {"name": "qab", "script": "Thai", "spaces": False, "bleu": "flores200"},
    }
    declare(told)
    assert declared(["qaa-x-test", "qab"]) == told
    assert "languages" not in DataConfig().to_yaml()


def test_a_data_set_may_say_that_a_language_has_a_dotless_i() -> None:
    declare({"qac": {"name": "Test", "casing": "turkic"}, "qad": {"name": "Other"}})
    assert lower("IRMAK İL", "qac") == lower("IRMAK İL", "tr") == "ırmak il"
    assert upper("ırmak il", "qac") == "IRMAK İL"
    assert normalise("Iğdır!", "QAC") == "ığdır"
    assert lower("IRMAK İL", "qad") == "irmak il"
    assert lower("IRMAK İL", "no code") == "irmak il"
    assert {*"ıi"} <= {*CtcVocabulary.build({"qac": ["I İ"]}).symbols}
    assert declared(["qac"])["qac"]["casing"] == "turkic"
    declare({"qac": {"name": "Test"}})
    assert lower("I", "qac") == "i"


@pytest.mark.parametrize(
    ("facts", "message"),
    [
        ({"fr": {"name": "Français"}}, "'fr'; expected the code of a language that is not known already"),
        ({"pol": {"name": "Polski"}}, "'pol'; expected the code"),
        ({"klingon": {}}, "'klingon'; expected the code"),
        ({"mdw": {"colour": "red"}}, "mdw: colour is 'red'; expected any of name"),
        ({"mdw": {"spaces": "no"}}, r"mdw: spaces is 'no'; expected any of .*spaces \(bool\)"),
        ({"mdw": {"name": ""}}, "mdw: name is ''"),
        ({"mdw": {"name": "a\nb"}}, "mdw: name is"),
        ({"mdw": {"script": "Latin"}}, "mdw: script is 'Latin'; expected ISO 15924's code"),
        ({"mdw": {"casing": "tr"}}, "mdw: casing is 'tr'; expected turkic"),
        ({"mdw": {"casing": True}}, "mdw: casing is True; expected any of"),
        ({"mdw": "Mbosi"}, "mdw is 'Mbosi'; expected name, script"),
        (["mdw"], r"languages is \['mdw'\]; expected a mapping"),
    ],
)
def test_what_cannot_be_said_of_a_language_is_refused(facts: object, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        DataConfig(languages=facts)  # type: ignore[arg-type]


def test_directions_are_any_two_codes() -> None:
    assert split_direction("mdw_qaa-x-test") == ("mdw", "qaa-x-test")
    assert is_direction("en_zh-CN")
    for text in ("fr-en", "fr", "zh_CN_en", "fr_", "my_notes", ""):
        assert not is_direction(text)
        with pytest.raises(UsageError, match=r"^no direction .*; expected the codes of two languages such as fr_en"):
            split_direction(text)


def test_directions_are_chosen_by_name_in_any_spelling_and_by_group() -> None:
    among = ("fr_en", "en_de", "en_sv-SE", "mdw_quy")
    assert match_directions("all", among) == (among, [])
    assert match_directions("x_en", among) == (("fr_en",), [])
    assert match_directions("en_x, mdw_quy", among) == (("en_de", "en_sv-SE", "mdw_quy"), [])
    assert match_directions("x_quy", among) == (("mdw_quy",), [])
    assert match_directions("eng_swe,en_fr,fr_en", among) == (("fr_en", "en_sv-SE"), ["en_fr"])
    assert match_directions("en_zh-TW", ("en_zh-CN",)) == ((), ["en_zh-TW"])
    for names in ("fr-en", "fr", " , ", "klingon_en"):
        with pytest.raises(UsageError, match=r"^no direction"):
            match_directions(names, among)


def test_covost_has_its_36_directions_and_no_others() -> None:
    assert covost_directions("all") == DIRECTIONS
    assert covost_directions("en_x,x_en") == DIRECTIONS
    assert covost_directions("en_de, fr_en, en_sv") == ("fr_en", "en_de", "en_sv-SE")
    assert len(GROUPS["x_en"]) == 21
    for names in ("fr_de", "x_pl"):
        with pytest.raises(UsageError, match=rf"^no direction '{names}' in CoVoST 2; choose from: fr_en .* en_ja$"):
            covost_directions(names)


def test_orders_begin_with_the_tables() -> None:
    assert in_order(["quy", "pl", "cy", "mdw", "en"]) == ("en", "cy", "pl", "mdw", "quy")
    assert source_languages(("mdw_en", "fr_en", "en_de", "fr_de")) == ("en", "fr", "mdw")
    assert ordered({"quy_mdw", "en_ja", "fr_en", "mdw_quy"}) == ("fr_en", "en_ja", "mdw_quy", "quy_mdw")
