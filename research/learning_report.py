"""The page of ``compare_learning.py``: BLEU of every direction, the margins, how each side was trained, the curves."""

from __future__ import annotations

import platform
import statistics
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from learning_plan import SIDES

from st.report.charts import NUM_COLOURS, Line, LineChart

Record = Mapping[str, Any]
MARGINS = (
    ("joint", "translation-only"),
    ("joint", "fairseq-s2t"),
    ("joint", "fairseq-s2t-asr"),
    ("joint", "bilingual"),
)


def markdown(header: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Return a table."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(map(str, line)) + " |" for line in lines)


def scores(records: Sequence[Record], side: str, direction: str) -> list[float]:
    """Return the BLEU of a side's seeds."""
    return [record["bleu"][direction] for record in records if record["side"] == side and direction in record["bleu"]]


def cell(values: Sequence[float], digits: int = 1) -> str:
    """Return the mean of the seeds with its range; a dash without any."""
    if not values:
        return "–"
    mean = f"{statistics.mean(values):,.{digits}f}"
    return mean if len(values) == 1 else f"{mean} ({min(values):,.{digits}f} – {max(values):,.{digits}f})"


def score_table(records: Sequence[Record], directions: Sequence[str], little: Sequence[str]) -> str:
    """Return BLEU by side and direction; directions with little data are marked."""
    header = ["", "seeds", *(f"{direction} *" if direction in little else direction for direction in directions)]
    rows = []
    for side in dict.fromkeys(
        record["side"] for record in sorted(records, key=lambda one: list(SIDES).index(one["side"]))
    ):
        seeds = {record["seed"] for record in records if record["side"] == side}
        rows.append([side, len(seeds), *(cell(scores(records, side, d)) for d in directions)])
    return markdown(header, rows)


def margin_table(records: Sequence[Record], directions: Sequence[str]) -> str:
    """Return how far the worst seed of one side is above the best of another; negative where they overlap."""
    rows = []
    for better, other in MARGINS:
        values = [(scores(records, better, d), scores(records, other, d)) for d in directions]
        if any(one and two for one, two in values):
            found = [f"{min(one) - max(two):+.1f}" if one and two else "–" for one, two in values]
            rows.append([f"worst {better} − best {other}", *found])
    return markdown(["", *directions], rows) if rows else ""


def training_table(records: Sequence[Record]) -> str:
    """Return parameters, updates and minutes, stage by stage."""
    rows = []
    for name in dict.fromkeys(_name(record) for record in records):
        own = [record for record in records if _name(record) == name]
        stages = [[record["stages"][place] for record in own] for place in range(len(own[0]["stages"]))]
        updates = " + ".join(f"{found[0]['name']} {cell([s['updates'] for s in found], 0)}" for found in stages)
        minutes = cell([sum(stage["seconds"] for stage in record["stages"]) / 60 for record in own], 2)
        rows.append([name, f"{own[0]['parameters']:,}", updates, minutes])
    return markdown(["", "parameters", "updates", "minutes of training"], rows)


def draw_curves(records: Sequence[Record], little: Sequence[str]) -> list[LineChart]:
    """Return charts of the development set's BLEU over the minutes: the mean, and each small direction."""
    first = {_name(record): record for record in reversed(records) if record.get("curve")}
    kept = [first[name] for name in dict.fromkeys(map(_name, records)) if name in first]
    charts = []
    for direction in ("", *little):
        lines: list[Line] = []
        for record in kept:
            if len(lines) < NUM_COLOURS and (points := _points(record, direction)):
                colour = list(SIDES).index(record["side"]) % NUM_COLOURS
                lines.append(Line(record["side"], points, colour))
        if lines:
            title = f"BLEU of {direction or 'all directions (mean)'} on the development set"
            name = f"learning-{direction or 'mean'}"
            charts.append(LineChart(lines=lines, name=name, title=title, x_label="minutes of training"))
    return charts


def _points(record: Record, direction: str) -> list[tuple[float, float]]:
    """Return a run's curve of one direction, or the mean over all where it was trained on all."""
    if SIDES[record["side"]].one_by_one and direction not in record["directions"]:
        return []
    value: Callable[[Mapping[str, float]], float]
    value = (lambda bleu: bleu[direction]) if direction else (lambda bleu: statistics.mean(bleu.values()))
    return [(point["minutes"], value(point["bleu"])) for point in record["curve"]]


def _name(record: Record) -> str:
    return f"{record['side']} {record['directions'][0]}" if SIDES[record["side"]].one_by_one else record["side"]


def page(records: Sequence[Record], settings: Mapping[str, Any], picture: str, command: str) -> str:
    """Return the whole page in Markdown."""
    directions, little = settings["directions"], settings["little"]
    seeds = sorted({record["seed"] for record in records})
    asked = ", ".join(sorted({f"{record['minutes']:g}" for record in records}))
    threads = ", ".join(sorted({str(record["threads"]) for record in records}))
    sides = [side for side in SIDES if any(record["side"] == side for record in records)]
    parts = [
        "# What learns better\n",
        f"One sample corpus, {asked} minutes of training for each on {threads} threads ({_processor()}), "
        f"{len(seeds)} seed{'s' if len(seeds) > 1 else ''} ({', '.join(map(str, seeds))}). BLEU of the test set "
        "(sacreBLEU by `st score`, beam 5), the mean over a side's seeds and their range; unseen sentences by unseen voices.\n",
        score_table(records, directions, little),
        f"\n\\* little data: {settings['clips']} recordings to train on. The corpus: {_corpus(settings)}.\n",
        *(f"- `{side}`: {SIDES[side].text}." for side in sides),
        f"\n{margin_table(records, directions)}\n",
        "## How they were trained\n",
        training_table(records),
        "\nA pilot of each stage, alone on the machine, measures how long an update takes; as many updates, and the "
        "learning-rate schedule over them, fill the minutes at that pace, all stages counted, from the first batch on. So "
        "other programs could make a training last longer, but not learn less. Nobody is validated on the way: checkpoints "
        "kept from the first seed are translated afterwards with beam 1, for the curves. The model at the end counts "
        f"(fairseq's: the average of its last checkpoints, as in its recipe).{_recipe(records)}\n",
        f"![BLEU over minutes of training]({picture})\n" if picture else "",
        f"Made by\n\n    {command}\n",
    ]
    return "\n".join(part for part in parts if part.strip())


def _corpus(settings: Mapping[str, Any]) -> str:
    counts = ", ".join(f"{direction} {count:,}" for direction, count in settings["rows"].items())
    return f"`covost sample --hours {settings['hours']:g}`, utterances of the training set: {counts}"


def _recipe(records: Sequence[Record]) -> str:
    used = sorted({tuple(record["recipe"].items()) for record in records if record.get("recipe")})
    text = "; ".join(", ".join(f"{name.replace('_', ' ')} {value:g}" for name, value in one) for one in used)
    return f" Its settings: {text}." if text else ""


def _processor() -> str:
    path = Path("/proc/cpuinfo")
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()
