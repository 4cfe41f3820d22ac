"""What is to be equal in reports that were made at different times, by different commands."""

from __future__ import annotations

import json
from collections.abc import Mapping

from st.report.provenance import without_provenance


def compared(files: Mapping[str, bytes]) -> dict[str, bytes]:
    """Return files of a folder without the provenance of its reports, and without the digests of pages that have one."""
    return {name: _compared(name, content) for name, content in files.items()}


def _compared(name: str, content: bytes) -> bytes:
    if name == "report.html":
        assert b"<footer>" in content
        return without_provenance(content.decode()).encode()
    if name in ("report.json", "digests.json"):
        record = json.loads(content)
        record.pop("provenance" if name == "report.json" else "report.html", None)
        return json.dumps(record, ensure_ascii=False, indent=2).encode() + b"\n"
    return content
