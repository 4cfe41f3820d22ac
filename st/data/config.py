"""The data config: what ``config.yaml`` of a prepared tree says, with a fixed set of keys."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path, PurePosixPath
from typing import Any

import yaml

from st.data.clips import Clips, Silences
from st.doors.readers import read_yaml
from st.doors.shown import shown
from st.errors import ConfigError
from st.files import write_text
from st.text.languages import declare

CONFIG_FILENAME = "config.yaml"
CTC = "ctc"
"""Name of the head that transcribes: ``ctc_vocab_filename`` declares it, and ``src_text`` is its text."""

_ANY_LIST_OF_TEXT = "a list of text"
_COPY_IT = "expected a file in this folder: copy it there"
_ONLY_VALUES = {"sample_rate": 16_000, "prepend_tgt_lang_tag": True}
"""Settings of fairseq's S2T configs of which one value is supported here."""


def _default_tokenizer() -> dict[str, str]:
    return {"bpe": "sentencepiece", "sentencepiece_model": "spm.model"}


@dataclass(frozen=True, kw_only=True, slots=True)
class HeadData:
    """What a head of the model learns from."""

    kind: str
    """A kind of head, such as ``ctc``; :data:`st.modules.heads.HEADS` has them."""
    vocab_filename: str
    """Its vocabulary, in the form that its kind reads."""
    column: str
    """Column of the manifests that its text stands in."""
    layer: int = 0
    """Layer of the encoder that it reads, 1 for the first; 0 for the encoder's output; -1, of a head that classifies, for
    the mean of all, whose weights are learned."""
    options: Mapping[str, Any] = field(default_factory=dict)
    """What its kind leaves open, such as ``{width: 1024}``; :mod:`st.modules.heads` knows the options."""

    def __post_init__(self) -> None:
        """Check the values.

        Raises:
            ConfigError: If a value is of the wrong type, or the vocabulary lies elsewhere.
        """
        for item in fields(self):
            _check_type(item.name, getattr(self, item.name), str(item.type))
        if not stays_below(self.vocab_filename):
            raise ConfigError(f"vocab_filename is {shown(self.vocab_filename)}; {_COPY_IT}")


