"""The figures of the benchmarks of single operations: panels of lines over a size."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, LogLocator, MaxNLocator, NullLocator

from fastff.analysis.labels import LINE, label_ends
from fastff.analysis.lines import LineStyle, line_styles
from fastff.analysis.style import CENTRE, CHARACTER, LIMIT, TWO_COLUMNS, log_ticks, theme, wrap
from fastff.analysis.timings import Timings, fastest_modes
from fastff.config.display import displayed
from fastff.tables.schema import PRINTED

PANEL_HEIGHT, AROUND = 1.6, 0.5  # inches of a panel, and what its title and labels take of it
ROOFLINE: dict[str, Any] = {"color": "0.55", "linestyle": ":", "linewidth": 0.9}
FEED_FORWARD = "dense"  # the variant whose crossing with a treatment is marked
RATIO = "ratio"  # the column of times over those of a treatment


@dataclass(frozen=True)
class Panel:
    """One panel; those of a row share their y-axis.

    Attributes:
        title: above it.
        rows: what is drawn, one row per variant and x.
        x: the column to draw over.
        y: the column to draw; "median_us" has bars from `q25_us` to `q75_us`, and of RATIO the
            line at 1 is drawn, and where FEED_FORWARD crosses it.
        roofline_of: the variant whose roofline is drawn too.
        log_x: base-2 logarithm of x.

    """

    title: str
    rows: pd.DataFrame
    x: str = "depth"
    y: str = "median_us"
    roofline_of: str | None = None
    log_x: bool = False


def draw_times(grid: Sequence[Sequence[Panel]], timings: Timings, title: str) -> Figure:
    """Return a figure of rows of panels. Variants have one line style, and names at their ends.

    Args:
        grid: rows of panels, all of the same length.
        timings: whose rows the panels show, for the title.
        title: what the figure shows; the machine is added.

    """
    shown = pd.concat([panel.rows for panels in grid for panel in panels])
    labels = dict(zip(shown["variant"], shown["label"], strict=True))
    styles = line_styles(list(labels))
    with theme():
        size = (TWO_COLUMNS, 0.9 + PANEL_HEIGHT * len(grid))
        figure = Figure(figsize=size, layout="constrained")
        cells = figure.subplots(len(grid), len(grid[0]), sharey="row", squeeze=False)
        for row, panels in zip(cells, grid, strict=True):
            for axes, panel in zip(row, panels, strict=True):
                _draw(axes, panel, styles)
            row[0].set_ylabel(_heading(panels[0]))
            if any(len(panel.rows) for panel in panels):
                row[0].set_yscale("log")
                log_ticks(row[0].yaxis)
            _label(row, panels, styles, labels)
        figure.align_ylabels(cells[:, 0])
        figure.suptitle(wrap(timings.heading(title), figure.get_figwidth(), heading=True))
        figure.supxlabel(wrap(_note(grid, labels, timings.n_processes), TWO_COLUMNS))
    return figure


def _draw(axes: Axes, panel: Panel, styles: dict[str, LineStyle]) -> None:
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
        axes.xaxis.set_major_locator(LogLocator(base=2, numticks=5))
        axes.xaxis.set_minor_locator(NullLocator())
    elif panel.rows[panel.x].nunique() <= 8:
        axes.xaxis.set_major_locator(FixedLocator(sorted(panel.rows[panel.x].unique())))
    else:
        axes.xaxis.set_major_locator(MaxNLocator(7, integer=True))
    if panel.y == RATIO:
        axes.axhline(1, **LIMIT)
        _mark_feed_forward(axes, panel)


def _mark_feed_forward(axes: Axes, panel: Panel) -> None:
    """Say how much slower the widest feed-forward layer is, and mark from which x on one is."""
    line = panel.rows[panel.rows["variant"] == FEED_FORWARD].sort_values(panel.x)
    if line.empty:
        return
    axes.set_title(f"widest feed-forward:\n{line[RATIO].iloc[-1]:.3g}× the kernel's time")
    slower = np.flatnonzero(line[RATIO] < 1)
    first = slower[-1] + 1 if len(slower) else 0
    if 0 < first < len(line):
        x = line[panel.x].iloc[first]
        axes.axvline(x, **LIMIT)
        axes.annotate(
            f"{x:,.0f}",
            (x, 1.0),
            (3, -3),
            xycoords=("data", "axes fraction"),
            textcoords="offset points",
            va="top",
        )


def _label(
    row: Sequence[Axes],
    panels: Sequence[Panel],
    styles: dict[str, LineStyle],
    labels: dict[str, str],
) -> None:
    """Write each variant's name at the end of its line, in the last panel that has it."""
    last = {v: k for k, panel in enumerate(panels) for v in panel.rows["variant"]}
    for place, (axes, panel) in enumerate(zip(row, panels, strict=True)):
        lines = panel.rows.sort_values(panel.x).groupby("variant", sort=False).last()
        ends = [(float(line[panel.y]), labels[str(v)], styles[str(v)].colour)
                for v, line in lines.iterrows() if last[v] == place]  # fmt: skip
        if place < len(panels) - 1:  # beside the panel is the next one
            for y, text, _ in ends if panel.y != RATIO else ():
                _write_inside(axes, panel, y, text)
            continue
        if panel.roofline_of in lines.index:
            roofline = float(lines.loc[panel.roofline_of, "roofline_us"])
            ends.append((roofline, "roofline", ROOFLINE["color"]))
        label_ends(axes, ends, PANEL_HEIGHT - AROUND)


