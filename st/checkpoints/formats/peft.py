"""Folders of the library peft: what was learnt beside the weights of another model, and no model by itself."""

from __future__ import annotations

from pathlib import Path

from st.checkpoints.formats.settings import read_json
from st.doors.shown import shown
from st.errors import CheckpointError

ADAPTER_FILENAME = "adapter_config.json"
_WEIGHTS = ("adapter_model.safetensors", "adapter_model.bin")


def refuse_adapter(path: Path) -> None:
    """Refuse a folder of peft, or the weights in one.

    A model that lies in the same folder is refused with it: transformers, where peft is installed, opens the model that
    the adapter names instead.

    Raises:
        CheckpointError: If it is one; the message says which model it belongs to and how the two become one.
    """
    folder = path.parent if path.name in _WEIGHTS else path
    if not (folder / ADAPTER_FILENAME).is_file():
        return
    settings = read_json(folder / ADAPTER_FILENAME)
    raise CheckpointError(
        f"{folder}: a {shown(settings.get('peft_type'))} adapter of peft for the model "
        f"{shown(settings.get('base_model_name_or_path'))}, not a model; expected a whole one: in Python, "
        "PeftModel.from_pretrained(MODEL, ADAPTER).merge_and_unload().save_pretrained(FOLDER) makes a folder that opens here"
    )
