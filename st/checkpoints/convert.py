"""From any format to transformers' or fairseq's, without building the model."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Callable, Mapping
from pathlib import Path

import torch

from st.checkpoints.assemble import fitting_blueprint, parse_dtype, require_finite
from st.checkpoints.bundle import check_sizes
from st.checkpoints.contents import Contents
from st.checkpoints.door import digest_of
from st.checkpoints.formats.exported import Exported, class_part, ctc_part, encoder_part, int8_part
from st.checkpoints.formats.fairseq.writer import write_fairseq
from st.checkpoints.formats.new_folder import remove_broken_off, visible
from st.checkpoints.formats.onnx.writer import write_onnx
from st.checkpoints.formats.to_adapter import write_adapter
from st.checkpoints.formats.transformers.writer import clear_broken_off, write_transformers
from st.checkpoints.full_vocabulary import restore_vocabulary
from st.checkpoints.labels import find_labels
from st.checkpoints.loading import own_lm, read_contents, resolve, with_padding
from st.checkpoints.origins import origins_of
from st.checkpoints.vocabularies import NO_FILES, VocabularyFiles, find_text
from st.errors import CheckpointError, UsageError
from st.files import remove_leftovers
from st.modules.config import CTC
from st.text.trimming import TRIM_FILENAME
from st.text.vocabulary import TextVocabulary

TARGETS = ("hf", "fairseq", "adapter", "onnx")
FOLDERS = ("hf", "onnx")
"""Those of which a folder holds one model."""
PARTS = ("whole", "ctc", "classes", "encoder")
"""What of a model is written: all that it has, or the encoder with its CTC head, with its head that classifies, or alone."""

logger = logging.getLogger(__name__)


def convert(
    source: Path | str,
    out: Path | str,
    to: str,
    *,
    files: VocabularyFiles = NO_FILES,
    revision: str | None = None,
    sha256: str | None = None,
    padding: str | None = None,
    dtype: torch.dtype | str | None = None,
    overwrite: bool = False,
    full_vocab: Path | str | None = None,
    parts: str | None = None,
    finish: Callable[[Path], None] | None = None,
    language: str | None = None,
) -> str:
    """Write a checkpoint in another format.

    Args:
        source: Anything that :func:`st.load` opens.
        out: Folder for ``hf``, ``onnx`` and ``adapter``, file for ``fairseq``.
        to: A name of :data:`TARGETS`.
        files: Vocabularies that the source lacks.
        revision: Commit of a hub id.
        sha256: Digest of the weight file.
        padding: Treatment of padding to note in the result.
        dtype: Type to write floating tensors as; None for that of the file. ``int8``, for ``hf``: a folder for inference
            with ``dtype`` int8, which transformers does not open. For ``onnx`` see :func:`write_onnx`.
        overwrite: Whether ``out`` may exist.
        full_vocab: For a model with a trimmed vocabulary: the checkpoint whose decoder it began with, to put the rows
            that were cut away back.
        parts: A name of :data:`PARTS`; None for the whole model, but for ``hf`` for the recogniser alone where no
            training has taught the decoder, and for ``onnx`` for the recogniser, or the encoder where there is none.
        finish: Adds further files to a folder for ``hf`` before it takes its place.
        language: As for :func:`st.load`; of a model of one language, what ``adapter`` calls it.

    Returns:
        What the source was found to be.

    Raises:
        CheckpointError: If the source cannot be read or the target format has no such model.
        UsageError: If there is no such target, ``out`` exists, or arguments contradict each other.
    """
    for argument, value, known in (("to", to, TARGETS), ("parts", parts, (*PARTS, None))):
        if value not in known:
            raise UsageError(f"`{argument}` is {value!r}; expected one of {', '.join(filter(None, known))}")
    if full_vocab and parts not in ("whole", None):
        raise UsageError(f"`full_vocab` is of the decoder, which `parts` {parts} leaves behind; give one of the two")
    out, text = Path(out), None
    refuse_existing(out, to, overwrite)
    path, name = resolve(source, revision, language)
    contents = read_contents(path, sha256=sha256, language=language)
    record = {"name": path.name, "sha256": digest_of(path)}
    if not contents.adapters and language is not None:
        contents.language = language
    if to == "fairseq" and (lm := own_lm(contents)) is not None:
        logger.warning(
            "%s: its language model is not converted; st transcribe takes it from there with --lm %s", name, lm
        )
    if full_vocab:
        text = restore_vocabulary(contents, full_vocab, files)
        files, parts = dataclasses.replace(files, language_ids=None), "whole"
    write(
        contents,
        out,
        to,
        name=name,
        files=files,
        padding=padding,
        dtype=dtype,
        text=text,
        overwrite=overwrite,
        parts=parts,
        finish=finish,
        source=record,
    )
    return contents.format


def refuse_existing(out: Path, to: str, overwrite: bool) -> None:
    """Refuse to replace what exists, and what cannot be replaced, before anything is read; adapters join what is there.

    What a process that was killed while it wrote ``out`` left under a hidden name is removed and counts for nothing.

    Raises:
        UsageError: If ``out`` is a file or a folder with something in it, or not of the kind that is written.
    """
    if to == "adapter":
        if out.exists() and not out.is_dir():
            raise UsageError(f"{out}: is a file; `to` adapter writes into a folder")
        return
    if out.is_dir() and to == "fairseq":
        raise UsageError(f"{out}: is a folder; `to` fairseq writes a file, such as {out / 'model.pt'}")
    if to == "fairseq":
        remove_leftovers(out.parent, name=out.name)
    else:
        {"hf": clear_broken_off, "onnx": remove_broken_off}[to](out)
    if not overwrite and out.exists() and (not out.is_dir() or visible(out)):
        raise UsageError(f"{out}: exists; choose another name, or add `overwrite`")
    if out.exists() and not out.is_dir() and to in FOLDERS:
        raise UsageError(f"{out}: is a file; `to` {to} writes a folder: choose another name")


def write(
    contents: Contents,
    out: Path,
    to: str,
    *,
    name: str,
    files: VocabularyFiles = NO_FILES,
    padding: str | None = None,
    dtype: torch.dtype | str | None = None,
    text: TextVocabulary | None = None,
    overwrite: bool = False,
    parts: str | None = None,
    finish: Callable[[Path], None] | None = None,
    source: Mapping[str, str] | None = None,
) -> None:
    """Write what a checkpoint holds in another format.

    Arguments as for :func:`convert`; ``text`` is a given vocabulary, ``source`` the name and digest of a file or folder.

    Raises:
        CheckpointError: If tensors or a vocabulary are missing, a tensor is not finite, or too large for ``dtype``, or the
            target format has no such model.
    """
    exported = dataclasses.replace(_exported(contents, name, files, padding, text), source=source)
    chosen = parts or _usual_parts(exported, to)
    if chosen != "whole":
        exported = {"ctc": ctc_part, "classes": class_part, "encoder": encoder_part}[chosen](exported)
    if to == "onnx":
        require_finite(exported.state, source=name, label=contents.keymap.theirs)
        kind = None if dtype is None else str(dtype).removeprefix("torch.")
        write_onnx(exported, out, dtype=kind, overwrite=overwrite)
        return
    codes = dtype in (torch.int8, "int8")
    if codes and to != "hf":
        raise UsageError(
            f"`dtype` int8 is for `to` hf and onnx; {to} has no such numbers: choose float32, bfloat16 or float16"
        )
    written = None if codes or dtype is None else parse_dtype(dtype)
    objective = {} if exported.objective is None else exported.objective.state
    require_finite({**exported.state, **objective}, source=name, label=contents.keymap.theirs, dtype=written)
    if to == "hf":
        exported = int8_part(exported) if codes else exported
        write_transformers(exported, out, dtype=written, overwrite=overwrite, finish=finish)
    else:
        {"fairseq": write_fairseq, "adapter": write_adapter}[to](exported, out, dtype=written, overwrite=overwrite)


def _exported(
    contents: Contents, name: str, files: VocabularyFiles, padding: str | None, text: TextVocabulary | None
) -> Exported:
    """Return all that a checkpoint holds, checked to fit together; arguments as for :func:`write`."""
    found, data = find_text(contents, files)
    text = text or found
    labels = find_labels(contents, data_dir=files.data_dir, given=files.ctc_vocab)
    config = with_padding(contents.config, padding)
    check_sizes(config, text, labels, source=name)
    model = fitting_blueprint(config, contents.state, source=name, label=contents.keymap.theirs)
    if config.ctc_vocab_size and CTC not in labels:
        raise CheckpointError(f"{name}: a CTC head without its vocabulary cannot be converted; give it as `ctc_vocab`")
    return Exported(
        config=config,
        state={key: contents.state[key] for key, _ in model.named_parameters()},
        text=text,
        labels=labels,
        data=data,
        trim=contents.files.get(TRIM_FILENAME),
        decoder_trained=contents.decoder_trained,
        decoder_transcribes=contents.decoder_transcribes,
        origins=origins_of(contents, name),
        mapped=contents.mapped,
        objective=contents.objective,
        language=contents.language,
    )


def _usual_parts(model: Exported, to: str) -> str:
    """Return what is written of a model if nobody says; a decoder that was never taught is of no use to others."""
    config = model.config
    classifies = config.classifying_heads
    if to == "onnx":
        return "ctc" if config.ctc_vocab_size else "encoder"
    if to == "hf" and "decoder" not in config.parts and classifies and classifies == (*config.heads,):
        return "classes"
    if to != "hf" or model.decoder_trained or "decoder" not in config.parts or not config.ctc_vocab_size:
        return "whole"
    logger.info("no training has taught the decoder: it stays behind (`parts` whole keeps it)")
    return "ctc"
