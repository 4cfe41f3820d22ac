"""Load a checkpoint in a process of its own and report time and memory as JSON.

    python tests/measure_loading.py PATH [--dtype bfloat16] [--read] [--convert OUT --to hf]

``--read`` only reads the file, as the yardstick. Memory is the peak of the resident set beyond that of the libraries.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import time
from importlib import import_module
from pathlib import Path


def measure(*arguments: object) -> dict[str, float]:
    """Run this file in a process of its own, and return what it found; arguments are those of its command line."""
    command = [sys.executable, __file__, *map(str, arguments)]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)  # type: ignore[no-any-return]


def memory(field: str) -> int:
    """Return a line of the process's own account in bytes; getrusage's peak would begin with that of the parent."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return int(re.search(rf"^{field}:\s+(\d+) kB", status, re.MULTILINE)[1]) * 1024  # type: ignore[index]


def bytes_read() -> int:
    """Return how many bytes this process has asked for by read; those of mapped files are not among them."""
    return int(Path("/proc/self/io").read_text(encoding="ascii").split()[1])


def read(path: Path) -> None:
    buffer = bytearray(16 << 20)
    with path.open("rb", buffering=0) as handle:
        while handle.readinto(buffer):
            pass


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("path", type=Path)
    parser.add_argument("--dtype")
    parser.add_argument("--spm", type=Path)
    parser.add_argument("--dict", type=Path)
    parser.add_argument("--read", action="store_true")
    parser.add_argument("--convert", type=Path)
    parser.add_argument("--to", default="hf")
    args = parser.parse_args()
    from st import load
    from st.checkpoints.convert import convert
    from st.checkpoints.vocabularies import VocabularyFiles

    files = {"spm": args.spm, "dictionary": args.dict}
    weights = args.path / "model.safetensors" if args.path.is_dir() else args.path
    result: dict[str, float] = {"file_bytes": weights.stat().st_size}
    for needed in ("st.checkpoints.loading", "st.checkpoints.convert"):
        import_module(needed)
    before, read_before, start = memory("VmRSS"), bytes_read(), time.perf_counter()
    if args.read:
        read(weights)
    elif args.convert:
        convert(args.path, args.convert, args.to, dtype=args.dtype, files=VocabularyFiles(**files))
    else:
        model = load(args.path, dtype=args.dtype, **files).model
    result |= {"seconds": time.perf_counter() - start, "peak_bytes": memory("VmHWM") - before}
    result["read_bytes"] = bytes_read() - read_before
    if not args.read and not args.convert:
        # Mapped weights take memory when they are first used.
        total = sum(float(parameter.detach().sum()) for parameter in model.parameters())
        result |= {"touched_peak_bytes": memory("VmHWM") - before, "finite": float(total == total)}
    json.dump(result, sys.stdout)


if __name__ == "__main__":
    main()
