"""Accuracies of both forms, a row per model: what hardening is to bring together."""

from __future__ import annotations

from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from fastff.analysis.failed import unless_all_failed
from fastff.analysis.lines import family_of, family_style, heading
from fastff.analysis.style import TWO_COLUMNS, theme, wrap
from fastff.analysis.summary import summarise
from fastff.tables.schema import PRINTED

ROW_HEIGHT = 0.16  # inches
LOOKS: dict[str, dict[str, Any]] = {  # the colour is that of the model
    "accuracy_soft": {"marker": "o", "markerfacecolor": "white", "markeredgewidth": 0.8},
    "accuracy_hard": {"marker": "D"},
}


@unless_all_failed
def draw_forms(runs: pd.DataFrame, title: str, *, by_shape: bool = False) -> Figure:
    """Return a dot plot of the soft and the hard form's test accuracy, in percent.

    A row per variant and shape in the colour of its family, its two dots joined by a line. Dots are
    means over seeds, bars their 95 % t-intervals.

    Args:
        runs: the runs table of an experiment.
        title: what the figure shows; dataset and number of seeds are added.
        by_shape: a panel per shape, in place of one for all.

    """
    summary = summarise(runs, list(LOOKS))
    groups = [("", summary)]
    if by_shape:
        keys = ["depth", "hidden_features"]
        groups = [(_shape(rows.iloc[0]), rows) for _, rows in summary.groupby(keys, sort=False)]
    n_columns = min(2, len(groups))
    n_rows = -(-len(groups) // n_columns)
    height = ROW_HEIGHT * max(len(rows) for _, rows in groups) + 0.45
    with theme():
        figure = Figure(figsize=(TWO_COLUMNS, 0.8 + n_rows * height), layout="constrained")
        grid = figure.subplots(n_rows, n_columns, sharex=True, sharey=by_shape, squeeze=False)
        for axes, (name, rows) in zip(grid.flat, groups, strict=False):
            axes.set_title(name)
            _draw_rows(axes, rows, with_shape=not by_shape)
        for axes in grid.flat[len(groups) :]:
            axes.set_axis_off()
        for axes in grid[-1]:
            axes.set_xlabel("accuracy (%)")
        figure.suptitle(wrap(heading(runs, title), TWO_COLUMNS, heading=True))
        handles = [
            Line2D([], [], linestyle="", color="0.3", label=PRINTED[metric].words, **look)
            for metric, look in LOOKS.items()
        ]
        figure.legend(
            handles=handles,
            loc="outside lower center",
            ncols=len(handles),
            title="test samples; mean over seeds; bars: 95 % t-interval, many within the marker",
        )
    return figure


def _draw_rows(axes: Axes, summary: pd.DataFrame, *, with_shape: bool) -> None:
    several = set(summary.loc[summary["variant"].duplicated(), "variant"]) if with_shape else set()
    styles = {name: family_style(family_of(name)) for name in summary["variant"]}
    names = []
    for place, (_, row) in enumerate(summary.iterrows()):
        name = str(row["label"])
        names.append(f"{name}, {_shape(row)}" if row["variant"] in several else name)
        colour = styles[row["variant"]].colour
        means = [PRINTED[metric].scale * row[f"{metric}_mean"] for metric in LOOKS]
        axes.plot(means, [place, place], color="0.6", linewidth=0.7, zorder=1)
        for mean, (metric, look) in zip(means, LOOKS.items(), strict=True):
            half_width = PRINTED[metric].scale * row[f"{metric}_ci"]
            axes.errorbar(
                mean, place, xerr=half_width, elinewidth=0.7, linestyle="", color=colour, **look
            )
    axes.set_yticks(range(len(names)), names)
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.grid(visible=True, axis="x")
    axes.grid(visible=False, axis="y")


def _shape(row: pd.Series) -> str:
    """Return how a shape is written: of a layer without a tree, its hidden units alone."""
    units = f"{row['hidden_features']} hidden {'unit' if row['hidden_features'] == 1 else 'units'}"
    return f"depth {row['depth']}, {units}" if row["depth"] else units
