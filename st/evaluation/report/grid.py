"""A comparison for papers and other programs: a row for each direction and a column for each system."""

from __future__ import annotations

import csv
import io
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from st.evaluation.covost2 import SIZES
from st.evaluation.report.published import published_systems
from st.evaluation.report.tables import GROUP_NAMES, score_text
from st.evaluation.scoring.averages import average_members, mean
from st.evaluation.scoring.compare import METRICS, SIGNIFICANT, Comparison
from st.evaluation.scoring.results import number
from st.report.tables import TextTable

_LATEX: dict[str, str] = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    "–": "--",
    **{sign: f"\\{sign}" for sign in "&%$#_{}"},
}
"""What LaTeX reads as something else than the sign."""

Row = Sequence[float | None]
"""A score of each system; None where it has none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Grid:
    """One metric of several systems in several directions."""

    metric: str
    """One of :data:`METRICS`."""
    sizes: Mapping[str, int]
    """Segments by direction, in the order of the rows."""
    systems: Sequence[tuple[str, Mapping[str, float]]]
    """Name and scores by direction; not every system has all, and two may have one name."""
    significant: Collection[tuple[str, str]] = ()
    """Direction and system whose score differs from that of the first system by more than chance."""

    def row(self, direction: str) -> Row:
        """Return the scores in one direction."""
        return [scores.get(direction) for _, scores in self.systems]

    def averages(self) -> list[tuple[str, int, Row]]:
        """Return the macro averages by group, over how many directions, of systems that have all of these.

        Over other directions than those of the rest, an average would mislead. Only BLEU is averaged.
        """
        if self.metric != "bleu":
            return []
        groups = {
            group: [name for name in members if name in self.sizes]
            for group, members in average_members(tuple(self.sizes)).items()
        }
        return [
            (
                group,
                len(names),
                [mean([s[n] for n in names]) if set(names) <= s.keys() else None for _, s in self.systems],
            )
            for group, names in groups.items()
            if names
        ]


def comparison_grids(comparison: Comparison, *, published: bool = False) -> list[Grid]:
    """Return a grid for each metric of a comparison, with published systems beside its BLEU if asked for."""
    return [
        Grid(
            metric=metric,
            sizes=comparison.sizes,
            systems=[
                *(
                    (
                        name,
                        {
                            direction: found[name][metric].score.value
                            for direction, found in comparison.outcomes.items()
                        },
                    )
                    for name in comparison.systems
                ),
                *(_published(comparison.sizes) if published and metric == "bleu" else ()),
            ],
            significant={
                (direction, name)
                for direction, found in comparison.outcomes.items()
                for name, outcomes in found.items()
                if outcomes[metric].significant
            },
        )
        for metric in comparison.metrics
    ]


def comparison_tables(scores: Mapping[str, Mapping[str, float]], directions: Sequence[str]) -> list[TextTable]:
    """Set systems of ours and published ones side by side: averages over the same directions, then every direction.

    Args:
        scores: BLEU by direction of each of our systems, by name.
        directions: The directions to compare in.
    """
    ours = [(name, {direction: figures[direction] for direction in directions}) for name, figures in scores.items()]
    grid = Grid(metric="bleu", sizes=dict.fromkeys(directions, 0), systems=[*ours, *_published(directions)])
    names = [name for name, _ in grid.systems]
    averages = grid.averages()
    if len({"x_en", "en_x", "other"} & {group for group, _, _ in averages}) < 2:
        averages = averages[1:]  # of all directions: the same as of the one group that there is
    groups = [GROUP_NAMES[group] for group, _, _ in averages]
    known = {system.name: ", ".join(system.sources(directions)) for system in published_systems()}
    sources = ["this evaluation"] * len(ours) + [known[name] for name in names[len(ours) :]]
    rows = [
        (name, *(score_text(row[place]) for _, _, row in averages), sources[place]) for place, name in enumerate(names)
    ]
    return [
        TextTable(
            "Beside published systems: average BLEU over the same directions",
            ("system", *groups, "source"),
            tuple(rows),
            frozenset(groups),
            long=frozenset({"source"}),
        ),
        TextTable(
            "Beside published systems: BLEU of every direction",
            ("direction", *names),
            tuple((direction, *map(score_text, grid.row(direction))) for direction in directions),
            frozenset(names),
        ),
    ]


def published_grid(directions: Sequence[str]) -> Grid:
    """Return the published figures of directions of CoVoST 2."""
    return Grid(metric="bleu", sizes={name: SIZES[name][2] for name in directions}, systems=_published(directions))


def _published(directions: Collection[str]) -> list[tuple[str, Mapping[str, float]]]:
    return [(system.name, system.bleu) for system in published_systems() if system.bleu.keys() & set(directions)]


def to_csv(grids: Sequence[Grid]) -> str:
    """Return all grids as one CSV; scores have four decimals, as in JSON."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    names = max(([name for name, _ in grid.systems] for grid in grids), key=len)
    writer.writerow(["metric", "direction", "segments", *names])
    for grid in grids:
        for direction, size in grid.sizes.items():
            cells = [METRICS[grid.metric], direction, size, *map(number, grid.row(direction))]
            writer.writerow(cells + [None] * (len(names) + 3 - len(cells)))
    return text.getvalue()


