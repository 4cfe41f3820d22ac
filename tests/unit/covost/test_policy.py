from __future__ import annotations

import argparse
import math
import re
import unicodedata
from pathlib import Path

import polars as pl
import pytest

from covost.commands.prepare import add_arguments
from covost.corpus.splits import CorpusLayout, SpokenLanguage, load_direction
from st.errors import ConfigError
from st.evaluation.covost2 import CODES
from st.preparation.rows.policy import REASONS, Policy, apply_audio_policy, apply_text_policy
from st.preparation.rows.scripts import foreign_letters, own_letters, wrong_script_lines
from st.preparation.tree.corpus_index import SCHEMA
from st.text.languages import language

SENTENCES = {
    "Latn": "Þetta er Łódź, señor Ångström.",
    "Arab": "این یک جملهٔ ساده است.",
    "Cyrl": "Өнөөдөр цаг агаар сайхан.",
    "Hans": "今天天气很好。",
    "Jpan": "コーヒーを飲みますか。",
    "Taml": "இன்று வானிலை நன்றாக இருக்கிறது.",
}


def share_of_own_letters(text: str, script: str) -> float:
    """Count by the names that Unicode gives to letters, which is another source than its script tables."""
    names = {
        "Latn": ("LATIN",),
        "Arab": ("ARABIC",),
        "Cyrl": ("CYRILLIC",),
        "Hans": ("CJK UNIFIED",),
        "Jpan": ("HIRAGANA", "KATAKANA", "CJK UNIFIED"),
        "Taml": ("TAMIL",),
    }[script]
    letters = [unicodedata.name(char) for char in text if unicodedata.category(char) in ("Ll", "Lu", "Lo", "Lt")]
    return sum(name.startswith(names) for name in letters) / len(letters)


def is_wrong(text: str, code: str, min_share: float) -> bool:
    return len(wrong_script_lines(pl.DataFrame({"line": [7], "text": [text]}), "text", code, min_share)) == 1


@pytest.mark.parametrize("code", CODES)
def test_a_sentence_is_in_the_script_of_its_language_and_of_no_other(code: str) -> None:
    own = language(code).script
    for script, sentence in SENTENCES.items():
        foreign = share_of_own_letters(sentence, own) == 0
        assert is_wrong(sentence, code, 0.1) is foreign, script
        assert foreign is (script != own and {script, own} != {"Hans", "Jpan"})


def test_every_script_of_the_language_table_is_known() -> None:
    assert {language(code).script for code in CODES} == set(SENTENCES)


@pytest.mark.parametrize(
    ("text", "own", "foreign"),
    [("Слово word", 5, 4), ("ーー", 0, 2), ("2024 – 50 %", 0, 0), ("мод ɣ", 3, 1), ("", 0, 0)],
)
def test_letters_are_told_apart(text: str, own: int, foreign: int) -> None:
    counts = pl.DataFrame({"text": [text]}).select(
        pl.col("text").str.count_matches(own_letters("ru")).alias("own"),
        pl.col("text").str.count_matches(foreign_letters("ru")).alias("foreign"),
    )
    assert counts.row(0) == (own, foreign)


def test_the_share_is_a_limit_and_texts_without_letters_stay() -> None:
    text = "Windows 用户"  # Two of nine letters are Chinese.
    assert not is_wrong(text, "zh-CN", 2 / 9)
    assert is_wrong(text, "zh-CN", 2 / 9 + 0.01)
    assert not is_wrong("1 + 1 = 2", "zh-CN", 1.0)
    assert not is_wrong("Windows", "zh-CN", 0.0)


def texts(corpus, source: str, target: str, **policy: float) -> dict[str, tuple[str | None, str | None]]:
    layout = CorpusLayout(cv_root=corpus.write())
    table = load_direction(layout, f"{source}_{target}", SpokenLanguage.load(layout, source))
    rows = apply_text_policy(table, Policy(**policy))
    return {row["id"]: (row["reason"], row["flag"]) for row in rows.iter_rows(named=True)}


def test_wrong_script_goes_from_train_and_is_flagged_in_dev_and_test(corpus) -> None:
    corpus.source = "ru"
    for split in ("train", "dev", "test"):
        corpus.add(f"good-{split}.mp3", split, text="Привет Windows", translations={"en": "Hi"})
        corpus.add(f"source-{split}.mp3", split, text="Privet", translations={"en": "Hi"})
        corpus.add(f"target-{split}.mp3", split, text="Привет", translations={"en": "Привет"})
    rows = texts(corpus, "ru", "en")
    for split in ("train", "dev", "test"):
        assert rows[f"good-{split}"] == (None, None)
        for side in ("source", "target"):
            finding = f"wrong_script_{side}"
            assert rows[f"{side}-{split}"] == ((finding, None) if split == "train" else (None, finding))
    assert texts(corpus, "ru", "en", min_script_share=0.0)["source-train"] == (None, None)


