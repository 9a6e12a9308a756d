"""The figures of the benchmarks of single operations: which panels they have."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd
from matplotlib.figure import Figure

from fastff.analysis.timing_panels import Panel, draw_times
from fastff.analysis.timings import Timings, fastest_modes

SHALLOW = 8


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
