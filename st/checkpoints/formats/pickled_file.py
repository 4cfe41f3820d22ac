"""Write ``.pt`` files: a whole one or none, and one sentence if the disk is full."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from st.errors import CheckpointError
from st.files import atomic_write


def write_pickled(path: Path | str, content: Any) -> None:
    """Write what ``torch.save`` writes, under a temporary name that is then changed.

    Raises:
        CheckpointError: If it cannot be written; nothing that was there is touched.
    """
    try:
        with atomic_write(path, "wb") as handle:
            torch.save(content, handle)
    except (OSError, RuntimeError) as exc:
        # Torch's writer raises an error of its own over that of the system, which names the cause.
        cause = exc.__context__ if isinstance(exc.__context__, OSError) else exc
        reason = (cause.strerror if isinstance(cause, OSError) else None) or str(cause).splitlines()[0]
        raise CheckpointError(f"{path}: cannot be saved: {reason}") from exc
