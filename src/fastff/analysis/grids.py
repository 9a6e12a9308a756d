"""Scores over the points of a grid: over depth, width and depth, or region leak."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, MaxNLocator

from fastff.analysis.distribution import runs_with_distribution
from fastff.analysis.failed import draw_note, unless_all_failed
from fastff.analysis.lines import (
    LineStyle,
    add_legend,
    draw_band,
    draw_lines,
    heading,
    line_styles,
)
from fastff.analysis.style import LIMIT, TWO_COLUMNS, ZERO, theme, width_of, wrap
from fastff.analysis.summary import (
    ACCURACIES,
    labels_of,
    require_one,
    seed_differences,
    summarise,
)
from fastff.tables.format import DASH
from fastff.tables.read import Tidy
from fastff.tables.schema import PRINTED

PANEL_HEIGHT = 1.75  # inches
CHANGE_HEIGHT = 1.4
CELL_HEIGHT = 0.3  # inches of a cell
MAP_METRIC = "accuracy_hard"
MAP_COLOURS = "mako"
BRIGHT = 0.55  # luminance of a cell above which its number is dark
# By panel's title: the metrics of the hard and of the soft form.
LEAK_ACCURACIES = {
    "test samples": ("accuracy_hard", "accuracy_soft"),
    "training samples": ("train_accuracy_hard", "train_accuracy_soft"),
}


@unless_all_failed
def draw_changes(
    runs: pd.DataFrame, comparisons: Sequence[Mapping[str, str]], title: str
) -> Figure:
    """Return what each treatment changes in accuracy: hard above, soft below, a column per width.

    A point is a depth: the mean over seeds of the difference between treatment and baseline of the
    same seed, with its 95 % t-interval, in percentage points. All panels have one axis.

    Args:
        runs: the runs table of an experiment.
        comparisons: mappings with the keys `treatment` and `baseline`, both names of variants.
        title: what the figure shows; dataset and number of seeds are added.

    Raises:
        ValueError: for more than one region leak, or a variant without runs.

    """
    require_one(runs, "region_leak")
    if not comparisons:
        return draw_note("The config names no comparisons.", title)
    differences = seed_differences(runs, comparisons, ACCURACIES)
    changes = summarise(differences, ACCURACIES)
    styles: dict[str, LineStyle] = {}
    for pair in changes["variant"].unique():
        # two pairs of one treatment have the colours of what it is compared with
        looks = line_styles(pair.split("/")).values()
        styles[pair] = next(look for look in looks if look not in styles.values())
    widths = sorted(changes["hidden_features"].unique())
    with theme():
        size = (TWO_COLUMNS, 1.2 + CHANGE_HEIGHT * len(ACCURACIES))
        figure = Figure(figsize=size, layout="constrained")
        grid = figure.subplots(
            len(ACCURACIES), len(widths), sharex=True, sharey=True, squeeze=False
        )
        for row, metric in zip(grid, ACCURACIES, strict=True):
            row[0].set_ylabel(f"{PRINTED[metric].words},\ndifference (points)")
            for axes, width in zip(row, widths, strict=True):
                axes.axhline(0, **ZERO)
                panel = changes[changes["hidden_features"] == width]
                draw_lines(axes, panel, "depth", metric, styles)
        for axes, width in zip(grid[0], widths, strict=True):
            axes.set_title(f"{width} hidden units")
        for axes in grid[-1]:
            axes.set_xlabel("depth")
            axes.xaxis.set_major_locator(FixedLocator(sorted(changes["depth"].unique())))
        figure.suptitle(wrap(heading(runs, title), TWO_COLUMNS, heading=True))
        add_legend(figure, styles, labels_of(changes))
    return figure


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
        size = (TWO_COLUMNS, 1.1 + CELL_HEIGHT * n_rows)
        figure = Figure(figsize=size, layout="constrained")
        row = figure.subplots(1, len(maps), squeeze=False, width_ratios=widths)[0]
        for axes, (name, table) in zip(row, maps.items(), strict=True):
            _draw_map(axes, table, scale)
            axes.set_title(name)
            axes.set_xlabel("hidden units")
            axes.set_ylabel("" if table.index.name == "label" else "depth")
        figure.colorbar(
            ScalarMappable(scale, MAP_COLOURS),
            ax=row.tolist(),
            label=PRINTED[MAP_METRIC].heading,
            fraction=0.03,
            pad=0.01,
        )
        figure.suptitle(wrap(heading(runs, title), TWO_COLUMNS, heading=True))
    return figure


def accuracy_maps(runs: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """Return the maps by their titles: mean accuracies in percent, rows by columns."""
    summary = summarise(runs, [MAP_METRIC])
    summary["value"] = PRINTED[MAP_METRIC].scale * summary[f"{MAP_METRIC}_mean"]
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
    image = axes.imshow(table, cmap=MAP_COLOURS, norm=scale, aspect="auto")
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


@unless_all_failed
def draw_leak(tidy: Tidy, title: str) -> Figure:
    """Return accuracy on test and training samples, and entropy of the leaves, over the leak.

    The accuracy is that of the hard and of the soft form. Lines are means over seeds, bands their
    95 % t-intervals. The dashed line is the maximum of the entropy.

    Args:
        tidy: the tables of an experiment.
        title: what the figure shows; dataset and number of seeds are added.

    Raises:
        ValueError: for more than one depth or width.

    """
    runs = runs_with_distribution(tidy)
    for column in ("depth", "hidden_features"):
        require_one(runs, column)
    labels = labels_of(runs)
    hard = line_styles(list(labels))
    soft = {name: replace(style, dashes=(2.0, 1.0), filled=False) for name, style in hard.items()}
    metrics = [metric for pair in LEAK_ACCURACIES.values() for metric in pair]
    summary = summarise(runs, [*metrics, "entropy"]).sort_values("region_leak", kind="stable")
    most = float(np.log2(runs["n_experts"].max()))
    with theme():
        figure = Figure(figsize=(width_of(3), 1.2 + PANEL_HEIGHT), layout="constrained")
        panels = figure.subplots(1, 3)
        panels[0].sharey(panels[1])
        for variant in labels:
            lines = summary[summary["variant"] == variant]
            for axes, pair in zip(panels, LEAK_ACCURACIES.values(), strict=False):
                for metric, style in zip(pair, (hard[variant], soft[variant]), strict=True):
                    draw_band(axes, lines, "region_leak", metric, style)
            draw_band(panels[2], lines, "region_leak", "entropy", hard[variant])
        for axes, name in zip(panels, (*LEAK_ACCURACIES, "leaves, hard form"), strict=True):
            axes.set_title(name)
            axes.set_xlabel("region leak")
            axes.xaxis.set_major_locator(MaxNLocator(6))
        panels[0].set_ylabel("accuracy (%)")
        panels[1].tick_params(labelleft=False)
        panels[2].set_ylabel(PRINTED["entropy"].heading)
        panels[2].axhline(most, **LIMIT)
        panels[2].set_ylim(0, 1.08 * most)
        figure.suptitle(wrap(heading(runs, title), figure.get_figwidth(), heading=True))
        forms, names = {}, {}
        for variant, label in labels.items():
            for form, styles in (("hard", hard), ("soft", soft)):
                forms[f"{variant}, {form}"] = styles[variant]
                names[f"{variant}, {form}"] = f"{label}, {form} form"
        add_legend(figure, forms, names, "; dashed: maximum (log₂ of leaves)", interval="bands")
    return figure
