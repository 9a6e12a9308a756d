"""The figures of the benchmarks of single operations: panels of lines over a size."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, LogLocator, MaxNLocator, NullLocator

from fastff.analysis.lines import LineStyle, fitting_columns, line_styles
from fastff.analysis.style import CENTRE, TWO_COLUMNS, theme, wrap
from fastff.analysis.timings import Timings, fastest_modes
from fastff.tables.schema import PRINTED

PANEL_HEIGHT = 1.6  # inches
ROOFLINE: dict[str, Any] = {"color": "0.55", "linestyle": ":", "linewidth": 0.9}
SHALLOW = 8


@dataclass(frozen=True)
class Panel:
    """One panel.

    Attributes:
        title: above it; without one the place stays blank.
        rows: what is drawn, one row per variant and x.
        x: the column to draw over.
        y: the column to draw; "median_us" has bars from `q25_us` to `q75_us`.
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


def draw_times(grid: Sequence[Sequence[Panel]], timings: Timings, title: str) -> Figure:
    """Return a figure of rows of panels. Variants have the same line style in all of them.

    Args:
        grid: rows of panels, all of the same length.
        timings: whose rows the panels show, for the title.
        title: what the figure shows; the machine is added.

    """
    styles, labels = _styles([panel.rows for panels in grid for panel in panels])
    with theme():
        size = (TWO_COLUMNS, 1.0 + PANEL_HEIGHT * len(grid))
        figure = Figure(figsize=size, layout="constrained")
        cells = figure.subplots(len(grid), len(grid[0]), squeeze=False)
        for row, panels in zip(cells, grid, strict=True):
            for axes, panel in zip(row, panels, strict=True):
                _draw(axes, panel, styles)
            row[0].set_ylabel(PRINTED[panels[0].y].heading)
        figure.align_ylabels(cells[:, 0])
        figure.suptitle(wrap(timings.heading(title), figure.get_figwidth(), heading=True))
        if styles:
            _legend(figure, grid, styles, labels, timings.n_processes)
    return figure


def _styles(shown: Sequence[pd.DataFrame]) -> tuple[dict[str, LineStyle], dict[str, str]]:
    """Return the line style of every variant that is shown, and its label."""
    rows = pd.concat(shown)
    labels = dict(zip(rows["variant"], rows["label"], strict=True))
    return line_styles(list(labels)), labels


def _draw(axes: Axes, panel: Panel, styles: dict[str, LineStyle]) -> None:
    if not panel.title:
        axes.set_axis_off()
        return
    axes.set_title(panel.title)
    axes.set_xlabel(PRINTED[panel.x].heading)
    if panel.rows.empty:
        axes.annotate("not measured", **CENTRE)
        axes.set(xticks=[], yticks=[])
        return
    for variant, style in styles.items():
        line = panel.rows[panel.rows["variant"] == variant].sort_values(panel.x)
        bars = None
        if panel.y == "median_us":
            bars = [line["median_us"] - line["q25_us"], line["q75_us"] - line["median_us"]]
        axes.errorbar(line[panel.x], line[panel.y], yerr=bars, elinewidth=0.7, **style.line)
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
    styles: dict[str, LineStyle],
    labels: dict[str, str],
    n_processes: int,
) -> None:
    shown = "medians of one call; bars: quartiles"
    if n_processes > 1:
        shown = f"medians of one call, over {n_processes} processes; bars: least and most"
    handles = [Line2D([], [], label=labels[name], **style.line) for name, style in styles.items()]
    rooflines = {panel.roofline_of for panels in grid for panel in panels} & {*styles}
    for name in sorted(filter(None, rooflines)):
        handles.append(Line2D([], [], label=f"roofline of: {labels[name]}", **ROOFLINE))
    figure.legend(
        handles=handles,
        loc="outside lower center",
        ncols=fitting_columns(figure, [str(handle.get_label()) for handle in handles]),
        title=shown,
    )


def draw_gate_times(timings: Timings, title: str, *, dtype: str = "float32") -> Figure:
    """Return the time over depth: a row per batch; all depths, and those up to 8 linearly.

    Args:
        timings: of gates.
        title: what the figure shows; dtype and machine are added.
        dtype: which is drawn.

    """
    rows = fastest_modes(timings.of(op="gate", dtype=dtype))
    grid, kernel = [], "descent_fused"
    for batch in _values(rows, "batch"):
        part = rows[rows["batch"] == batch]
        shallow = part[part["depth"] <= SHALLOW]
        grid.append(
            [
                Panel(f"batch {batch}", part, roofline_of=kernel),
                Panel(f"batch {batch}, up to depth {SHALLOW}", shallow, roofline_of=kernel,
                      log_y=False),
            ]
        )  # fmt: skip
    return draw_times(grid, timings, f"{title} · {dtype}")


