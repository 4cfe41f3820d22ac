"""A comparison as tables for the terminal and for Markdown."""

from __future__ import annotations

from st.evaluation.report.grid import comparison_tables
from st.evaluation.report.published import other_test_sets
from st.evaluation.report.tables import GROUP_NAMES, direction_name, interval_text, score_text
from st.evaluation.scoring.compare import METRICS, SIGNIFICANT, Comparison, Outcome
from st.evaluation.scoring.resampling import NUM_RESAMPLES, NUM_TRIALS, SEED
from st.report.tables import TextTable, to_markdown, to_text

NUMBERS = ("segments", "95 % interval", "difference", "p bootstrap", "p randomisation")

EXPLANATION = (
    f"p: paired bootstrap ({NUM_RESAMPLES} resamples) and approximate randomisation ({NUM_TRIALS} trials), two-sided, "
    f"seed {SEED}, as sacreBLEU computes them. A star: both below {SIGNIFICANT}. Among twenty comparisons of equal "
    "systems about one falls below by chance."
)


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
        parts += filter(None, [other_test_sets(comparison.sizes)])
    if comparison.left_out:
        parts.append(f"Left out, because not every system has them: {' '.join(comparison.left_out)}")
    parts.append(EXPLANATION)
    return "\n\n".join(parts) + "\n"


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
