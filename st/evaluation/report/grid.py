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

    def averages(self) -> list[tuple[str, Row]]:
        """Return the macro averages of BLEU by group, of systems that have all its directions; none of other metrics."""
        if self.metric != "bleu" or len(self.sizes) < 2:
            return []
        groups = {
            group: [name for name in members if name in self.sizes]
            for group, members in average_members(tuple(self.sizes)).items()
        }
        return [
            (
                f"{GROUP_NAMES[group]} ({len(names)})",
                [mean([s[n] for n in names]) if names and set(names) <= s.keys() else None for _, s in self.systems],
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
    averages = grid.averages()
    lines += [r"\midrule"] if averages else []
    lines += [_latex_row([_escaped(label), *_latex_scores(grid, row, [False] * len(names))]) for label, row in averages]
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
