"""The data config: what ``config.yaml`` of a prepared tree says, with a fixed set of keys."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

import yaml

from st.errors import ConfigError
from st.files import write_text

CONFIG_FILENAME = "config.yaml"

_ANY_LIST_OF_TEXT = "a list of text"
_ONLY_VALUES = {"sample_rate": 16_000, "prepend_tgt_lang_tag": True}
"""Settings of fairseq's S2T configs of which one value is supported here."""


def _default_tokenizer() -> dict[str, str]:
    return {"bpe": "sentencepiece", "sentencepiece_model": "spm.model"}


@dataclass(frozen=True, kw_only=True, slots=True)
class DataConfig:
    """How the files of a prepared tree are to be read; every path is relative to the tree."""

    sample_rate: int = 16_000
    """Samples per second of every recording; always 16,000, the rate that XLS-R reads."""
    vocab_filename: str = "dict.txt"
    """fairseq dictionary of the target side."""
    bpe_tokenizer: dict[str, str] = field(default_factory=_default_tokenizer)
    """``{bpe: sentencepiece, sentencepiece_model: <file>}``, as fairseq's S2T tasks write it."""
    ctc_vocab_filename: str = "ctc_vocab.json"
    """Vocabulary of the CTC head."""
    prepend_tgt_lang_tag: bool = True
    """Whether the target begins with the tag of its language; it always does."""
    lang_tag_format: str = "<lang:{}>"
    """How a language code becomes a tag; ``[{}]`` in mBART-50's own dictionary."""
    standardize_audio: bool = True
    """Whether each utterance is brought to zero mean and unit variance, as XLS-R expects."""
    directions: tuple[str, ...] = ()
    """Directions the tree holds, such as ``fr_en``."""

    def __post_init__(self) -> None:
        """Check the values.

        Raises:
            ConfigError: If a value is of the wrong type or out of range.
        """
        for item in fields(self):
            self._check_type(item.name, getattr(self, item.name), str(item.type))
        for name, only in _ONLY_VALUES.items():
            if getattr(self, name) != only:
                raise ConfigError(f"{name} is {getattr(self, name)}; expected {only}, no other value is supported")
        if "{}" not in self.lang_tag_format:
            raise ConfigError(f"lang_tag_format is {self.lang_tag_format!r}; expected a text with {{}} in it")
        if self.bpe_tokenizer.get("bpe") != "sentencepiece" or "sentencepiece_model" not in self.bpe_tokenizer:
            raise ConfigError(
                f"bpe_tokenizer is {self.bpe_tokenizer!r}; expected {{bpe: sentencepiece, sentencepiece_model: FILE}}"
            )

    @staticmethod
    def _check_type(name: str, value: object, annotation: str) -> None:
        expected: type = {"int": int, "str": str, "bool": bool}.get(annotation.split("[")[0], object)
        wrong = not isinstance(value, expected) or (expected is int and isinstance(value, bool))
        if annotation.startswith("dict"):
            wrong = not (isinstance(value, dict) and all(isinstance(part, str) for part in (*value, *value.values())))
        elif annotation.startswith("tuple"):
            wrong = not (isinstance(value, tuple) and all(isinstance(part, str) for part in value))
        if wrong:
            readable = _ANY_LIST_OF_TEXT if annotation.startswith("tuple") else annotation
            raise ConfigError(f"{name} is {value!r}; expected {readable}")

    @classmethod
    def load(cls, path: Path | str) -> DataConfig:
        """Read a data config.

        Args:
            path: The YAML file, or the folder of a prepared tree.

        Raises:
            ConfigError: If the file is missing, is not YAML, or has an unknown key or a wrong value.
        """
        path = Path(path)
        if path.is_dir():
            path = path / CONFIG_FILENAME
        try:
            content: Any = yaml.safe_load(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise ConfigError(f"{path}: no such file; is this a tree that `covost prepare` finished?") from None
        except (yaml.YAMLError, UnicodeDecodeError) as exc:
            raise ConfigError(f"{path}: not plain YAML: {exc}") from exc
        if not isinstance(content, dict):
            raise ConfigError(
                f"{path}: found {type(content).__name__}; expected the settings of a tree that `covost prepare` made"
            )
        known = [item.name for item in fields(cls)]
        unknown = [str(key) for key in content if key not in known]
        if unknown:
            raise ConfigError(f"{path}: unknown key {', '.join(unknown)}; known keys: {', '.join(known)}")
        if isinstance(content.get("directions"), list):
            content["directions"] = tuple(content["directions"])
        try:
            return cls(**content)
        except ConfigError as exc:
            raise ConfigError(f"{path}: {exc}") from None

    def to_yaml(self) -> str:
        """Return the YAML text that :meth:`load` reads back."""
        content = asdict(self)
        content["directions"] = list(self.directions)
        return str(yaml.safe_dump(content, sort_keys=False, allow_unicode=True))

    def save(self, path: Path | str) -> None:
        """Write the config atomically; ``path`` is the YAML file or the folder of the tree."""
        path = Path(path)
        write_text(path / CONFIG_FILENAME if path.is_dir() else path, self.to_yaml())
