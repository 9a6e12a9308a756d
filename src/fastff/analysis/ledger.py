"""The ledger of claims: as a table to read, as sentences, and as a figure."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator

from fastff.analysis.style import CENTRE, TWO_COLUMNS, theme, wrap
from fastff.tables.format import DASH, SavedTable, show_digits, show_p, write_table
from fastff.tables.read import TidyError

VERDICTS = ("reproduces", "reproduces in part", "does not reproduce", "not testable on this data")
NUMBERS = ("effect", "low", "high", "p_value", "p_holm")
TEXTS = (
    *("claim", "source", "statement", "published", "experiment", "target", "device", "statistic"),
    *("unit", "verdict", "reason"),
)
COLUMNS = (*TEXTS, *NUMBERS, "n")
WIDTHS = {"claim": 5.5, "source": 2.6, "published": 3.0, "verdict": 1.9}  # cm, in LaTeX


def load_ledger(path: str | os.PathLike[str]) -> pd.DataFrame:
    """Read a ledger that `fastff claims` wrote.

    Raises:
        TidyError: for a file that can't be read, that lacks a column, or has another verdict than
            those of VERDICTS.

    """
    try:
        empty = {column: [""] for column in NUMBERS}
        texts = dict.fromkeys(TEXTS, str)
        table = pd.read_csv(path, dtype=texts, keep_default_na=False, na_values=empty)
    except OSError as error:
        raise TidyError(f"{Path(path)}: {error.strerror}") from None
    if missing := [column for column in COLUMNS if column not in table]:
        raise TidyError(f"{Path(path)}: missing columns: {', '.join(missing)}")
    for verdict in table["verdict"]:
        if verdict not in VERDICTS:
            raise TidyError(
                f"{Path(path)}: column verdict has {verdict!r}; allowed are {', '.join(VERDICTS)}"
            )
    return table


def shown_ledger(table: pd.DataFrame) -> pd.DataFrame:
    """Return the ledger as a reader wants it: claim, source, published, here, p, verdict."""
    rows = table.to_dict("records")
    return pd.DataFrame(
        {
            "claim": table["statement"],
            "source": table["source"],
            "published": table["published"],
            "here": [show_effect(row) for row in rows],
            "p (Holm)": [show_p(row["p_holm"]) for row in rows],
            "verdict": table["verdict"],
        }
    )


def show_effect(row: dict[str, object]) -> str:
    """Return a claim's effect with its interval and unit, as text."""
    effect, low, high = (float(str(row[key])) for key in ("effect", "low", "high"))
    if pd.isna(effect):
        return DASH
    unit, sign = str(row["unit"]), ""
    if unit == "depth":
        return f"depth {effect:g} [{show_digits(low)}, {show_digits(high)}]"
    if unit != "×":
        unit, sign = f" {unit}", "+"
    number, start, end = (f"{value:{sign}.3g}" for value in (effect, low, high))
    return f"{number}{unit} [{start}, {end}]"


def write_ledger(table: pd.DataFrame, stem: str | os.PathLike[str]) -> SavedTable:
    """Write `<stem>.csv`, every column and digit, and `.md` and `.tex`, what a reader wants."""
    return write_table(table, stem, shown=shown_ledger(table), widths=WIDTHS)


def describe_ledger(table: pd.DataFrame, rules: Mapping[str, str]) -> str:
    """Return a line per claim: the verdict, the numbers on both sides, why, and the rule.

    Args:
        table: what `load_ledger` returned.
        rules: the rule of a claim in words, by the claim's name.

    """
    lines = []
    for row in table.to_dict("records"):
        where = "" if row["device"] == "any" else f", {row['device']}"
        tested = f"`{row['experiment']}`{where}"
        if not pd.isna(row["effect"]):
            tested += f", {row['statistic']} {show_effect(row)}"
        rule = f" Rule: {rules[row['claim']]}" if row["claim"] in rules else ""
        lines.append(
            f"- **{row['verdict']}**: {row['statement']} *{row['source']}: {row['published']}.* "
            f"Here, {tested}: {row['reason']}.{rule}"
        )
    return "\n".join(lines)


