"""How much memory this process has taken."""

from __future__ import annotations

import sys
from pathlib import Path


def peak_memory() -> int:
    """Return the most memory this process has had in use, in bytes; 0 where the system does not tell (not Linux)."""
    return _status("VmHWM")


def resident_memory() -> int:
    """Return the memory this process has in use now, in bytes; 0 where the system does not tell (not Linux)."""
    return _status("VmRSS")


def _status(field: str) -> int:
    if sys.platform != "linux":
        return 0
    status = Path("/proc/self/status").read_text(encoding="ascii", errors="replace")
    line = next((line for line in status.splitlines() if line.startswith(f"{field}:")), f"{field}: 0 kB")
    return int(line.split()[1]) * 1024


def forget_peak() -> None:
    """Let :func:`peak_memory` begin anew from what is in use now, where the system allows it."""
    try:
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    except OSError:
        return
