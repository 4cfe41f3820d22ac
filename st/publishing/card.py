"""``README.md`` of a model's folder: what it is, for which languages, how good, from what, under which licence."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from st.checkpoints.contents import Contents
from st.checkpoints.formats.settings import read_json_if_any
from st.checkpoints.formats.transformers.encoder_writer import family_of
from st.checkpoints.formats.transformers.reader import CTC_FOLDER, LM_FOLDER, OWN_FILENAME
from st.checkpoints.formats.transformers.writer import CARD_FILENAME, CARD_MARK
from st.checkpoints.labels import label_symbols
from st.checkpoints.loading import read_contents
from st.checkpoints.origins import origins_of
from st.checkpoints.vocabularies import NO_FILES, find_text, trained_directions
from st.errors import UsageError
from st.files import write_text
from st.modules.encoder_config import WAVE_EPSILONS
from st.publishing.origins import Origin, find_licence, find_origin
from st.report.page import render_page
from st.report.tables import markdown_text, to_markdown
from st.text.languages import in_order, language, split_direction, subtags

if TYPE_CHECKING:
    from st.publishing.scores import Scores

logger = logging.getLogger(__name__)

_TEMPLATE = Path(__file__).with_name("card.md.j2")
_MOST_NAMED = 6
"""Languages that a title names."""
_TASKS = {
    "recogniser": "Speech recognition",
    "translator": "Speech translation",
    "classifier": "Audio classification",
    "encoder": "Speech encoder",
}
_PIPELINES = {"encoder": "feature-extraction", "classifier": "audio-classification"}
"""What the hub calls the use of a model, if it is not recognition."""
_MOST_LABELS = 120
_ENCODERS = {
    "wav2vec2": "XLS-R (wav2vec 2.0)",
    "hubert": "HuBERT",
    "data2vec-audio": "data2vec",
    "wavlm": "WavLM",
    "wav2vec2-bert": "w2v-BERT 2.0",
}
"""What people call the families of :data:`st.checkpoints.formats.names.FAMILIES`."""
INT8 = "int8"
COST_UNKNOWN = "What 8 bits cost this model has not been measured."


@dataclass(frozen=True, kw_only=True, slots=True)
class CardOptions:
    """What a card says that a model does not know of itself."""

    title: str | None = None
    """None for one of task and languages."""
    licence: str | None = None
    """Short name of the hub; None for that of what the model was started from, if it is one."""
    base: Sequence[str] = ()
    """Models that it was started from, instead of those that it names itself."""
    datasets: Sequence[str] = ()
    """What it was trained on: ids of the hub, or names."""
    scores: Sequence[Path] = ()
    """Folders of evaluations."""


NO_OPTIONS = CardOptions()


def write_card(
    folder: Path, options: CardOptions = NO_OPTIONS, *, place: Path | None = None, overwrite: bool = False
) -> bool:
    """Write the card of a model.

    Args:
        folder: Of the model.
        options: What is to be said.
        place: Folder that the model will be in, if it is another; a card of other people's there is kept.
        overwrite: Whether a card that somebody else wrote may be replaced.

    Returns:
        Whether it was written: one that somebody else wrote stays.

    Raises:
        UsageError: If the licence contradicts that of an origin.
        CheckpointError: If the model cannot be read.
        EvaluationError: If scores cannot be read or are of another model.
    """
    present = (place or folder) / CARD_FILENAME
    if present.is_file() and not overwrite and CARD_MARK not in present.read_text(encoding="utf-8", errors="replace"):
        logger.warning("%s: is not of this program and stays as it is; `overwrite` of st card replaces it", present)
        return False
    text = card_text(folder, options)
    if place is None and "\nlicense:" not in text:
        logger.warning("%s: its card names no licence; give one as `license`", folder)
    if place is None and COST_UNKNOWN in text:
        logger.warning(
            "%s: its card does not say what 8 bits cost; give as `scores` the folder of st evaluate --dtype int8 --against "
            "fp32 for the model that it was converted from",
            folder,
        )
    write_text(folder / CARD_FILENAME, text)
    return True


def card_text(folder: Path, options: CardOptions = NO_OPTIONS) -> str:
    """Return the card of a model; arguments and errors as for :func:`write_card`."""
    contents = read_contents(folder, verify=False, codes=True)
    own = read_json_if_any(folder / OWN_FILENAME)
    source = own.get("source")
    scores = _scores(options.scores, folder, source if isinstance(source, dict) else {})
    names = tuple(options.base) or origins_of(contents, folder.name)
    origins = None if names is None else [find_origin(name) for name in names]
    licence = find_licence(origins or (), options.licence)
    kind, spoken, written = _kind(contents), *_languages(contents)
    labels = _labels(contents)
    title = options.title or _title(kind, spoken, written)
    values: dict[str, Any] = {
        "title": title,
        "kind": kind,
        "encoder": _ENCODERS[family_of(contents.config.encoder)],
        "spoken": [language(code).name for code in spoken],
        "written": [language(code).name for code in written],
        "letters": contents.config.ctc_vocab_size,
        "labels": labels[:_MOST_LABELS],
        "num_labels": len(labels),
        "ctc_folder": CTC_FOLDER if (folder / CTC_FOLDER / "config.json").is_file() else "",
        "language_model": any((folder / name / LM_FOLDER).is_dir() for name in ("", CTC_FOLDER)),
        "parameters": sum(tensor.numel() for tensor in contents.state.values()),
        "dtype": _dtype(contents),
        "codes": bool(contents.scales),
        "cost_known": any(found.cost_of == INT8 for found in scores),
        "quiet": contents.config.encoder.standardizes
        and contents.config.encoder.wave_epsilon != WAVE_EPSILONS["transformers"],
        "origins": origins,
        "licence": licence,
        "datasets": list(options.datasets),
        "scores": scores,
    }
    metadata = _metadata(values, (*spoken, *written), scores)
    return render_page(
        _TEMPLATE,
        metadata=yaml.safe_dump(metadata, sort_keys=False, allow_unicode=True),
        mark=CARD_MARK,
        cost_unknown=COST_UNKNOWN,
        table=to_markdown,
        text=markdown_text,
        **values,
    )


def _scores(paths: Sequence[Path], folder: Path, source: dict[str, str]) -> list[Scores]:
    if not paths:
        return []
    from st.publishing.scores import read_scores  # not for every conversion: it brings the tools of an evaluation

    return [read_scores(path, folder, source) for path in paths]


def _kind(contents: Contents) -> str:
    if "decoder" in contents.config.parts:
        return "translator"
    if contents.config.classifying_heads:
        return "classifier"
    return "recogniser" if contents.config.heads else "encoder"


def _labels(contents: Contents) -> list[str]:
    """Return the labels of a classifier; none for another model."""
    if not contents.config.classifying_heads:
        return []
    return label_symbols(contents, data_dir=None, given=None)[contents.config.classifying_heads[0]]


def _languages(contents: Contents) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the codes of what is spoken and what it is translated into, as far as the model says."""
    pairs = [split_direction(direction) for direction in trained_directions(contents)]
    spoken = in_order({source for source, _ in pairs})
    if "decoder" not in contents.config.parts:
        return spoken, ()
    if pairs:
        return spoken, in_order({target for _, target in pairs})
    text, _ = find_text(contents, NO_FILES)
    return (), () if text is None else text.languages