@pytest.mark.parametrize(
    ("n_frames", "finding"),
    [(32_000, None), (31_999, "too_many_characters"), (160_000, None), (160_001, "too_few_characters")],
)
def test_characters_per_second_are_limited_in_train_and_flagged_in_test(
    corpus, n_frames: int, finding: str | None
) -> None:
    for split in ("train", "test"):
        corpus.add(f"{split}.mp3", split, text="0123456789")
    layout = CorpusLayout(cv_root=corpus.write())
    table = load_direction(layout, "fr_en", SpokenLanguage.load(layout, "fr"))
    index = pl.DataFrame(
        [(split, f"{split}.mp3", "audio", n_frames, "ok", "") for split in ("train", "test")],
        schema=["split", "clip", "audio", "n_frames", "status", "flags"],
        orient="row",
    )
    policy = Policy(min_chars_per_second=1.0, max_chars_per_second=5.0)
    rows = apply_audio_policy(apply_text_policy(table, policy), index, "fr", policy)
    found = {row["split"]: (row["reason"], row["flag"]) for row in rows.iter_rows(named=True)}
    assert found == {"train": (finding, None), "test": (None, finding)}


def findings(code: str, *rows: tuple[str, int], **policy: float) -> list[str | None]:
    """Return what is found of transcripts and the samples of their recordings."""
    names = [f"{number}.wav" for number in range(len(rows))]
    table = pl.DataFrame({"clip": names, "src_text": [text for text, _ in rows]}).with_columns(
        split=pl.lit("train"), reason=pl.lit(None, pl.String), flag=pl.lit(None, pl.String)
    )
    lengths = [num_samples for _, num_samples in rows]
    index = pl.DataFrame(
        {"split": "train", "clip": names, "audio": "a", "n_frames": lengths, "status": "ok", "flags": ""}
    )
    return apply_audio_policy(table, index, code, Policy(**policy))["reason"].to_list()


@pytest.mark.parametrize(
    ("code", "most"),
    [("fr", 50), ("ru", 50), ("ta", 50), ("quy", 50), ("qaa", 50), ("zh-CN", 20), ("ja", 20), ("ko", 20), ("am", 20)],
)
def test_how_many_characters_a_second_has_depends_on_what_a_character_is(code: str, most: int) -> None:
    text = ("a,," * most)[:most]  # Of which CTC needs no more than two thirds.
    assert findings(code, (text, 16_000), (text + ",", 16_000)) == [None, "too_many_characters"]
    assert findings(code, (text + ",", 16_000), max_chars_per_second=60.0) == [None]


def test_the_frames_that_ctc_needs_are_those_of_the_language() -> None:
    def frames(number: int) -> int:
        return 400 + (number - 1) * 320

    loose = {"max_chars_per_second": 1000.0}
    # Points are no letters of Hebrew; in Yiddish they are, which has one more symbol for each.
    assert findings("he", ("שָׁלוֹם", frames(4)), ("שָׁלוֹם", frames(3)), **loose) == [None, "transcript_too_long"]
    assert findings("yi", ("שָׁלוֹם", frames(4)), **loose) == ["transcript_too_long"]
    # I is ı in Turkish, and two of them need a blank between.
    assert findings("tr", ("Iı", frames(3)), ("Iı", frames(2)), **loose) == [None, "transcript_too_long"]
    assert findings("fr", ("Iı", frames(2)), **loose) == [None]
    # One ligature is eighteen symbols, two of them equal neighbours.
    assert findings("ar", ("ﷺ", frames(19)), ("ﷺ", frames(18)), **loose) == [None, "transcript_too_long"]


@pytest.mark.parametrize(
    "values",
    [
        {"also_drop": ("cut_short", "loud")},
        {"min_seconds": 2.0, "max_seconds": 1.0},
        {"min_chars_per_second": 5.0, "max_chars_per_second": 5.0},
        {"min_chars_per_second": -1.0},
        {"min_script_share": 1.5},
        {"min_script_share": math.nan},
        {"min_seconds": math.nan},
        {"max_seconds": math.nan},
        {"min_seconds": math.inf, "max_seconds": math.inf},
    ],
)
def test_wrong_values_name_the_option(values: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match=f"`{next(iter(values))}`"):
        Policy(**values)


@pytest.mark.parametrize("limit", [math.inf, 1e300, 1e15])
def test_there_may_be_no_upper_limit(limit: float) -> None:
    rows = pl.DataFrame({"n_frames": [1, 10**9], "src_text": ["a" * 100, "a"], "flags": ["", ""]})
    policy = Policy(max_seconds=limit, max_chars_per_second=limit)
    rules = policy.audio_rules("fr")
    found = rows.select(**{name: rules[name] for name in ("too_short", "too_long", "too_many_characters")})
    assert found.rows() == [(True, False, False), (False, False, False)]


def test_every_reason_of_the_rules_is_documented() -> None:
    rows = pl.DataFrame(schema={"line": pl.Int64, "src_text": pl.String, "tgt_text": pl.String})
    policy = Policy()
    rules = policy.source_rules(rows, "fr") | policy.target_rules(rows, "en") | policy.audio_rules("fr")
    assert set(rules) <= set(REASONS)


def test_the_documentation_lists_every_reason_and_every_column_in_order() -> None:
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    text = (Path(__file__).parents[3] / "docs" / "preparation.md").read_text(encoding="utf-8")
    policy, index = (text.split(f"## {heading}")[1].split("\n## ")[0] for heading in ("What is dropped", "The index"))
    assert re.findall(r"^\| `(\w+)` \|", policy, re.MULTILINE) == list(REASONS)
    columns = re.findall(r"^\| (?:… )?`(\w+)` \|", index, re.MULTILINE)
    assert columns == [*SCHEMA, "direction", "characters", "reason", "flag"]
    for option in re.findall(r"`(--[\w-]+)`", policy):
        assert option in parser.format_help(), option
