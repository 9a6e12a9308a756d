"""Lines of means with their intervals, and the legend below the panels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.legend import Legend
from matplotlib.lines import Line2D

from fastff.analysis.looks import Look
from fastff.analysis.style import CHARACTER, wrap
from fastff.tables.format import COLUMNS

FLOOR = 0.05  # height of a cross, as a share of the panel's
CROSS = "x"  # the marker of a missing mean


def draw_lines(
    axes: Axes,
    summary: pd.DataFrame,
    x: str,
    metric: str,
    styles: Mapping[str, Look],
    *,
    spread: float = 0.36,
    log: bool = False,
) -> None:
    """Draw a line per variant: means, and 95 % intervals as bars.

    The lines are drawn from the summary that the tables print, so a figure can't say anything
    else. Variants are set side by side, or equal ones would hide each other.

    Args:
        axes: where to draw.
        summary: what `summarise` returned, of one row per variant and `x`.
        x: the column to draw over.
        metric: the name before `_mean` and `_ci`.
        styles: the look of each variant, in the order of the legend.
        spread: the width that the variants of one x share, in units of x (of log2 x with `log`).
        log: set them apart by a factor instead of a sum.

    """
    scale = COLUMNS[metric].scale
    offsets = np.linspace(-0.5, 0.5, len(styles)) * spread if len(styles) > 1 else [0.0]
    for (variant, look), offset in zip(styles.items(), offsets, strict=True):
        rows = summary[summary["variant"] == variant].sort_values(x)
        places = rows[x] * 2.0**offset if log else rows[x] + offset
        _draw_failed(axes, places[_has_failed(rows)], look)
        axes.errorbar(
            places,
            scale * rows[f"{metric}_mean"],
            yerr=scale * rows[f"{metric}_ci"],
            elinewidth=0.7,
            **look.line,
        )


def draw_band(axes: Axes, lines: pd.DataFrame, x: str, metric: str, look: Look) -> None:
    """Draw one line of means and its 95 % intervals as a band; `lines` is sorted by `x`."""
    scale = COLUMNS[metric].scale
    mean, width = scale * lines[f"{metric}_mean"], scale * lines[f"{metric}_ci"]
    axes.plot(lines[x], mean, markevery=max(1, len(lines) // 6), **look.line)
    low, high = mean - width, mean + width
    axes.fill_between(lines[x], low, high, color=look.colour, alpha=0.15, linewidth=0)
    gone = _has_failed(lines)
    _draw_failed(axes, lines.loc[gone & ~gone.shift(fill_value=False), x], look)


def _has_failed(summary: pd.DataFrame) -> pd.Series[bool]:
    """Return which rows have no mean because a run has failed."""
    if "n_failed" in summary:
        return summary["n_failed"] > 0
    return pd.Series(False, index=summary.index)


def _draw_failed(axes: Axes, places: pd.Series[float], look: Look) -> None:
    """Put a cross at the bottom where a mean is missing because a run has failed."""
    heights = [FLOOR] * len(places)
    if heights:
        style: dict[str, Any] = {
            "color": look.colour,
            "marker": CROSS,
            "markeredgewidth": 0.8,
            "linestyle": "",
        }
        axes.plot(places, heights, transform=axes.get_xaxis_transform(), **style)


def add_legend(
    figure: Figure,
    styles: Mapping[str, Look],
    labels: Mapping[str, str],
    note: str = "",
    *,
    interval: str = "bars",
) -> Legend:
    """Put the variants' legend below the panels.

    `interval` says how the intervals are drawn, and `note` what else is.
    """
    if any(line.get_marker() == CROSS for axes in figure.axes for line in axes.lines):
        note += "; cross: a run failed"
    names = [labels[variant] for variant in styles]
    handles = [Line2D([], [], label=labels[v], **look.line) for v, look in styles.items()]
    return figure.legend(
        handles=handles,
        loc="outside lower center",
        ncols=fitting_columns(figure, names),
        title=wrap(f"mean over seeds; {interval}: 95 % t-interval{note}", figure.get_figwidth()),
    )


def fitting_columns(figure: Figure, names: Sequence[str]) -> int:
    """Return the columns of a legend with these entries that fit the figure's width."""
    entry = 0.55 + CHARACTER * max(len(name) for name in names)
    most = max(1, int(figure.get_figwidth() / entry))
    # columns of equal length read as groups; at most four rows, or the panels get too little room
    even = [n for n in range(most, 0, -1) if len(names) % n == 0 and len(names) / n <= 4]
    return even[0] if even else -(-len(names) // -(-len(names) // most))