def _title(kind: str, spoken: Sequence[str], written: Sequence[str]) -> str:
    sides = [_named(codes) for codes in (spoken, written) if codes]
    return f"{_TASKS[kind]}: {' to '.join(sides)}" if sides else _TASKS[kind]


def _named(codes: Sequence[str]) -> str:
    names = [language(code).name for code in codes]
    return ", ".join(names) if len(names) <= _MOST_NAMED else f"{len(names)} languages"


def _dtype(contents: Contents) -> str:
    if contents.scales:
        return INT8
    count = Counter(str(tensor.dtype).removeprefix("torch.") for tensor in contents.state.values())
    return count.most_common(1)[0][0]


def _metadata(values: dict[str, Any], codes: Sequence[str], scores: Sequence[Scores]) -> dict[str, Any]:
    """Return what the hub reads of a card; what is not known is left out."""
    origins: list[Origin] = values["origins"] or []
    datasets = values["datasets"]
    metrics = dict.fromkeys(metric for found in scores for _, metric, _ in found.values)
    found: dict[str, Any] = {
        # The hub knows languages without their countries and scripts.
        "language": list(dict.fromkeys(subtags(code)[0] for code in codes)),
        "license": values["licence"],
        # transformers does not open codes of 8 bits.
        "library_name": "xlsr-st" if values["codes"] else "transformers",
        "pipeline_tag": _PIPELINES.get(values["kind"], "automatic-speech-recognition"),
        "tags": ["speech-translation"] if values["kind"] == "translator" else [],
        "base_model": [origin.hub_id for origin in origins if origin.hub_id],
        "datasets": list(filter(_is_hub_id, datasets)),
        "metrics": list(metrics),
        "model-index": _results(values["title"], datasets, scores),
    }
    return {name: value for name, value in found.items() if value}


def _results(title: str, datasets: Sequence[str], scores: Sequence[Scores]) -> list[dict[str, Any]]:
    """Return the scores in the form of the hub's model-index."""
    if not scores:
        return []
    from st.publishing.scores import METRICS, RATES

    labels = RATES | {metric: name for metric, (name, _) in METRICS.items()}
    data = {"name": ", ".join(datasets) or "not named", "type": next(filter(_is_hub_id, datasets), "other")}
    places = [(found, where) for found in scores for where in dict.fromkeys(name for name, _, _ in found.values)]
    results = [
        {
            "task": {"type": "translation" if "_" in where else "automatic-speech-recognition"},
            "dataset": data | {"config": where, "split": found.subset},
            "metrics": [
                {"type": metric, "name": labels[metric], "value": round(value, 2)}
                for name, metric, value in found.values
                if name == where
            ],
        }
        for found, where in places
    ]
    return [{"name": title, "results": results}]


def _is_hub_id(name: str) -> bool:
    return "/" in name


def check_options(options: CardOptions) -> None:
    """Raise UsageError if a text of the options could not stand in one line of the card."""
    texts = (options.title or "", options.licence or "", *options.base, *options.datasets)
    for text in texts:
        if any(ord(character) < 32 for character in text):
            raise UsageError(f"{text!r:.60} has a line break or another control character; expected one line of text")
