"""What a sample corpus is made of; two corpora of equal settings are equal to the byte."""

from __future__ import annotations

import importlib.metadata
import json
import math
from dataclasses import asdict, dataclass
from pathlib import Path

from covost.sample.voices import VARIANTS, max_voices
from st.data.manifest import SPLITS
from st.doors.parsing import parsing
from st.errors import UsageError
from st.evaluation.covost2 import DIRECTIONS, check_covost_language
from st.files import write_json
from st.text.languages import split_direction

SETTINGS_FILE = "sample.json"
FORMAT_VERSION = 1
"""Raised when the same settings begin to give other sentences or sounds."""

TYPICAL_CLIP_S = 2.7
"""Seconds, to turn hours into a number of dev and test clips."""


HELD_OUT: dict[str, tuple[float, int, float]] = {"dev": (0.05, 60, 0.12), "test": (0.05, 100, 0.2)}
"""Clips of a held-out split, per language: a share of all clips, or so many if that is more, for a score that means
something; but no more than another share, so that a tiny corpus still has something to train on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SampleConfig:
    """Settings of a sample corpus."""

    languages: tuple[str, ...]
    """Spoken languages, CoVoST codes."""
    targets: tuple[str, ...] = ()
    """Further languages that English is translated into, as text only."""
    hours: float = 1.0
    """Of speech, over all languages and splits together."""
    seed: int = 1
    num_train_voices: int = 32
    """Speakers of the train split, per language."""

    def __post_init__(self) -> None:
        for code in self.languages + self.targets:
            check_covost_language(code)
        if not self.languages:
            raise UsageError("`languages` names no language; name some, such as en,fr,de,es")
        for field, codes in (("languages", self.languages), ("targets", self.targets)):
            if len(set(codes)) < len(codes):
                raise UsageError(f"`{field}` names a language twice: {','.join(codes)}")
        for target in self.targets:
            if "en" not in self.languages or f"en_{target}" not in DIRECTIONS:
                raise UsageError(
                    f"`targets` {target}: CoVoST 2 translates into it only out of English, if at all;"
                    " `targets` takes languages of the en_x directions, with en among `languages`"
                )
        if not self.directions:
            raise UsageError("`languages` en needs `targets`, such as de,zh-CN: there is nothing to translate into")
        if not (math.isfinite(self.hours) and self.hours > 0):
            raise UsageError(f"`hours` is {self.hours}; expected a number above 0")
        if not 1 <= self.num_train_voices <= max_voices("train"):
            raise UsageError(f"`num_train_voices` is {self.num_train_voices}; expected 1 to {max_voices('train')}")

    @property
    def directions(self) -> tuple[str, ...]:
        """CoVoST directions that the corpus has, in CoVoST's order."""
        texts = {"en", *self.languages, *self.targets}
        return tuple(
            direction
            for direction, (source, target) in ((d, split_direction(d)) for d in DIRECTIONS)
            if source in self.languages and target in texts
        )

    @property
    def text_languages(self) -> tuple[str, ...]:
        """Every language that a sentence is written in."""
        return tuple(dict.fromkeys((*self.languages, *self.targets, "en")))

    @property
    def seconds_per_language(self) -> float:
        """Seconds of speech of each language."""
        return self.hours * 3600 / len(self.languages)

    def num_held_out(self, split: str) -> int:
        """Return the number of clips of ``dev`` or ``test`` in each language."""
        share, least, most = HELD_OUT[split]
        all_clips = self.seconds_per_language / TYPICAL_CLIP_S
        return max(1, round(min(max(least, share * all_clips), most * all_clips)))


def claim_folder(folder: Path, config: SampleConfig) -> None:
    """Mark ``folder`` as holding, or about to hold, the corpus of ``config``.

    Raises:
        UsageError: If it holds something else, or a corpus of other settings.
    """
    settings = {
        "format_version": FORMAT_VERSION,
        **asdict(config),
        "languages": list(config.languages),
        "targets": list(config.targets),
        "voices": {split: list(VARIANTS[split]) for split in SPLITS},
        "packages": {
            name: importlib.metadata.version(name) for name in ("babel", "espeakng-loader", "soundfile", "soxr")
        },
    }
    path = folder / SETTINGS_FILE
    if path.exists():
        found = _read_settings(path)
        different = [key for key in settings if found.get(key) != settings[key]]
        if different:
            key = different[0]
            raise UsageError(
                f"{folder} holds a sample corpus made with other settings ({key}: {found.get(key)!r},"
                f" now {settings[key]!r}); choose another `out`, or delete it"
            )
        return
    if folder.exists() and any(folder.iterdir()):
        raise UsageError(f"{folder} is not empty and holds no sample corpus; choose another `out`")
    write_json(path, settings)


def _read_settings(path: Path) -> dict[str, object]:
    with parsing(path, UsageError, expected="the settings of a sample corpus", advice="choose another `out`"):
        found = json.loads(path.read_text(encoding="utf-8"))
        return dict(found.items())
