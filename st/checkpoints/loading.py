"""One call for every format: find out what a file is, read it, give it its vocabularies."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Mapping
from pathlib import Path

import torch

from st.checkpoints.adapters import say_licence, speak
from st.checkpoints.assemble import build_model
from st.checkpoints.bundle import ModelBundle, check_sizes
from st.checkpoints.contents import Contents, restore_floats
from st.checkpoints.door import is_mapped, read_pickled
from st.checkpoints.formats.fairseq.reader import read_fairseq
from st.checkpoints.formats.peft import refuse_adapter
from st.checkpoints.formats.transformers.reader import CTC_FOLDER, LM_FOLDER, WEIGHT_FILES, read_transformers
from st.checkpoints.hub import is_of_hub, snapshot
from st.checkpoints.labels import find_labels
from st.checkpoints.vocabularies import VocabularyFiles, find_text, trained_directions
from st.doors.parsing import parsing
from st.errors import CheckpointError
from st.modules.config import LengthAdaptorConfig, ModelConfig

logger = logging.getLogger(__name__)

_EXPECTED = "a model of a known format"

PADDINGS: dict[str, dict[str, bool]] = {
    "masked": {"legacy_padding": False, "mask_input": True},
    "fairseq": {"legacy_padding": True, "mask_input": True},
    "transformers": {"legacy_padding": True, "mask_input": False},
}
"""How the length adaptor treats padding. ``masked`` never lets it reach a valid state, so that a result does not depend
on what else is in the batch; the others do as fairseq 0.12.2 and transformers do in a padded batch."""


def load(
    source: Path | str,
    *,
    data_dir: Path | str | None = None,
    spm: Path | str | None = None,
    dictionary: Path | str | None = None,
    ctc_vocab: Path | str | None = None,
    language_ids: Mapping[str, int] | None = None,
    revision: str | None = None,
    sha256: str | None = None,
    verify: bool = True,
    padding: str | None = None,
    language: str | None = None,
    device: torch.device | str = "cpu",
    dtype: torch.dtype | str | None = None,
) -> ModelBundle:
    """Load a model and its text processing, whatever the format.

    Args:
        source: A file of fairseq (``.pt``), a folder of transformers, a folder with an unpacked fairseq release, a
            checkpoint or model folder of ours, or a hub id such as ``facebook/wav2vec2-xls-r-300m-21-to-en``.
        data_dir: Prepared tree to take all vocabularies from; None for those inside or beside the file.
        spm: SentencePiece model, where the file has none.
        dictionary: fairseq dictionary of the decoder, where the file has none.
        ctc_vocab: ``vocab.json`` or fairseq dictionary of the CTC head, where the file has none.
        language_ids: Ids of language tags by code that replace the usual ones, e.g. ``{"lv": 250017}``.
        revision: Commit, tag or branch of a hub id; pin a commit to get the same files for ever.
        sha256: Digest that the weight file must have. It also vouches for the file: classes in it that are not on
            the allow-list are then read as inert stand-ins.
        verify: Whether to compare the checksums that the file holds of its own contents.
        padding: A name of :data:`PADDINGS`; None for that of the implementation that the file comes from.
        language: Of a model of MMS, the language whose adapters and CTC head it shall have, e.g. ``fra``; other models
            take no notice. None for those that its file has itself.
        device: Where the model shall be.
        dtype: Type of its parameters; float32 if None. ``int8`` as :func:`build_model` says, for inference alone.

    Returns:
        The model in evaluation mode, with its vocabularies.

    Raises:
        CheckpointError: If the file is missing, damaged, unsafe, of no known format, or does not fit the model; or if
            a vocabulary is missing, which the message asks for by name.
        ConfigError: If a vocabulary is malformed.
    """
    path, name = resolve(source, revision, language)
    codes = dtype in (torch.int8, "int8")
    contents = read_contents(path, sha256=sha256, verify=verify, language=language, codes=codes)
    files = VocabularyFiles(
        data_dir=_path(data_dir), spm=_path(spm), dictionary=_path(dictionary), language_ids=language_ids
    )
    text, data = find_text(contents, files)
    labels = find_labels(contents, data_dir=files.data_dir, given=_path(ctc_vocab))
    config = with_padding(contents.config, padding)
    check_sizes(config, text, labels, source=name)
    model = build_model(
        config,
        contents.state,
        source=name,
        device=device,
        dtype=dtype,
        label=contents.keymap.theirs,
        mapped=contents.mapped,
        scales=contents.scales,
    )
    logger.info("%s: %s", name, contents.format)
    trained = trained_directions(contents)
    return ModelBundle(
        model,
        text,
        labels,
        data,
        name,
        contents.format,
        trained,
        contents.decoder_trained,
        contents.decoder_transcribes,
        lm=own_lm(contents),
        language=contents.language,
    )


def own_lm(contents: Contents) -> Path | None:
    """Return the folder of a model that brings a language model for its CTC head along; None if it has none."""
    if not (contents.path.is_dir() and contents.config.ctc_vocab_size):
        return None
    folders = (contents.path, contents.path / CTC_FOLDER)
    return next((folder for folder in folders if (folder / LM_FOLDER).is_dir()), None)


def read_contents(
    path: Path, *, sha256: str | None = None, verify: bool = True, language: str | None = None, codes: bool = False
) -> Contents:
    """Find out what a file or folder is and read its weights; arguments as for :func:`load`.

    ``codes`` is whether weights of 8 bits stay codes, with their scales; otherwise they are made float32.

    Raises:
        CheckpointError: If there is nothing, or nothing of a known format; or no adapters for the language.
    """
    contents = _read(path, sha256=sha256, verify=verify)
    say_licence(contents)
    with parsing(path, CheckpointError, expected=_EXPECTED):
        speak(contents, language)
    if not codes:
        restore_floats(contents)
    return contents


def _read(path: Path, *, sha256: str | None, verify: bool) -> Contents:
    if path.is_file() and path.parent.joinpath("config.json").is_file() and path.name in WEIGHT_FILES:
        path = path.parent
    refuse_adapter(path)
    if path.is_dir() and (path / "config.json").is_file():
        with parsing(path, CheckpointError, expected=_EXPECTED):
            return read_transformers(path, sha256=sha256, verify=verify)
    if path.is_dir():
        path = _fairseq_file(path)
    if path.suffix == ".safetensors":
        raise CheckpointError(f"{path}: tensors without a config.json beside them; give a folder that has both")
    content = read_pickled(path, sha256=sha256, verify=verify)
    with parsing(path, CheckpointError, expected=_EXPECTED):
        contents = read_fairseq(path, content)
    contents.mapped = is_mapped(path)
    return contents


def resolve(source: Path | str, revision: str | None = None, language: str | None = None) -> tuple[Path, str]:
    """Return where a checkpoint is on this machine, and its name for messages; arguments as for :func:`load`.

    Raises:
        CheckpointError: If it is neither here nor on the hub.
    """
    if not is_of_hub(source, revision):
        return Path(source), str(source)
    folder, commit = snapshot(str(source), revision, language)
    return folder, f"{str(source).partition('@')[0]}@{commit}"


def with_padding(config: ModelConfig, padding: str | None) -> ModelConfig:
    """Return ``config`` with another treatment of padding in its adaptor.

    Raises:
        CheckpointError: If there is no such treatment.
    """
    if padding is None:
        return config
    if padding not in PADDINGS:
        raise CheckpointError(f"padding is {padding!r}; choose from: {', '.join(PADDINGS)}")
    adaptor: LengthAdaptorConfig = dataclasses.replace(config.length_adaptor, **PADDINGS[padding])
    return dataclasses.replace(config, length_adaptor=adaptor)


def _fairseq_file(folder: Path) -> Path:
    """Return the checkpoint of an unpacked fairseq release."""
    if (folder / "model.pt").is_file():
        return folder / "model.pt"
    found = sorted(folder.glob("*.pt"))
    if len(found) != 1:
        best = [path for path in found if path.name in ("checkpoint_best.pt", "checkpoint_last.pt")]
        hint = f", such as {best[0]}" if best else ""
        raise CheckpointError(
            f"{folder}: is a directory with {len(found)} .pt files and no config.json; expected a folder of "
            f"transformers (config.json), an unpacked fairseq release (model.pt), or a file{hint}"
        )
    return found[0]


def _path(path: Path | str | None) -> Path | None:
    return None if path is None else Path(path)
