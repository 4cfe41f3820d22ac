"""What is said of the languages of files to be scored, in the folders around them."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import yaml

from st.data.config import CONFIG_FILENAME
from st.text.languages import declare, language

logger = logging.getLogger(__name__)

REPORT_FILENAME = "report.json"


def declare_beside(*paths: Path | None) -> None:
    """Declare the languages of the prepared tree or the evaluation that each file lies in, if it lies in one.

    Args:
        paths: Files, or folders of evaluations; None is passed over.

    Raises:
        ConfigError: If one says of a language what cannot be.
    """
    for path in filter(None, paths):
        folder = path.resolve() if path.is_dir() else path.resolve().parent
        for name in (folder / CONFIG_FILENAME, folder / REPORT_FILENAME, folder.parent / REPORT_FILENAME):
            record = read_record(name)
            # Other tools have files of these names, too.
            if "directions" in record and isinstance(record.get("languages"), dict):
                declare(record["languages"])


def warn_of_unknown(codes: Iterable[str]) -> None:
    """Warn of languages of which nobody says how they are written."""
    for code in sorted({code for code in codes if not language(code).script}):
        logger.warning(
            "%s: an unknown language, taken to have spaces between words (BLEU with tok:13a); say under `languages:` in "
            "the data's config.yaml what it is",
            code,
        )


def read_record(path: Path) -> dict[str, Any]:
    """Return the fields of a JSON or YAML file; none if it is missing or something else."""
    parse = json.loads if path.suffix == ".json" else yaml.safe_load
    try:
        record = parse(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError, ValueError, yaml.YAMLError):
        return {}
    return record if isinstance(record, dict) else {}
