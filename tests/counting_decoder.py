"""A decoder of clips that tells what it decoded, and can be interrupted."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from st.engines.local import LocalEngine
from st.preparation.stores.decode import ClipDecoder, DecodedClip, decode_clip


class Interrupted(Exception):
    pass


class CountingDecoder(ClipDecoder):
    """Decodes in this process, remembers what, and may stop in the middle."""

    def __init__(self, stop_after: int | None = None) -> None:
        super().__init__(LocalEngine(1))
        self.decoded: list[str] = []
        self.stop_after = stop_after

    def decode(self, folder: Path, clips: Sequence[str]) -> Iterator[DecodedClip]:
        for clip in clips:
            if self.stop_after is not None and len(self.decoded) >= self.stop_after:
                raise Interrupted
            self.decoded.append(clip)
            yield decode_clip(str(folder), clip)