def _write_inside(axes: Axes, panel: Panel, y: float, text: str) -> None:
    """Write a name into a panel beside its line: where the fewest points are, above or below."""
    to_axes = axes.transData + axes.transAxes.inverted()
    points = to_axes.transform(panel.rows[[panel.x, panel.y]].to_numpy(dtype=float))
    width = CHARACTER * len(text) / (TWO_COLUMNS / 4)
    height = LINE / (PANEL_HEIGHT - AROUND)
    end = float(to_axes.transform((1.0, y))[1])

    def crowd(place: tuple[float, float]) -> int:
        inside = (points >= place) & (points <= np.add(place, (width, height)))
        return int(inside.all(axis=1).sum())

    places = [(x, end + dy) for dy in (0.04, -0.04 - height) for x in (0.97 - width, 0.03)]
    x, bottom = min(places, key=crowd)
    axes.text(x, bottom, text, transform=axes.transAxes, va="bottom")


def _heading(panel: Panel) -> str:
    return "time over that of\nthe kernel" if panel.y == RATIO else PRINTED[panel.y].heading


def _note(grid: Sequence[Sequence[Panel]], labels: dict[str, str], n_processes: int) -> str:
    """Return what lines, bars and markers are."""
    shown = "Medians of one call; bars: quartiles"
    if n_processes > 1:
        shown = f"Medians of one call, over {n_processes} processes; bars: least and most"
    notes = [shown, "most are smaller than the marker", "filled: our kernels, hollow: PyTorch"]
    rooflines = {panel.roofline_of for panels in grid for panel in panels} & {*labels}
    if rooflines:
        names = " and ".join(labels[name] for name in sorted(filter(None, rooflines)))
        notes.append(f"dotted: roofline of {names}")
    if any(panel.y == RATIO for panels in grid for panel in panels):
        notes.append("dashed: equal times, and the width from which on the kernel is faster")
    return "; ".join(notes)


def draw_gate_times(timings: Timings, title: str, *, dtype: str = "float32") -> Figure:
    """Return the time over depth, a panel per batch.

    Args:
        timings: of gates.
        title: what the figure shows; dtype and machine are added.
        dtype: which is drawn.

    """
    rows = fastest_modes(timings.of(op="gate", dtype=dtype))
    panels = [
        Panel(f"batch {batch}", rows[rows["batch"] == batch], roofline_of="descent_fused")
        for batch in _values(rows, "batch")
    ]
    return draw_times([panels], timings, f"{title} · {displayed(dtype)}")


