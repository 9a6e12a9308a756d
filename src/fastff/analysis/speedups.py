"""How much faster the training engine is than a plain loop: the numbers and the figure."""

from __future__ import annotations

import os
from pathlib import Path

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import LogLocator

from fastff.analysis.style import theme, width_of, wrap
from fastff.tables.read import TidyError, read_table
from fastff.tables.schema import ENGINE

POINT = ("variant", "label", "depth", "hidden_features")
ROW_HEIGHT = 0.2  # inches of a point
MARKERS = "osD^v"


def load_engine_benchmark(path: str | os.PathLike[str]) -> pd.DataFrame:
    """Read a table that `fastff bench` wrote of the engine.

    Raises:
        TidyError: for a file that can't be read, or that lacks a column or one of the sides.

    """
    table = read_table(path, ENGINE)
    if set(table["side"]) != {"plain", "engine"}:
        raise TidyError(f"{Path(path)}: column side must have plain and engine")
    return table


def speedups(table: pd.DataFrame) -> pd.DataFrame:
    """Return how many times less the engine takes, a row per point and number of workers.

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
            f"- Against a DataLoader with {workers} workers, the engine takes "
            f"{least['ratio']:.3g} times less (depth {least['depth']}, {least['hidden_features']} "
            f"hidden units) to {most['ratio']:.3g} times less (depth {most['depth']}, "
            f"{most['hidden_features']} hidden units)."
        )
    where = f"Measured on {first['device_name']}, torch {first['torch']}"
    return "\n".join([*lines, "", f"{where}, commit {first['commit'] or 'unknown'}."])


def draw_speedups(table: pd.DataFrame, title: str) -> Figure:
    """Return the figure: seconds per run and epoch of both sides, a row per point.

    The number at the right is how many times less the engine takes than the plain loop with the
    fewest workers and, if there are several, with the most.

    Args:
        table: what `load_engine_benchmark` returned.
        title: what the figure shows; device and dataset are added.

    """
    ratios = speedups(table)
    points = ratios[list(POINT)].drop_duplicates().reset_index(drop=True)
    workers = sorted(ratios["workers"].unique())
    engine_colour, *plain_colours = ("0.1", "0.6", "0.4", "0.75")
    with theme():
        size = (width_of(2), 1.15 + ROW_HEIGHT * len(points))
        figure = Figure(figsize=size, layout="constrained")
        axes = figure.subplots()
        for place, point in points.iterrows():
            rows = ratios.merge(point.to_frame().T, on=list(POINT))
            times = [rows["engine_s"].iloc[0], *rows["plain_s"]]
            axes.plot([min(times), max(times)], [place, place], color="0.8", linewidth=0.8)
            axes.plot(times[0], place, marker="*", markersize=6, color=engine_colour, ls="")
            for count, seconds in zip(rows["workers"], rows["plain_s"], strict=True):
                which = workers.index(count)
                marker, colour = MARKERS[which], plain_colours[which]
                axes.plot(seconds, place, marker=marker, color=colour, ls="")
            _write_ratios(axes, int(place), rows)
        axes.set_xscale("log")
        axes.xaxis.set_major_locator(LogLocator(numticks=6))
        axes.set_xlabel("seconds per run and epoch")
        names = [f"depth {p.depth}, {p.hidden_features} hidden" for p in points.itertuples()]
        if points["variant"].nunique() > 1:
            names = [f"{p.label}, {n}" for p, n in zip(points.itertuples(), names, strict=True)]
        axes.set_yticks(range(len(points)), names)
        axes.invert_yaxis()
        axes.grid(visible=True, axis="x")
        axes.grid(visible=False, axis="y")
        first = table.iloc[0]
        heading = f"{title} · {first['dataset']} · {first['device_name']}"
        figure.suptitle(wrap(heading, figure.get_figwidth(), heading=True))
        handles = [Line2D([], [], marker="*", color=engine_colour, ls="", label="engine")]
        for which, count in enumerate(workers):
            marker, colour = MARKERS[which], plain_colours[which]
            label = f"plain loop, {count} workers"
            handles.append(Line2D([], [], marker=marker, color=colour, ls="", label=label))
        figure.legend(
            handles=handles,
            loc="outside lower center",
            ncols=len(handles),
            title="medians; at the right: how many times less the engine takes",
        )
    return figure


def _write_ratios(axes: Axes, place: int, rows: pd.DataFrame) -> None:
    texts = [f"{ratio:.3g}×" for ratio in rows.sort_values("workers")["ratio"]]
    axes.annotate(
        " / ".join(texts),
        xy=(1, place),
        xytext=(4, 0),
        xycoords=("axes fraction", "data"),
        textcoords="offset points",
        va="center",
        annotation_clip=False,
    )
