"""A figure of times: panels of lines over a size, one line per variant, quartiles as bars."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, LogLocator, MaxNLocator, NullLocator

from fastff.analysis.lines import fitting_columns
from fastff.analysis.looks import SOLID, Look, palette
from fastff.analysis.style import CENTRE, TWO_COLUMNS, theme, wrap
from fastff.analysis.timings import Timings

PANEL_HEIGHT = 1.6  # inches
MARKERS = "osD^vP*X<>"
ROOFLINE: dict[str, Any] = {"color": "0.55", "linestyle": ":", "linewidth": 0.9}


@dataclass(frozen=True)
class Panel:
    """One panel.

    Attributes:
        title: above it; without one the place stays blank.
        rows: what is drawn, one row per variant and x.
        x: the column to draw over.
        y: the column to draw; "median_us" has its quartiles as bars.
        roofline_of: the variant whose roofline is drawn too.
        log_x: base-2 logarithm of x.
        log_y: logarithm of y.

    """

    title: str
    rows: pd.DataFrame
    x: str = "depth"
    y: str = "median_us"
    roofline_of: str | None = None
    log_x: bool = False
    log_y: bool = True


NAMES = {
    "median_us": "time (µs)",
    "peak_mib": "peak memory (MiB)",
    "depth": "depth",
    "hidden_features": "hidden units",
    "width": "training width",
    "batch": "batch",
}


def draw_times(grid: Sequence[Sequence[Panel]], timings: Timings, title: str) -> Figure:
    """Return a figure of rows of panels. Variants have the same look in all of them.

    Args:
        grid: rows of panels, all of the same length.
        timings: whose rows the panels show, for the title.
        title: what the figure shows; the machine is added.

    """
    styles, labels = _looks([panel.rows for panels in grid for panel in panels])
    with theme():
        size = (TWO_COLUMNS, 1.0 + PANEL_HEIGHT * len(grid))
        figure = Figure(figsize=size, layout="constrained")
        cells = figure.subplots(len(grid), len(grid[0]), squeeze=False)
        for row, panels in zip(cells, grid, strict=True):
            for axes, panel in zip(row, panels, strict=True):
                _draw(axes, panel, styles)
            row[0].set_ylabel(NAMES[panels[0].y])
        figure.align_ylabels(cells[:, 0])
        figure.suptitle(wrap(timings.heading(title), figure.get_figwidth(), heading=True))
        if styles:
            _legend(figure, grid, styles, labels)
    return figure


def _looks(shown: Sequence[pd.DataFrame]) -> tuple[dict[str, Look], dict[str, str]]:
    """Return the look of every variant that is shown, and its label."""
    rows = pd.concat(shown)
    labels = dict(zip(rows["variant"], rows["label"], strict=True))
    colours = palette()
    looks = {
        name: Look(colours[place % len(colours)], SOLID, MARKERS[place % len(MARKERS)])
        for place, name in enumerate(labels)
    }
    return looks, labels


def _draw(axes: Axes, panel: Panel, styles: dict[str, Look]) -> None:
    if not panel.title:
        axes.set_axis_off()
        return
    axes.set_title(panel.title)
    axes.set_xlabel(NAMES[panel.x])
    if panel.rows.empty:
        axes.annotate("not measured", **CENTRE)
        axes.set(xticks=[], yticks=[])
        return
    for variant, look in styles.items():
        line = panel.rows[panel.rows["variant"] == variant].sort_values(panel.x)
        bars = None
        if panel.y == "median_us":
            bars = [line["median_us"] - line["q25_us"], line["q75_us"] - line["median_us"]]
        axes.errorbar(line[panel.x], line[panel.y], yerr=bars, elinewidth=0.7, **look.line)
    if panel.roofline_of is not None:
        line = panel.rows[panel.rows["variant"] == panel.roofline_of].sort_values(panel.x)
        axes.plot(line[panel.x], line["roofline_us"], **ROOFLINE)
    if panel.log_x:
        axes.set_xscale("log", base=2)
        axes.xaxis.set_major_locator(LogLocator(base=2, numticks=7))
        axes.xaxis.set_minor_locator(NullLocator())
    elif panel.rows[panel.x].nunique() <= 8:
        axes.xaxis.set_major_locator(FixedLocator(sorted(panel.rows[panel.x].unique())))
    else:
        axes.xaxis.set_major_locator(MaxNLocator(7, integer=True))
    if panel.log_y:
        axes.set_yscale("log")
        axes.yaxis.set_major_locator(LogLocator(numticks=6))
        axes.yaxis.set_minor_locator(NullLocator())
    else:
        axes.set_ylim(bottom=0)


def _legend(
    figure: Figure,
    grid: Sequence[Sequence[Panel]],
    styles: dict[str, Look],
    labels: dict[str, str],
) -> None:
    handles = [Line2D([], [], label=labels[name], **look.line) for name, look in styles.items()]
    rooflines = {panel.roofline_of for panels in grid for panel in panels} & {*styles}
    for name in sorted(filter(None, rooflines)):
        handles.append(Line2D([], [], label=f"roofline of: {labels[name]}", **ROOFLINE))
    figure.legend(
        handles=handles,
        loc="outside lower center",
        ncols=fitting_columns(figure, [str(handle.get_label()) for handle in handles]),
        title="medians of one call; bars: quartiles",
    )