def to_latex(grids: Sequence[Grid], notes: Sequence[str] = ()) -> str:
    """Return grids as tables of LaTeX for the package booktabs; notes become comments above them."""
    comments = ["% needs \\usepackage{booktabs}", *(f"% {' '.join(note.split())}" for note in notes)]
    return "\n".join([*comments, *map(_latex_table, grids)]) + "\n"


def _latex_table(grid: Grid) -> str:
    names = [name for name, _ in grid.systems]
    caption = f"{METRICS[grid.metric]}. The best of a row is bold."
    if grid.significant:
        caption += f" $^{{*}}$: differs from {_escaped(names[0])} by more than chance, $p < {SIGNIFICANT}$."
    lines = [
        r"\begin{table}",
        r"\centering",
        rf"\caption{{{caption}}}",
        rf"\begin{{tabular}}{{l{'r' * len(names)}}}",
        r"\toprule",
        _latex_row(["direction", *map(_escaped, names)]),
        r"\midrule",
    ]
    for direction in grid.sizes:
        stars = [(direction, name) in grid.significant for name in names]
        lines.append(_latex_row([_escaped(direction), *_latex_scores(grid, grid.row(direction), stars)]))
    averages = grid.averages() if len(grid.sizes) > 1 else []
    lines += [r"\midrule"] if averages else []
    for group, size, row in averages:
        label = _escaped(f"{GROUP_NAMES[group]} ({size})")
        lines.append(_latex_row([label, *_latex_scores(grid, row, [False] * len(names))]))
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}", r"\end{table}"])


def _latex_scores(grid: Grid, row: Row, stars: Sequence[bool]) -> list[str]:
    """Return the cells of a row; what looks like the best is bold, whatever its further decimals are."""
    texts = [score_text(score) for score in row]
    known = [(score, text) for score, text in zip(row, texts, strict=True) if score is not None and text != "–"]
    best = (min if grid.metric == "ter" else max)(known, default=(0.0, ""))[1]
    bold = [rf"\textbf{{{text}}}" if text == best else _escaped(text) for text in texts]
    return [cell + "$^{*}$" * star for cell, star in zip(bold, stars, strict=True)]


def _latex_row(cells: Sequence[str]) -> str:
    return " & ".join(cells) + r" \\"


def _escaped(text: str) -> str:
    """Return a text that LaTeX prints as it is; what cannot be printed becomes a space."""
    return "".join(_LATEX.get(sign, sign) if sign.isprintable() else " " for sign in text)
