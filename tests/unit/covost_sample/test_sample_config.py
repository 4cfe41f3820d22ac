"""Settings of the sample corpus: what is refused, and which folder is whose."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest

from covost.sample.config import SETTINGS_FILE, SampleConfig, claim_folder
from st.errors import UsageError
from st.evaluation.covost2 import CODES, DIRECTIONS


def test_all_languages_give_all_directions() -> None:
    assert SampleConfig(languages=CODES).directions == DIRECTIONS


def test_targets_are_text_only() -> None:
    config = SampleConfig(languages=("en", "fr"), targets=("zh-CN", "de"))
    assert config.directions == ("fr_en", "en_de", "en_zh-CN")
    assert set(config.text_languages) == {"en", "fr", "de", "zh-CN"}


def test_english_need_not_be_spoken() -> None:
    config = SampleConfig(languages=("fr", "cy"))
    assert config.directions == ("fr_en", "cy_en")
    assert "en" in config.text_languages


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"languages": ("xx",)}, "no language 'xx'"),
        ({"languages": ()}, "`languages` names no language"),
        ({"languages": ("fr", "fr")}, "`languages` names a language twice"),
        ({"languages": ("en",)}, "`languages` en needs `targets`"),
        ({"languages": ("en", "de"), "targets": ("fr",)}, "`targets` fr"),
        ({"languages": ("fr",), "targets": ("de",)}, "`targets` de"),
        ({"languages": ("fr",), "hours": 0.0}, "`hours` is 0.0"),
        ({"languages": ("fr",), "hours": math.nan}, "`hours` is nan"),
        ({"languages": ("fr",), "hours": math.inf}, "`hours` is inf"),
        ({"languages": ("fr",), "num_train_voices": 0}, "`num_train_voices` is 0"),
        ({"languages": ("fr",), "num_train_voices": 1000}, "`num_train_voices` is 1000"),
    ],
)
def test_impossible_settings_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        SampleConfig(**settings)


def test_held_out_splits_are_large_enough_to_score_and_leave_most_to_train() -> None:
    demo = SampleConfig(languages=("en", "fr", "de", "es"), hours=3)
    assert (demo.num_held_out("dev"), demo.num_held_out("test")) == (60, 100)
    large = SampleConfig(languages=("fr",), hours=20)
    assert large.num_held_out("dev") == large.num_held_out("test") == pytest.approx(0.05 * 20 * 3600 / 2.7, abs=1)
    tiny = SampleConfig(languages=("fr",), hours=0.02)
    assert tiny.num_held_out("dev") == 3
    assert tiny.num_held_out("test") == 5


def test_a_folder_is_claimed_once_for_one_set_of_settings(tmp_path: Path) -> None:
    config = SampleConfig(languages=("fr",))
    claim_folder(tmp_path / "corpus", config)
    claim_folder(tmp_path / "corpus", config)
    with pytest.raises(UsageError, match=r"other settings \(seed: 1, now 2\); choose another `out`"):
        claim_folder(tmp_path / "corpus", SampleConfig(languages=("fr",), seed=2))


def test_a_folder_of_something_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(UsageError, match="is not empty and holds no sample corpus"):
        claim_folder(tmp_path, SampleConfig(languages=("fr",)))
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


@pytest.mark.parametrize("content", ["", "[]", "\udce9".encode("utf-8", "surrogateescape").decode("latin-1"), "{"])
def test_unreadable_settings_are_a_usage_error(tmp_path: Path, content: str) -> None:
    (tmp_path / SETTINGS_FILE).write_text(content, encoding="latin-1")
    with pytest.raises(UsageError, match="not the settings of a sample corpus"):
        claim_folder(tmp_path, SampleConfig(languages=("fr",)))
