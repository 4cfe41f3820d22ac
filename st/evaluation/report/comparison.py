"""A comparison in words and tables for people, and as LaTeX and CSV for papers and other programs."""

from __future__ import annotations

import csv
import io
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from st.evaluation.covost2 import SIZES
from st.evaluation.report.published import other_convention, other_test_sets, published_systems
from st.evaluation.report.tables import GROUP_NAMES, direction_name, interval_text, score_text
from st.evaluation.scoring.averages import average_members, mean
from st.evaluation.scoring.compare import METRICS, SIGNIFICANT, Comparison, Outcome
from st.evaluation.scoring.conventions import TRUE_CASE
from st.evaluation.scoring.resampling import NUM_RESAMPLES, NUM_TRIALS, SEED
from st.evaluation.scoring.results import number
from st.report.tables import TextTable, to_markdown, to_text

NUMBERS = ("segments", "95 % interval", "difference", "p bootstrap", "p randomisation")
EXPLANATION = (
    f"p: paired bootstrap ({NUM_RESAMPLES} resamples) and approximate randomisation ({NUM_TRIALS} trials), two-sided, "
    f"seed {SEED}, as sacreBLEU computes them. A star: both below {SIGNIFICANT}. Among twenty comparisons of equal "
    "systems about one falls below by chance."
)

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


def comparison_text(comparison: Comparison, *, published: bool, markdown: bool) -> str:
    """Return the whole comparison, with published systems' figures for the same directions if asked for."""
    layout = to_markdown if markdown else to_text
    heading = "## {}" if markdown else "{}"
    parts = []
    for metric in comparison.metrics:
        table = metric_table(comparison, metric)
        parts += [heading.format(table.title), layout(table)]
        parts += [tally_text(comparison, name, metric) for name in comparison.systems[1:]]
    if "bleu" in comparison.metrics:
        table = averages_table(comparison)
        parts += [heading.format(table.title), layout(table)]
    if published:
        scores = {
            name: {direction: found[name]["bleu"].score.value for direction, found in comparison.outcomes.items()}
            for name in comparison.systems
        }
        for table in comparison_tables(scores, tuple(comparison.outcomes)):
            parts += [heading.format(table.title), layout(table)]
        parts += filter(None, [caveats(comparison)])
    if comparison.left_out:
        parts.append(f"Left out, because not every system has them: {' '.join(comparison.left_out)}")
    parts += filter(None, [convention_text(comparison)])
    parts.append(EXPLANATION)
    return "\n\n".join(parts) + "\n"


def caveats(comparison: Comparison) -> str | None:
    """Say why published figures mean nothing beside those of a comparison; None where they do."""
    found = [other_test_sets(comparison.sizes), other_convention(comparison.convention.name)]
    return ". ".join(filter(None, found)) or None


def convention_text(comparison: Comparison) -> str | None:
    """Say what was compared, where it is not what the papers compare."""
    convention = comparison.convention
    return None if convention == TRUE_CASE else f"Scored by the convention {convention.name}: {convention.description}"


def metric_table(comparison: Comparison, metric: str) -> TextTable:
    """Return one metric of all systems in every direction; the baseline's row comes first."""
    name = METRICS[metric]
    rows = tuple(
        (
            direction,
            direction_name(direction),
            str(comparison.sizes[direction]),
            system,
            *_outcome_cells(found[system][metric]),
        )
        for direction, found in comparison.outcomes.items()
        for system in comparison.systems
    )
    columns = ("direction", "languages", "segments", "system", name, *NUMBERS[1:])
    title = f"{name} against {comparison.systems[0]}"
    return TextTable(title, columns, rows, frozenset({name, *NUMBERS}), long=frozenset({"languages"}))


def _outcome_cells(outcome: Outcome) -> tuple[str, ...]:
    cells = (score_text(outcome.score.value), interval_text(outcome.interval))
    if outcome.difference is None or outcome.p_bootstrap is None or outcome.p_randomisation is None:
        return (*cells, "", "", "")
    star = "*" if outcome.significant else ""
    return (*cells, f"{outcome.difference:+.1f}{star}", f"{outcome.p_bootstrap:.4f}", f"{outcome.p_randomisation:.4f}")


def averages_table(comparison: Comparison) -> TextTable:
    """Return macro averages of BLEU over the common directions."""
    averages = {name: comparison.averages(name) for name in comparison.systems}
    first = averages[comparison.systems[0]]
    groups = [group for group, average in first.items() if average.n]
    rows = tuple(
        (
            GROUP_NAMES[group],
            f"{first[group].n} of {first[group].of}",
            *(score_text(averages[name][group].value) for name in comparison.systems),
        )
        for group in groups
    )
    columns = ("group", "directions", *comparison.systems)
    return TextTable("Average BLEU", columns, rows, frozenset(comparison.systems))


def tally_text(comparison: Comparison, system: str, metric: str) -> str:
    """Say in how many directions a system is better and worse than the baseline."""
    counts = [len(found) for found in comparison.tally(system, metric)]
    return (
        f"{system}: better than {comparison.systems[0]} in {counts[0]}, worse in {counts[1]}, no difference beyond "
        f"chance in {counts[2]} of {sum(counts)} directions by {METRICS[metric]}"
    )


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
