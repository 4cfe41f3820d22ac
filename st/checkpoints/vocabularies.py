"""Find the vocabularies that belong to a checkpoint, wherever its format keeps them; what is missing is asked for."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from st.checkpoints.contents import Contents, unpacked
from st.checkpoints.formats import fields
from st.checkpoints.formats.fairseq.reader import OWN_TRAINING
from st.checkpoints.formats.settings import read_json_if_any, refuse_builders, require
from st.checkpoints.formats.transformers.preprocessor import read_preprocessor
from st.checkpoints.formats.transformers.reader import OWN_FILENAME, OWN_FOLDER
from st.data.config import CONFIG_FILENAME, DataConfig
from st.doors.readers import read_yaml
from st.errors import CheckpointError, ConfigError
from st.text.languages import canonical, in_order, is_code
from st.text.sentencepiece_training import mbart50_tags, model_pieces
from st.text.vocabulary import TextVocabulary, read_dictionary

SPM_FILENAMES = ("sentencepiece.bpe.model", "sentence.bpe.model", "spm.model")
DICT_FILENAMES = ("dict.txt", "dict.en_XX.txt")
MBART_TAG_FORMAT = "[{}]"
COVOST_TAG_FORMAT = "<lang:{}>"


@dataclass(frozen=True, kw_only=True)
class VocabularyFiles:
    """Files that the caller names; None for those beside or inside the checkpoint."""

    data_dir: Path | None = None
    """Prepared tree."""
    spm: Path | None = None
    """SentencePiece model."""
    dictionary: Path | None = None
    """fairseq dictionary of the decoder."""
    ctc_vocab: Path | None = None
    """``vocab.json`` or fairseq dictionary of the CTC head."""
    language_ids: Mapping[str, int] | None = None
    """Ids of language tags by code that replace those of the language table, e.g. ``{"lv": 250017}``."""


NO_FILES = VocabularyFiles()
"""The caller names none."""


class SlottedVocabulary(TextVocabulary):
    """A text vocabulary some of whose languages stand on slots of the caller's choice."""

    def __init__(
        self, model_path: Path, symbols: Sequence[str], lang_tag_format: str, slots: Mapping[str, int]
    ) -> None:
        self.slots = {canonical(code): number for code, number in slots.items()}
        super().__init__(model_path, symbols, lang_tag_format)
        self.languages = in_order({*self.languages, *self.slots})
        wrong = [f"{code}: {number}" for code, number in slots.items() if not 0 <= number < len(self.symbols)]
        if wrong:
            raise ConfigError(f"language ids outside the {len(self.symbols)} symbols: {', '.join(wrong)}")

    def _find_tag(self, code: str) -> int | None:
        known = canonical(code) if is_code(code) else code
        return self.slots.get(known, super()._find_tag(code))


def _of_tree(folder: Path, slots: Mapping[str, int], contents: Contents) -> tuple[SlottedVocabulary | None, DataConfig]:
    """Return the vocabulary of the model's decoder, if it has one, and the config of a prepared tree.

    Raises:
        ConfigError: As :meth:`TextVocabulary.load`.
    """
    config = DataConfig.load(folder)
    if "decoder" not in contents.config.parts:
        return None, config
    symbols = read_dictionary(folder / config.vocab_filename)
    model = folder / config.bpe_tokenizer["sentencepiece_model"]
    return SlottedVocabulary(model, symbols, config.lang_tag_format, slots), config


def find_text(contents: Contents, wanted: VocabularyFiles) -> tuple[TextVocabulary | None, DataConfig]:
    """Return the decoder's vocabulary, None if there is no decoder, and how audio and text are to be handled.

    Raises:
        CheckpointError: If a file is missing; the message names it and the argument that would give it.
        ConfigError: If a file is malformed.
    """
    text, data = _text_and_data(contents, wanted)
    if not contents.config.encoder.standardizes:  # whatever a tree says of waves
        data = dataclasses.replace(data, standardize_audio=False)
    return text, data


def _text_and_data(contents: Contents, wanted: VocabularyFiles) -> tuple[TextVocabulary | None, DataConfig]:
    slots = {**contents.language_ids, **(wanted.language_ids or {})}
    if wanted.data_dir is not None:
        text, data = _of_tree(wanted.data_dir, slots, contents)
        if (
            contents.format != OWN_TRAINING
        ):  # whether waves are standardised is the checkpoint's, which learned from such
            data = dataclasses.replace(data, standardize_audio=_data_config(contents).standardize_audio)
        return text, data
    if contents.format == OWN_TRAINING:
        with unpacked(contents.files, text="decoder" in contents.config.parts) as folder:
            return _of_tree(folder, slots, contents)
    data = _data_config(contents)
    if "decoder" not in contents.config.parts:
        return None, data
    model = wanted.spm or _beside(contents.folder, (data.bpe_tokenizer["sentencepiece_model"], *SPM_FILENAMES))
    if model is None:
        raise CheckpointError(
            f"{contents.path}: a {contents.format} file without a SentencePiece model; expected "
            f"{SPM_FILENAMES[0]} beside it, or the file as `spm`"
        )
    dictionary = wanted.dictionary or _beside(contents.folder, (data.vocab_filename, *DICT_FILENAMES))
    symbols = _symbols(contents, model, dictionary)
    tag_format = COVOST_TAG_FORMAT if any(symbol.startswith("<lang:") for symbol in symbols) else MBART_TAG_FORMAT
    text = SlottedVocabulary(model, symbols, tag_format, slots)
    return text, DataConfig(
        sample_rate=data.sample_rate,
        lang_tag_format=tag_format,
        standardize_audio=data.standardize_audio,
        directions=data.directions,
        clip_s=data.clip_s,
        clip_silence=data.clip_silence,
        languages=data.languages,
    )


