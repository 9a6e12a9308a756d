"""The ledger as a figure: effects with their intervals beside the published values."""

from __future__ import annotations

from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator

from fastff.analysis.ledger import VERDICTS
from fastff.analysis.style import CENTRE, TWO_COLUMNS, theme, wrap

ROW_HEIGHT, PANEL_HEIGHT = 0.18, 0.5  # inches of a claim, and of a panel's own axis and title
SHOWN = VERDICTS[:4]
MARKERS = dict(zip(SHOWN, "oDvs", strict=True))
# colour-blind safe; grey decides nothing
COLOURS = dict(zip(SHOWN, ("#0173b2", "#56b4e9", "#949494", "#d55e00"), strict=True))
AXES = {
    "%": "relative change (%)",
    "points": "difference (percentage points)",
    "nats": "difference of losses (nats)",
    "bits": "difference of entropies (bits)",
    "experts": "difference (experts)",
    "×": "times as fast",
    "depth": "depth from which on it is faster",
}
PUBLISHED: dict[str, Any] = {"marker": "|", "markersize": 9.0, "markeredgewidth": 1.4}


def draw_ledger(table: pd.DataFrame, title: str) -> Figure:
    """Return the figure: a row per replication that has an effect, a panel per unit.

    Where no replication has one, it shows the other claims.

    Args:
        table: what `load_ledger` returned.
        title: what the figure shows.

    """
    rows = table[table["effect"].notna()]
    replications = rows[rows["kind"] == "replication"]
    rows = replications if len(replications) else rows
    groups = [group for _, group in rows.groupby("unit", sort=False)]
    heights = [len(group) * ROW_HEIGHT + PANEL_HEIGHT for group in groups] or [1.0]
    hidden = len(table) - len(rows)
    note = f"; {hidden} of {len(table)} claims are not shown" if hidden else ""
    with theme():
        figure = Figure(figsize=(TWO_COLUMNS, 0.8 + sum(heights)), layout="constrained")
        panels = figure.subplots(len(heights), 1, squeeze=False, height_ratios=heights)[:, 0]
        for axes, group in zip(panels, groups, strict=False):
            _draw_group(axes, group)
        if not groups:
            panels[0].annotate("no claim is tested by these results", **CENTRE)
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
                "bars: interval for the mean over seeds; of speeds, over processes" + note,
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
        same = row["device"] or row["dataset"] == row["published_dataset"]
        if same and not pd.isna(row["published_value"]):
            axes.plot(row["published_value"], place, linestyle="", color="black", **PUBLISHED)
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
