"""Accuracy over width and depth as heat maps, with the feed-forward layers beside them."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

from fastff.analysis.failed import unless_all_failed
from fastff.analysis.panels import heading
from fastff.analysis.style import TWO_COLUMNS, theme, wrap
from fastff.analysis.summary import labels_of, require_one, summarise
from fastff.tables.format import COLUMNS, DASH

ROW_HEIGHT = 0.3  # inches of a cell
METRIC = "accuracy_hard"
COLOURS = "mako"
BRIGHT = 0.55  # luminance of a cell above which its number is dark


@unless_all_failed
def draw_heat_maps(runs: pd.DataFrame, title: str) -> Figure:
    """Return the accuracy of the hard form: a map per routed variant, and one of all others.

    A routed variant's map has a row per depth and a column per width; that of the feed-forward
    layers a row per variant, and a column per width that all of them have. Numbers are means over
    seeds, in percent, and all maps share one colour scale.

    Args:
        runs: the runs table of an experiment.
        title: what the figure shows; dataset and number of seeds are added.

    Raises:
        ValueError: for more than one region leak.

    """
    require_one(runs, "region_leak")
    maps = accuracy_maps(runs)
    cells = pd.concat([table.stack() for table in maps.values()])
    scale = Normalize(cells.min(), cells.max())
    widths = [table.shape[1] for table in maps.values()]
    n_rows = max(len(table) for table in maps.values())
    with theme():
        size = (TWO_COLUMNS, 1.1 + ROW_HEIGHT * n_rows)
        figure = Figure(figsize=size, layout="constrained")
        row = figure.subplots(1, len(maps), squeeze=False, width_ratios=widths)[0]
        for axes, (name, table) in zip(row, maps.items(), strict=True):
            _draw_map(axes, table, scale)
            axes.set_title(name)
            axes.set_xlabel("hidden units")
            axes.set_ylabel("" if table.index.name == "label" else "depth")
        figure.colorbar(
            ScalarMappable(scale, COLOURS),
            ax=row.tolist(),
            label=COLUMNS[METRIC].heading,
            fraction=0.03,
            pad=0.01,
        )
        figure.suptitle(wrap(heading(runs, title), TWO_COLUMNS, heading=True))
    return figure


def accuracy_maps(runs: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """Return the maps by their titles: mean accuracies in percent, rows by columns."""
    summary = summarise(runs, [METRIC])
    summary["value"] = COLUMNS[METRIC].scale * summary[f"{METRIC}_mean"]
    maps: dict[str, pd.DataFrame] = {}
    flat = []
    for variant, label in labels_of(runs).items():
        rows = summary[summary["variant"] == variant]
        if (rows["depth"] == 0).all():
            flat.append(rows)
        else:
            maps[label] = rows.pivot(index="depth", columns="hidden_features", values="value")
    if flat:
        rows = pd.concat(flat)
        order = rows["label"].unique()
        trained = rows["hidden_features"].value_counts()
        common = rows[rows["hidden_features"].map(trained) == len(order)]
        table = common.pivot(index="label", columns="hidden_features", values="value")
        maps["feed-forward"] = table.loc[order]
    return maps


def _draw_map(axes: Axes, table: pd.DataFrame, scale: Normalize) -> None:
    image = axes.imshow(table, cmap=COLOURS, norm=scale, aspect="auto")
    for row, values in enumerate(table.to_numpy()):
        for column, value in enumerate(values):
            red, green, blue, _ = image.cmap(scale(value))
            bright = np.isnan(value) or 0.3 * red + 0.59 * green + 0.11 * blue > BRIGHT
            colour = "0.1" if bright else "white"
            number = DASH if np.isnan(value) else f"{value:.1f}"
            axes.text(column, row, number, ha="center", va="center", color=colour)
    axes.set_xticks(range(table.shape[1]), [f"{width:g}" for width in table.columns])
    axes.set_yticks(range(len(table)), [str(name) for name in table.index])
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    axes.grid(visible=False)