def draw_expert_times(timings: Timings, title: str, *, most_columns: int = 4) -> Figure:
    """Return time and peak memory over hidden units, for one chosen expert and for all of them.

    Args:
        timings: of experts.
        title: what the figure shows; the machine is added.
        most_columns: columns for numbers of experts, the largest and those spread below it.

    """
    rows = fastest_modes(timings.of(op="experts"))
    rows = rows.assign(peak_mib=rows["peak_bytes"] / 2**20)
    counts = _values(rows, "n_experts")
    step = max(1, -(-len(counts) // most_columns))
    counts = counts[::-1][::step][::-1]
    grid = []
    for chosen in ("one", "all"):
        part = rows[(rows["top_k"] == (1 if chosen == "one" else rows["n_experts"]))]
        for y in ("median_us", "peak_mib"):
            grid.append(
                [
                    Panel(f"{count} {'expert' if count == 1 else 'experts'}, {chosen} chosen",
                          part[part["n_experts"] == count],
                          x="hidden_features", y=y, log_x=True)
                    for count in counts
                ]
            )  # fmt: skip
    return draw_times(grid, timings, title)


def draw_tree_times(timings: Timings, title: str) -> Figure:
    """Return the time of trees with leaves and of node-only trees over depth, a panel per batch."""
    rows = fastest_modes(timings.of(op="layer"))
    panels = [
        Panel(f"batch {batch}", rows[rows["batch"] == batch], roofline_of="node_tree")
        for batch in _values(rows, "batch")
    ]
    return draw_times([panels], timings, title)


def draw_layer_times(timings: Timings, title: str, cases: Sequence[str]) -> Figure:
    """Return the time of layers over their training width, a column per dtype, a row per batch.

    Args:
        timings: of layers or training steps.
        title: what the figure shows; the machine is added.
        cases: which are drawn.

    """
    rows = fastest_modes(timings.of(*cases))
    grid = [
        [
            Panel(f"{dtype}, batch {batch}", part[part["dtype"] == dtype],
                  x="width", log_x=True, roofline_of="fff")
            for dtype in _values(rows, "dtype")
        ]
        for batch in _values(rows, "batch")
        for part in [rows[rows["batch"] == batch]]
    ]  # fmt: skip
    return draw_times(grid, timings, title)


def draw_layer_shapes(
    timings: Timings, title: str, over_batch: Sequence[str], over_width: Sequence[str]
) -> Figure:
    """Return times at given shapes: over the batch, a column per dtype, and over the width.

    Args:
        timings: of layers.
        title: what the figure shows; the machine is added.
        over_batch: cases of one depth each.
        over_width: cases of one batch, whose columns are hidden units of an expert.

    """
    first = fastest_modes(timings.of(*over_batch))
    second = fastest_modes(timings.of(*over_width))
    top = [
        Panel(f"{dtype}, depth {rows['depth'].max()}", rows, x="batch", log_x=True,
              roofline_of="node_tree")
        for dtype in _values(first, "dtype")
        for rows in [first[first["dtype"] == dtype]]
    ]  # fmt: skip
    dense = second[second["variant"] == "dense"].drop_duplicates("width")
    bottom = [
        Panel(f"leaves of {size}, batch {_values(second, 'batch')[0]}",
              pd.concat([rows, dense[dense["width"].isin(rows["width"])]]), x="width", log_x=True,
              roofline_of="fff")
        for size in _values(second[second["variant"] != "dense"], "hidden_features")
        for rows in [second[(second["hidden_features"] == size) & (second["variant"] != "dense")]]
    ]  # fmt: skip
    blank = Panel("", first.iloc[:0])
    n_columns = max(len(top), len(bottom))
    grid = [row + [blank] * (n_columns - len(row)) for row in (top, bottom)]
    return draw_times(grid, timings, title)


def _values(rows: pd.DataFrame, column: str) -> list[object]:
    """Return the values of a column in order, those of text as they appear; at least one."""
    values = list(dict.fromkeys(rows[column]))
    if not values:
        return ["–"]
    return values if column == "dtype" else sorted(values)