def trained_directions(contents: Contents) -> tuple[str, ...]:
    """Return the directions of the data that a checkpoint was trained on; none if it does not say.

    Raises:
        ConfigError: If the config that it carries is malformed.
    """
    if contents.format == OWN_TRAINING and CONFIG_FILENAME not in contents.files:
        return ()
    return _data_config(contents).directions


def _symbols(contents: Contents, model: Path, dictionary: Path | None) -> list[str]:
    """Return the dictionary's symbols; without one, those of mBART-50 if the sizes say that it is meant."""
    size = contents.config.decoder.vocab_size
    if dictionary is not None:
        symbols = read_dictionary(dictionary)
        # The dictionary of mBART-50's release stops at the pieces; fairseq's task adds the tags.
        return [*symbols, *mbart50_tags()] if len(symbols) + len(mbart50_tags()) + 4 == size else symbols
    symbols = [*model_pieces(model.read_bytes()), *mbart50_tags()]
    if len(symbols) + 4 != size:
        raise CheckpointError(
            f"{contents.path}: a {contents.format} file of {size} symbols without a dictionary, and mBART-50's over "
            f"{model.name} has {len(symbols) + 4}; expected {DICT_FILENAMES[0]} beside it, or the file as "
            f"`dictionary`"
        )
    return symbols


def _beside(folder: Path, names: Sequence[str]) -> Path | None:
    return next((folder / name for name in names if (folder / name).is_file()), None)


def _data_config(contents: Contents) -> DataConfig:
    """Return how a checkpoint, or the files beside it, say that audio and text are to be handled."""
    folder = contents.folder
    if contents.format == OWN_TRAINING:
        with unpacked(contents.files) as carried:
            return DataConfig.load(carried)
    if contents.format == OWN_FOLDER:
        return _own_data_config(folder / OWN_FILENAME)
    if (folder / CONFIG_FILENAME).is_file():
        return _fairseq_data_config(folder / CONFIG_FILENAME)
    if contents.format.startswith("fairseq"):
        return _known({"standardize_audio": contents.settings.get("normalize")})
    settings = read_preprocessor(folder, mel=not contents.config.encoder.standardizes)
    return _known({"standardize_audio": settings.get("do_normalize")})


def _own_data_config(path: Path) -> DataConfig:
    content = read_json_if_any(path).get("data_config", {})
    if not isinstance(content, dict):
        raise CheckpointError(f"{path}: data_config is a {type(content).__name__}; expected settings by name")
    try:
        return _known(content)
    except ConfigError as exc:
        raise CheckpointError(f"{path}: data_config: {exc}") from None


def _fairseq_data_config(path: Path) -> DataConfig:
    """Read the config of a published model; of its paths only the file names count."""
    content: Any = read_yaml(path, CheckpointError)
    if not isinstance(content, dict):
        raise CheckpointError(f"{path}: found {type(content).__name__}; expected a mapping of settings")
    refuse_builders(content, str(path))
    tokenizer = content.pop("bpe_tokenizer", None)
    if isinstance(tokenizer, dict) and isinstance(tokenizer.get("sentencepiece_model"), str):
        model = Path(tokenizer["sentencepiece_model"]).name
        content["bpe_tokenizer"] = {"bpe": "sentencepiece", "sentencepiece_model": model}
    if isinstance(content.get("vocab_filename"), str):
        content["vocab_filename"] = Path(content["vocab_filename"]).name
    require(content, fields.REQUIRED["fairseq data"], str(path))
    # The tag of a language is forced whatever a release says of it.
    content.pop("prepend_tgt_lang_tag", None)
    return _known({"standardize_audio": False} | content)


def _known(values: Mapping[str, Any]) -> DataConfig:
    """Build a data config from the values that it knows."""
    names = {item.name for item in dataclasses.fields(DataConfig)}
    chosen = {name: value for name, value in values.items() if name in names and value is not None}
    if isinstance(chosen.get("directions"), list):
        chosen["directions"] = tuple(chosen["directions"])
    return DataConfig(**chosen)
