"""Accuracy over three notions of size: parameters, hidden units in training and at inference."""

from __future__ import annotations

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import LogLocator, NullLocator

from fastff.analysis.failed import unless_all_failed
from fastff.analysis.looks import Look, looks
from fastff.analysis.panels import heading
from fastff.analysis.sizes import METRIC, reference_variant
from fastff.analysis.style import TWO_COLUMNS, theme, wrap
from fastff.analysis.summary import labels_of, require_one, summarise
from fastff.tables.format import COLUMNS

AXES = {
    "n_parameters": "parameters",
    "training_width": "hidden units in training",
    "inference_width": "hidden units at inference",
}
MARKERS = "osD^vP*X"  # by depth
HEIGHT = 2.3  # inches of a panel
MARGIN = 1.35  # factor beside the smallest and the largest size


@unless_all_failed
def draw_sizes(runs: pd.DataFrame, title: str) -> Figure:
    """Return the accuracy of the hard form over the size: a panel per notion of size.

    A routed layer is a point per shape: colour says which, the marker its depth, and a line joins
    the widths of one depth. The feed-forward layer, `reference_variant`, is the line to compare
    with; band and bars are 95 % t-intervals over seeds. Panels have the extent of the points: a
    wide interval, or the line, may leave them.

    Args:
        runs: the runs table of an experiment.
        title: what the figure shows; dataset and number of seeds are added.

    Raises:
        ValueError: for more than one region leak, or without a feed-forward layer.

    """
    require_one(runs, "region_leak")
    reference = reference_variant(runs)
    shown = runs[(runs["variant"] == reference) | (runs["n_experts"] > 1)]
    labels = labels_of(shown)
    styles = looks(list(labels))
    summary = summarise(shown, [METRIC])
    depths = sorted(set(summary["depth"]) - {0})
    sizes = summary.loc[summary["variant"] != reference, list(AXES)]
    least, most = sizes.min(), sizes.max()
    marks = dict(zip(depths, MARKERS, strict=False))
    with theme():
        figure = Figure(figsize=(TWO_COLUMNS, 1.1 + HEIGHT), layout="constrained")
        row = figure.subplots(1, len(AXES), sharey=True)
        for axes, (column, name) in zip(row, AXES.items(), strict=True):
            for variant, look in styles.items():
                rows = summary[summary["variant"] == variant].sort_values(column)
                if variant == reference:
                    _draw_reference(axes, rows, column, look)
                    continue
                for depth, points in rows.groupby("depth"):
                    _draw_depth(axes, points, column, look, marks[depth])
            base = 10 if column == "n_parameters" else 2
            axes.set_xscale("log", base=base)
            axes.set_xlim(least[column] / MARGIN, most[column] * MARGIN)
            axes.xaxis.set_major_locator(LogLocator(base, numticks=9))
            axes.xaxis.set_minor_locator(NullLocator())
            axes.xaxis.set_major_formatter("{x:g}" if column != "n_parameters" else _power)
            axes.set_xlabel(name)
        row[0].set_ylim(*_limits(summary))
        row[0].set_ylabel(COLUMNS[METRIC].heading)
        figure.suptitle(wrap(heading(shown, title), TWO_COLUMNS, heading=True))
        handles = [
            Line2D([], [], label=labels[name], color=look.colour, linewidth=1.4)
            for name, look in styles.items()
        ]
        handles += [
            Line2D([], [], label=f"depth {depth}", color="0.3", marker=mark, linestyle="")
            for depth, mark in marks.items()
        ]
        figure.legend(
            handles=handles,
            title="mean over seeds; bars and band: 95 % t-interval; lines join widths of a depth",
            loc="outside lower center",
            ncols=min(len(handles), 7),
            handlelength=2.0,
        )
    return figure


def _limits(summary: pd.DataFrame) -> tuple[float, float]:
    means = COLUMNS[METRIC].scale * summary[f"{METRIC}_mean"]
    pad = max(0.08 * (means.max() - means.min()), 0.5)
    return means.min() - pad, means.max() + pad


def _draw_reference(axes: Axes, rows: pd.DataFrame, column: str, look: Look) -> None:
    scale = COLUMNS[METRIC].scale
    mean, width = scale * rows[f"{METRIC}_mean"], scale * rows[f"{METRIC}_ci"]
    axes.plot(rows[column], mean, color=look.colour, linewidth=1.4, zorder=3)
    low, high = mean - width, mean + width
    axes.fill_between(rows[column], low, high, color=look.colour, alpha=0.2, linewidth=0)


def _draw_depth(axes: Axes, points: pd.DataFrame, column: str, look: Look, marker: str) -> None:
    scale = COLUMNS[METRIC].scale
    axes.errorbar(
        points[column],
        scale * points[f"{METRIC}_mean"],
        yerr=scale * points[f"{METRIC}_ci"],
        color=look.colour,
        marker=marker,
        linewidth=0.6,
        elinewidth=0.5,
    )


def _power(value: float, _: int) -> str:
    """Return a number of parameters, such as 10k or 1M."""
    return f"{value / 1e6:g}M" if value >= 1e6 else f"{value / 1e3:g}k"
