"""Adapters of MMS: for each language a module in every layer of the encoder, and a CTC head (Pratap et al. 2023)."""

from __future__ import annotations

import dataclasses
import logging
import re
from collections.abc import Iterable

import torch

from st.checkpoints.assemble import check_names
from st.checkpoints.contents import Contents
from st.checkpoints.formats.fairseq.reader import OWN_TRAINING
from st.checkpoints.formats.names import is_of_language
from st.checkpoints.formats.transformers.reader import OWN_FOLDER
from st.errors import CheckpointError
from st.modules.config import ctc_heads
from st.text.languages import canonical, is_code, subtags

logger = logging.getLogger(__name__)

_SHOWN = 20
_MMS = re.compile(r"(?<![a-z])mms(?![a-z])", re.IGNORECASE)


def speak(contents: Contents, language: str | None) -> None:
    """Put the adapters and the head of a language into what a checkpoint holds.

    Args:
        contents: Changed, if the checkpoint has adapters of several languages; its state, config, symbols, language.
        language: As the checkpoint calls it, or by any code that means the same; None for what the file has itself.

    Raises:
        CheckpointError: If it has none for the language; or a tensor is missing, unexpected or of another shape.
    """
    if language is None or not contents.adapters:
        return
    name = choose(language, contents.adapters, str(contents.path))
    state, symbols = contents.adapters[name]()
    head = state.get("ctc.proj.weight")
    rows = len(head) if head is not None and head.dim() else 1
    expected = {key: tensor for key, tensor in contents.state.items() if is_of_language(key)}
    expected["ctc.proj.weight"] = torch.empty(rows, contents.config.encoder.dim, device="meta")
    expected["ctc.proj.bias"] = torch.empty(rows, device="meta")
    source = f"{contents.path}: adapter of {name}"
    check_names(expected, state, source=source, label=contents.keymap.theirs)
    contents.state |= state
    contents.config = dataclasses.replace(contents.config, heads=ctc_heads(rows))
    contents.label_symbols, contents.language = symbols, name
    logger.info("%s: %d symbols", source, rows)


def choose(language: str, names: Iterable[str], source: str) -> str:
    """Return the one of ``names`` that is meant: the same name, the same language, or its only variety.

    Args:
        language: ``fra``, ``fr``, ``azj-script_latin``.
        names: As MMS calls languages: ISO 639-3, some with their script.
        source: For messages.

    Raises:
        CheckpointError: If there is none, or several scripts; the message lists them.
    """
    names = sorted(names)
    if language in names:
        return language
    codes = {name: canonical(name) for name in names if is_code(name)}
    wanted = canonical(language) if is_code(language) else language
    for same in (
        [name for name, code in codes.items() if code == wanted],
        [name for name, code in codes.items() if subtags(code)[0] == subtags(wanted)[0]],
    ):
        if len(same) == 1:
            return same[0]
        if same:
            names = same
            break
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    raise CheckpointError(f"{source}: no adapter for {language}; it has: {', '.join(names[:_SHOWN])}{more}")


def say_licence(contents: Contents) -> None:
    """Tell that a model of MMS may not be used commercially: one with adapters, or that is called so."""
    if contents.format in (OWN_TRAINING, OWN_FOLDER):
        return
    names = [contents.path.name, *(part for part in contents.path.parts if part.startswith("models--"))]
    if contents.config.encoder.adapter_dim or any(map(_MMS.search, names)):
        logger.warning(
            "%s: models of MMS are licensed CC-BY-NC 4.0: not for commercial use, nor what is trained from them",
            contents.path,
        )