def count_verdicts(table: pd.DataFrame) -> str:
    """Return how many claims have which verdict, as a sentence."""
    counts = table["verdict"].value_counts()
    said = [f"{verdict} {counts[verdict]}" for verdict in VERDICTS if verdict in counts]
    return f"{len(table)} claims: {', '.join(said)}."


ROW_HEIGHT, PANEL_HEIGHT = 0.18, 0.5  # inches of a claim, and of a panel's own axis and title
SHOWN = VERDICTS[:3]
MARKERS = dict(zip(SHOWN, "oDs", strict=True))
COLOURS = dict(zip(SHOWN, ("#0173b2", "#56b4e9", "#d55e00"), strict=True))  # colour-blind safe
AXES = {
    "%": "relative change (%)",
    "points": "difference (percentage points)",
    "nats": "difference of losses (nats)",
    "×": "times as fast",
    "depth": "depth from which on it is faster",
}
PUBLISHED: dict[str, Any] = {"marker": "|", "markersize": 9.0, "markeredgewidth": 1.4}


def draw_ledger(table: pd.DataFrame, published: Mapping[str, float], title: str) -> Figure:
    """Return the figure: a row per claim that has an effect, a panel per unit.

    Args:
        table: what `load_ledger` returned.
        published: the published value of those claims that have one, in the claim's unit.
        title: what the figure shows.

    """
    rows = table[table["effect"].notna()].assign(published=table["claim"].map(published))
    groups = [group for _, group in rows.groupby("unit", sort=False)]
    heights = [len(group) * ROW_HEIGHT + PANEL_HEIGHT for group in groups] or [1.0]
    without = len(table) - len(rows)
    note = f"; not shown, without an effect: {without} of {len(table)} claims" if without else ""
    with theme():
        figure = Figure(figsize=(TWO_COLUMNS, 0.8 + sum(heights)), layout="constrained")
        panels = figure.subplots(len(heights), 1, squeeze=False, height_ratios=heights)[:, 0]
        for axes, group in zip(panels, groups, strict=False):
            _draw_group(axes, group)
        if not groups:
            panels[0].annotate("no claim is testable on this data", **CENTRE)
            panels[0].set_axis_off()
        figure.suptitle(wrap(title, TWO_COLUMNS, heading=True))
        handles = [
            Line2D([], [], marker=MARKERS[verdict], color=COLOURS[verdict], label=verdict)
            for verdict in SHOWN
        ]
        handles.append(Line2D([], [], linestyle="", color="black", **PUBLISHED, label="published"))
        figure.legend(
            handles=handles,
            loc="outside lower center",
            ncols=len(handles),
            title=wrap(
                "bars: 95 % interval of the bootstrap; of speeds, range of the quartiles" + note,
                TWO_COLUMNS,
            ),
        )
    return figure


def _draw_group(axes: Axes, group: pd.DataFrame) -> None:
    """Draw the claims of one unit."""
    unit = str(group["unit"].iloc[0])
    for place, row in enumerate(group.to_dict("records")):
        colour = COLOURS[row["verdict"]]
        axes.plot([row["low"], row["high"]], [place, place], color=colour)
        axes.plot(row["effect"], place, color=colour, marker=MARKERS[row["verdict"]])
        if not pd.isna(row["published"]):
            axes.plot(row["published"], place, linestyle="", color="black", **PUBLISHED)
    axes.set_yticks(range(len(group)), [name.replace("_", " ") for name in group["claim"]])
    axes.set_ylim(len(group) - 0.4, -0.6)
    axes.grid(visible=True, axis="x")
    axes.grid(visible=False, axis="y")
    axes.set_title(AXES.get(unit, f"slope ({unit})"))
    if unit == "×":
        axes.set_xscale("log")
        axes.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}×"))
    elif unit == "depth":
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    if unit != "depth":
        axes.axvline(1.0 if unit == "×" else 0.0, color="0.25", linewidth=0.7, zorder=0)
