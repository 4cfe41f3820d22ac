from __future__ import annotations

from pathlib import Path

import pytest

from st.data.config import DataConfig
from st.errors import ConfigError


def test_what_is_saved_is_loaded_and_is_plain_yaml(tmp_path: Path) -> None:
    config = DataConfig(
        directions=("fr_en", "en_zh-CN"),
        lang_tag_format="[{}]",
        standardize_audio=False,
        clip_s=6.3,
        clip_silence={"before_s": 0.1, "after_s": -0.05, "within_s": 0.6},
    )
    config.save(tmp_path)
    assert DataConfig.load(tmp_path) == DataConfig.load(tmp_path / "config.yaml") == config
    text = (tmp_path / "config.yaml").read_text(encoding="utf-8")
    assert "!!" not in text
    assert "sample_rate: 16000" in text


def test_an_empty_mapping_means_the_defaults(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text("{}", encoding="utf-8")
    assert DataConfig.load(tmp_path) == DataConfig()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("sample_rat: 16000", "unknown key sample_rat; known keys: sample_rate"),
        ("sample_rate: '16000'", "sample_rate is '16000'; expected int"),
        ("sample_rate: true", "sample_rate is True; expected int"),
        ("sample_rate: -1", "sample_rate is -1; expected 16000"),
        ("sample_rate: 8000", "sample_rate is 8000; expected 16000"),
        ("prepend_tgt_lang_tag: false", "prepend_tgt_lang_tag is False; expected True"),
        ("clip_s: -1", "clip_s is -1; expected seconds, at least 0"),
        ("clip_s: '6'", "clip_s is '6'; expected seconds"),
        ("clip_s: .nan", "clip_s is nan; expected seconds"),
        ("clip_silence: {before_s: 1}", "clip_silence is {'before_s': 1}; expected before_s, after_s, within_s"),
        ("clip_silence: 3", "clip_silence is 3; expected before_s"),
        ("clip_silence: {before_s: 1, after_s: x, within_s: 0}", "clip_silence: found 'x'; expected seconds"),
        ("clip_silence: {before_s: 1, after_s: .nan, within_s: 0}", "clip_silence: found nan; expected seconds"),
        ("directions: fr_en", "directions is 'fr_en'; expected a list of text"),
        ("bpe_tokenizer: {bpe: subword_nmt}", "expected {bpe: sentencepiece"),
        ("lang_tag_format: '<lang>'", "with {} in it"),
        ("standardize_audio: 1", "standardize_audio is 1; expected bool"),
        ("- a", "found list; expected the settings"),
        ("a: [", "not plain YAML"),
        ("x: !!python/object/apply:os.system ['true']", "not plain YAML"),
    ],
)
def test_wrong_configs_name_the_file_and_the_key(text: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError) as caught:
        DataConfig.load(tmp_path)
    assert message in str(caught.value)
    assert "config.yaml" in str(caught.value)


def test_missing_file_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no such file; is this a tree that a preparation finished"):
        DataConfig.load(tmp_path)