@dataclass(frozen=True, kw_only=True, slots=True)
class DataConfig:
    """How the files of a prepared tree are to be read; every path is relative to the tree and stays in it."""

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
    clip_s: float = 0.0
    """Seconds that one training recording in a hundred is longer than; 0 if that is unknown."""
    clip_silence: Mapping[str, float] = field(default_factory=dict)
    """Seconds without speech in training recordings, ``{before_s: 0.4, after_s: 0.5, within_s: 0.6}``, as
    :class:`st.data.clips.Silences` has them; empty if unknown."""
    languages: Mapping[str, Any] = field(default_factory=dict)
    """What is to be known of languages that this project's table lacks, see :func:`st.text.languages.declare`, which is
    told: ``{mdw: {name: Mbosi, script: Latn, spaces: true, bleu: 13a}}``."""
    heads: Mapping[str, Any] = field(default_factory=dict)
    """Heads beside the CTC head, by name, each as :class:`HeadData` has it:
    ``{phones: {kind: ctc, vocab_filename: phones.json, column: phones, layer: 12}}``."""

    def __post_init__(self) -> None:
        """Check the values.

        Raises:
            ConfigError: If a value is of the wrong type or out of range.
        """
        for item in fields(self):
            _check_type(item.name, getattr(self, item.name), str(item.type))
        for name, only in _ONLY_VALUES.items():
            if getattr(self, name) != only:
                raise ConfigError(
                    f"{name} is {shown(getattr(self, name))}; expected {only}, no other value is supported"
                )
        if isinstance(self.clip_s, bool) or not isinstance(self.clip_s, (int, float)) or not 0 <= self.clip_s < 1e6:
            raise ConfigError(f"clip_s is {shown(self.clip_s)}; expected seconds, at least 0")
        _ = self.clips
        declare(self.languages)
        before, found, after = self.lang_tag_format.partition("{}")
        if not found or any(brace in before + after for brace in "{}"):
            raise ConfigError(
                f"lang_tag_format is {shown(self.lang_tag_format)}; expected a text with {{}} in it, once"
            )
        if self.bpe_tokenizer.get("bpe") != "sentencepiece" or "sentencepiece_model" not in self.bpe_tokenizer:
            raise ConfigError(
                f"bpe_tokenizer is {shown(self.bpe_tokenizer)}; expected {{bpe: sentencepiece, sentencepiece_model: FILE}}"
            )
        names = {name: getattr(self, name) for name in ("vocab_filename", "ctc_vocab_filename")}
        for key, name in (names | {"sentencepiece_model": self.bpe_tokenizer["sentencepiece_model"]}).items():
            if not stays_below(name):
                raise ConfigError(f"{key} is {shown(name)}; {_COPY_IT}")
        if not isinstance(self.heads, Mapping) or not all(isinstance(name, str) for name in self.heads):
            raise ConfigError(f"heads is {shown(self.heads)}; expected a table of names and settings")
        if CTC in self.heads:
            raise ConfigError(f"heads has {CTC}; expected others alone: ctc_vocab_filename and src_text are of {CTC}")
        _ = self.head_data

    @property
    def clips(self) -> Clips:
        """What is known of the training recordings.

        Raises:
            ConfigError: If ``clip_silence`` is malformed.
        """
        try:
            silences = Silences(**self.clip_silence) if self.clip_silence else None
        except TypeError:
            known = ", ".join(item.name for item in fields(Silences))
            raise ConfigError(f"clip_silence is {shown(self.clip_silence)}; expected {known}") from None
        except ConfigError as exc:
            raise ConfigError(f"clip_silence: {exc}") from None
        return Clips(longest_s=self.clip_s, silences=silences)

    @property
    def head_data(self) -> dict[str, HeadData]:
        """All heads by name, the CTC head first.

        Raises:
            ConfigError: If what ``heads`` says of one is malformed.
        """
        found = {CTC: HeadData(kind="ctc", vocab_filename=self.ctc_vocab_filename, column="src_text")}
        known = [item.name for item in fields(HeadData)]
        for name, settings in self.heads.items():
            try:
                found[name] = HeadData(**settings)
            except TypeError:
                raise ConfigError(f"heads: {shown(name)} has {shown(settings)}; expected {', '.join(known)}") from None
            except ConfigError as exc:
                raise ConfigError(f"heads: {shown(name)}: {exc}") from None
        return found

    @property
    def text_files(self) -> tuple[str, str]:
        """The files of the decoder's vocabulary. A tree of recognition alone has neither."""
        return self.bpe_tokenizer["sentencepiece_model"], self.vocab_filename

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
            content: Any = read_yaml(path, ConfigError)
        except FileNotFoundError:
            raise ConfigError(f"{path}: no such file; is this a tree that a preparation finished?") from None
        if not isinstance(content, dict):
            raise ConfigError(f"{path}: found {type(content).__name__}; expected the settings of a prepared tree")
        known = [item.name for item in fields(cls)]
        unknown = [key if isinstance(key, str) else shown(key) for key in content if key not in known]
        if unknown:
            raise ConfigError(f"{path}: unknown key {', '.join(unknown[:5])}; known keys: {', '.join(known)}")
        if isinstance(content.get("directions"), list):
            content["directions"] = tuple(content["directions"])
        _take_in(content.get("bpe_tokenizer"), path.parent)
        try:
            return cls(**content)
        except ConfigError as exc:
            raise ConfigError(f"{path}: {exc}") from None

    def to_yaml(self) -> str:
        """Return the YAML text that :meth:`load` reads back."""
        content = asdict(self)
        content["directions"] = list(self.directions)
        for name in ("clip_s", "clip_silence", "languages", "heads"):
            if not content[name]:
                del content[name]
        return str(yaml.safe_dump(content, sort_keys=False, allow_unicode=True))

    def save(self, path: Path | str) -> None:
        """Write the config atomically; ``path`` is the YAML file or the folder of the tree."""
        path = Path(path)
        write_text(path / CONFIG_FILENAME if path.is_dir() else path, self.to_yaml())


def _check_type(name: str, value: object, annotation: str) -> None:
    expected: type = {"int": int, "str": str, "bool": bool}.get(annotation.split("[")[0], object)
    wrong = not isinstance(value, expected) or (expected is int and isinstance(value, bool))
    if annotation.startswith("dict"):
        wrong = not (isinstance(value, dict) and all(isinstance(part, str) for part in (*value, *value.values())))
    elif annotation.startswith("tuple"):
        wrong = not (isinstance(value, tuple) and all(isinstance(part, str) for part in value))
    if wrong:
        readable = _ANY_LIST_OF_TEXT if annotation.startswith("tuple") else annotation
        raise ConfigError(f"{name} is {shown(value)}; expected {readable}")


def stays_below(name: object) -> bool:
    """Return whether ``name`` is that of a file in or below the folder it is used in, and can be written as UTF-8."""
    if not isinstance(name, str) or any("\ud800" <= character <= "\udfff" for character in name):
        return False
    path = PurePosixPath(name)
    return path.name != "" and not path.is_absolute() and ".." not in path.parts and not set(name) & set("\0\\")


def _take_in(tokenizer: object, folder: Path) -> None:
    """Reduce the path of a SentencePiece model that lies in this folder to its name; fairseq writes absolute ones."""
    name = tokenizer.get("sentencepiece_model") if isinstance(tokenizer, dict) else None
    if isinstance(tokenizer, dict) and isinstance(name, str) and Path(name).parent == folder.absolute():
        tokenizer["sentencepiece_model"] = Path(name).name