def draw_expert_times(
    timings: Timings, title: str, *, y: str = "median_us", most_columns: int = 4
) -> Figure:
    """Return time or peak memory over hidden units, for one chosen expert and for all of them.

    Args:
        timings: of experts.
        title: what the figure shows; the machine is added.
        y: "median_us", or "peak_mib": what is allocated during a call, its output included.
        most_columns: columns for numbers of experts, the largest and those spread below it.

    """
    rows = fastest_modes(timings.of(op="experts"))
    rows = rows.assign(peak_mib=rows["peak_bytes"] / 2**20)
    counts = _values(rows, "n_experts")
    step = max(1, -(-len(counts) // most_columns))
    counts = counts[::-1][::step][::-1]
    roofline = "experts_fused" if y == "median_us" else None
    grid = []
    for chosen in ("one", "all"):
        part = rows[(rows["top_k"] == (1 if chosen == "one" else rows["n_experts"]))]
        grid.append(
            [
                Panel(f"{count} {'expert' if count == 1 else 'experts'}, {chosen} chosen",
                      part[part["n_experts"] == count],
                      x="hidden_features", y=y, log_x=True, roofline_of=roofline)
                for count in counts
            ]
        )  # fmt: skip
    return draw_times(grid, timings, title)


def draw_tree_times(timings: Timings, title: str) -> Figure:
    """Return the time of trees with leaves and of node trees over depth, a panel per batch."""
    rows = fastest_modes(timings.of(op="layer"))
    panels = [
        Panel(f"batch {batch}", rows[rows["batch"] == batch], roofline_of="node_tree")
        for batch in _values(rows, "batch")
    ]
    return draw_times([panels], timings, title)


def draw_layer_times(timings: Timings, title: str, cases: Sequence[str]) -> Figure:
    """Return the time of layers over their training width, a column per dtype, for each batch.

    Below is the time of each over that of the FFF's kernel.

    Args:
        timings: of layers or training steps.
        title: what the figure shows; the machine is added.
        cases: which are drawn.

    """
    rows = fastest_modes(timings.of(*cases))
    grid = []
    for batch in _values(rows, "batch"):
        for y in ("median_us", RATIO):
            part = rows[rows["batch"] == batch]
            part = over_treatment(part, "fff", ["dtype", "width"]) if y == RATIO else part
            roofline = None if y == RATIO else "fff"
            grid.append(
                [
                    Panel(f"{displayed(str(dtype))}, batch {batch}" if y != RATIO else "",
                          part[part["dtype"] == dtype],
                          x="width", y=y, log_x=True, roofline_of=roofline)
                    for dtype in _values(rows, "dtype")
                ]
            )  # fmt: skip
    return draw_times(grid, timings, title)


def over_treatment(rows: pd.DataFrame, treatment: str, on: Sequence[str]) -> pd.DataFrame:
    """Return the rows of other variants, with RATIO: their time over the treatment's."""
    ours = rows[rows["variant"] == treatment].set_index(list(on))["median_us"]
    others = rows[rows["variant"] != treatment].join(ours, on=list(on), suffixes=("", "_ours"))
    others = others.assign(**{RATIO: others["median_us"] / others["median_us_ours"]})
    return others.dropna(subset=RATIO)


def draw_layer_batches(timings: Timings, title: str, cases: Sequence[str]) -> Figure:
    """Return the time of layers of one depth over the batch, a column per dtype.

    Args:
        timings: of layers.
        title: what the figure shows; the machine is added.
        cases: which are drawn, of one depth each.

    """
    rows = fastest_modes(timings.of(*cases))
    panels = [
        Panel(f"{displayed(str(dtype))}, depth {part['depth'].max()}", part, x="batch", log_x=True,
              roofline_of="node_tree")
        for dtype in _values(rows, "dtype")
        for part in [rows[rows["dtype"] == dtype]]
    ]  # fmt: skip
    return draw_times([panels], timings, title)


def draw_leaf_sizes(timings: Timings, title: str, cases: Sequence[str]) -> Figure:
    """Return the time of layers over the training width, a column per size of the leaves.

    Args:
        timings: of layers.
        title: what the figure shows; the machine is added.
        cases: which are drawn, of one batch.

    """
    rows = fastest_modes(timings.of(*cases))
    flat = rows["variant"] == FEED_FORWARD
    panels = [
        Panel(f"leaves of {size}, batch {_values(rows, 'batch')[0]}",
              pd.concat([part, dense[dense["width"].isin(part["width"])]]), x="width", log_x=True,
              roofline_of="fff")
        for dense in [rows[flat].drop_duplicates("width")]
        for size in _values(rows[~flat], "hidden_features")
        for part in [rows[~flat & (rows["hidden_features"] == size)]]
    ]  # fmt: skip
    return draw_times([panels], timings, title)


def _values(rows: pd.DataFrame, column: str) -> list[object]:
    """Return the values of a column in order, those of text as they appear; at least one."""
    values = list(dict.fromkeys(rows[column]))
    if not values:
        return ["–"]
    return values if column == "dtype" else sorted(values)
