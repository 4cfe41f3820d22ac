"""Write the adapters and the CTC head of one language as the file of MMS that transformers and this project load."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch

from st.checkpoints.formats.exported import Exported
from st.checkpoints.formats.names import KEYMAPS, is_of_language
from st.checkpoints.formats.safetensors_file import write_safetensors
from st.checkpoints.formats.settings import read_json_if_any
from st.errors import CheckpointError, UsageError
from st.files import write_text

VOCAB_FILENAME = "vocab.json"


def write_adapter(
    model: Exported, folder: Path | str, *, dtype: torch.dtype | None = None, overwrite: bool = True
) -> None:
    """Write ``adapter.<language>.safetensors``, and the symbols of its head into ``vocab.json``.

    Args:
        model: What to write, with its language.
        folder: Made if missing; may be that of the model that the adapters were trained with.
        dtype: Type to write floating tensors as; None for their own.
        overwrite: Whether adapters of the language that are there may be replaced.

    Raises:
        CheckpointError: If the model has no adapters, no CTC head on the encoder's output, or ``vocab.json`` is that of
            another model.
        UsageError: If the language is not known, or there are adapters of it that may not be replaced.
        OSError: If a file cannot be written.
    """
    folder, config = Path(folder), model.config
    if not config.encoder.adapter_dim or model.ctc is None or config.ctc_layer:
        raise CheckpointError(
            "this model has no adapters with a CTC head on the encoder's output; --train-adapter trains such"
        )
    if model.language is None:
        raise UsageError("`to` adapter needs `lang`, the language that the file is named after, such as fra")
    path = folder / f"adapter.{model.language}.safetensors"
    if path.exists() and not overwrite:
        raise UsageError(f"{path}: exists; choose another folder, or add `overwrite`")
    vocabularies: dict[str, Any] = read_json_if_any(folder / VOCAB_FILENAME)
    if not all(isinstance(table, dict) for table in vocabularies.values()):
        raise CheckpointError(
            f"{folder / VOCAB_FILENAME}: has the symbols of one language; expected a table for each, as MMS has it"
        )
    vocabularies[model.language] = {symbol: row for row, symbol in enumerate(model.ctc.symbols)}
    folder.mkdir(parents=True, exist_ok=True)
    state = {name: tensor for name, tensor in model.state.items() if is_of_language(name)}
    tensors = KEYMAPS["transformers Wav2Vec2ForCTC"].outward(state)
    write_safetensors(path, tensors, dtype=dtype, mapped=model.mapped)
    write_text(folder / VOCAB_FILENAME, json.dumps(vocabularies, ensure_ascii=False, indent=2) + "\n")
