"""Which published models the weights of a model come from, by the names under which they were given.

A training writes down what ``--encoder`` and ``--decoder`` named, and whatever those files wrote down themselves; every
later file of ours carries it on.
"""

from __future__ import annotations

from pathlib import Path

from st.checkpoints.contents import Contents, file_name
from st.checkpoints.formats.fairseq.reader import OWN_TRAINING
from st.checkpoints.formats.transformers.reader import OWN_FOLDER
from st.checkpoints.hub import looks_like_hub_id


def origin_name(source: Path | str) -> str:
    """Return what a checkpoint is called, without saying where it lies: a hub id, or the name of a file or folder."""
    name = str(source).partition("@")[0]
    return name if looks_like_hub_id(name) and not Path(name).exists() else file_name(Path(source).absolute())


def origins_of(contents: Contents, name: str) -> tuple[str, ...] | None:
    """Return what a model that begins with this one comes from; None if a file of ours does not say.

    Args:
        contents: What was read.
        name: What :func:`st.checkpoints.loading.resolve` called it.
    """
    ours = contents.format in (OWN_TRAINING, OWN_FOLDER)
    return contents.origins if ours else (origin_name(name),)
