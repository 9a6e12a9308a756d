"""How much faster the training engine is than a plain loop: the numbers and the figure."""

from __future__ import annotations

import os
from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from fastff.analysis.style import TWO_COLUMNS, log_ticks, theme, wrap
from fastff.config.display import displayed
from fastff.config.presets import PRESETS
from fastff.tables.format import show_digits
from fastff.tables.read import TidyError, read_table
from fastff.tables.schema import ENGINE

POINT = ("variant", "label", "depth", "hidden_features")
ROW_HEIGHT = 0.42  # inches of a point
SHADES = ("0.75", "0.5", "0.15")  # of the bars


def load_engine_benchmark(path: str | os.PathLike[str]) -> pd.DataFrame:
    """Read a table that `fastff bench` wrote of the engine; presets have today's labels.

    Raises:
        TidyError: for a file that can't be read, or that lacks a column or one of the sides.

    """
    table = read_table(path, ENGINE)
    if set(table["side"]) != {"plain", "engine"}:
        raise TidyError(f"{Path(path)}: column side must have plain and engine")
    labels = {name: variant.label for name, variant in PRESETS.items()}
    return table.assign(label=table["variant"].map(labels).fillna(table["label"]))


def speedups(table: pd.DataFrame) -> pd.DataFrame:
    """Return how many times faster the engine is, a row per point and number of workers.

    `ratio` is the plain loop's median seconds per run and epoch over the engine's, of the same
    process; `ratio_low` and `ratio_high` are of the quartiles that are nearest and farthest.
    """
    plain = table[table["side"] == "plain"]
    engine = table[table["side"] == "engine"]
    both = plain.merge(engine, on=list(POINT), suffixes=("_plain", "_engine"), validate="m:1")
    return pd.DataFrame(
        {
            **{column: both[column] for column in POINT},
            "workers": both["workers_plain"],
            "plain_s": both["s_per_run_epoch_plain"],
            "engine_s": both["s_per_run_epoch_engine"],
            "ratio": both["s_per_run_epoch_plain"] / both["s_per_run_epoch_engine"],
            "ratio_low": both["s_q25_plain"] / both["s_q75_engine"],
            "ratio_high": both["s_q75_plain"] / both["s_q25_engine"],
            "runs": both["runs_engine"],
            "plain_peak_mib": both["peak_bytes_plain"] / 2**20,
            "engine_peak_mib": both["peak_bytes_engine"] / 2**20,
        }
    )


def describe_speedups(table: pd.DataFrame) -> str:
    """Return a line per number of workers: the least and the largest ratio, and on what."""
    first = table.iloc[0]
    lines = []
    for workers, rows in speedups(table).groupby("workers"):
        least, most = rows.loc[rows["ratio"].idxmin()], rows.loc[rows["ratio"].idxmax()]
        lines.append(
            f"- Against {workers} workers of a DataLoader, the engine is "
            f"{least['ratio']:.3g} times faster (depth {least['depth']}, "
            f"{least['hidden_features']} hidden units) to {most['ratio']:.3g} times faster "
            f"(depth {most['depth']}, {most['hidden_features']} hidden units)."
        )
    where = f"Measured on {first['device_name']}, torch {first['torch']}"
    return "\n".join([*lines, "", f"{where}, commit {first['commit'] or 'unknown'}."])


def draw_speedups(table: pd.DataFrame, title: str) -> Figure:
    """Return the figure: how long an epoch takes in milliseconds, three bars a point.

    They are the two parts of the gain: an epoch of one run in a plain loop with the fewest workers;
    one of all runs that the engine trains at once; and that divided by the number of runs. Beside
    the last two is how many times faster than the plain loop they are.

    Args:
        table: what `load_engine_benchmark` returned.
        title: what the figure shows; device and dataset are added.

    """
    ratios = speedups(table).sort_values("workers", kind="stable").drop_duplicates(list(POINT))
    n_runs = " or ".join(f"{n:g}" for n in sorted(ratios["runs"].unique()))
    names = (
        f"plain loop, 1 run, {ratios['workers'].iloc[0]:g} workers",
        f"engine, {n_runs} runs at once",
        "engine, per run",
    )
    with theme():
        size = (TWO_COLUMNS, 1.15 + ROW_HEIGHT * len(ratios))
        figure = Figure(figsize=size, layout="constrained")
        axes = figure.subplots()
        axes.set_xscale("log")
        for place, row in enumerate(ratios.to_dict("records")):
            seconds = (row["plain_s"], row["runs"] * row["engine_s"], row["engine_s"])
            for k, (time, colour) in enumerate(zip(seconds, SHADES, strict=True)):
                y = place + (k - 1) / 3.6
                axes.barh(y, 1000 * time, height=0.26, color=colour)
                gain = f" ({seconds[0] / time:.3g}× faster)" if k else ""
                axes.text(1000 * time, y, f" {show_digits(1000 * time)} ms{gain}", va="center")
        axes.set_xlabel("milliseconds per epoch")
        shapes = [f"depth {p.depth}, {p.hidden_features} hidden units" for p in ratios.itertuples()]
        if ratios["variant"].nunique() > 1:
            shapes = [f"{p.label}, {n}" for p, n in zip(ratios.itertuples(), shapes, strict=True)]
        axes.set_yticks(range(len(ratios)), shapes)
        axes.invert_yaxis()
        low, high = axes.get_xlim()
        axes.set_xlim(low, 3 * high)
        log_ticks(axes.xaxis)
        axes.grid(visible=True, axis="x")
        axes.grid(visible=False, axis="y")
        first = table.iloc[0]
        heading = f"{title} · {displayed(first['dataset'])} · {first['device_name']}"
        figure.suptitle(wrap(heading, figure.get_figwidth(), heading=True))
        handles = [Patch(color=c, label=n) for c, n in zip(SHADES, names, strict=True)]
        figure.legend(handles=handles, loc="outside lower center", ncols=len(handles))
    return figure
