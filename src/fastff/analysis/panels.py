"""Losses and accuracy over the depth, one column of panels per width of the experts."""

from __future__ import annotations

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator

from fastff.analysis.failed import say_failed, unless_all_failed
from fastff.analysis.lines import add_legend, draw_lines
from fastff.analysis.looks import looks
from fastff.analysis.style import theme, width_of, wrap
from fastff.analysis.summary import labels_of, require_one, summarise
from fastff.tables.format import COLUMNS
from fastff.tables.schema import SHAPE

PANEL_HEIGHT = 1.75  # inches
METRICS = ("train_loss", "validation_loss", "accuracy_hard")


def heading(runs: pd.DataFrame, title: str) -> str:
    """Return a figure's title: what is shown, on which data, over how many seeds.

    And how many runs have failed, where any has.
    """
    counts = runs.groupby(["variant", *SHAPE])["seed"].nunique()
    least, most = counts.min(), counts.max()
    n_seeds = str(most) if least == most else f"{least}–{most}"
    datasets = ", ".join(dict.fromkeys(runs["dataset"]))
    seeds = f"{n_seeds} {'seed' if most == 1 else 'seeds'}"
    return " · ".join(filter(None, (title, datasets, seeds, say_failed(runs))))


@unless_all_failed
def draw_panels(runs: pd.DataFrame, title: str) -> Figure:
    """Return the figure: rows train loss, validation loss, accuracy; a column per width.

    Points are means over seeds, bars their 95 % t-intervals. The accuracy is that of the hard
    (inference) form, the losses are those of the soft form.

    Args:
        runs: the runs table of an experiment.
        title: what the figure shows; dataset and number of seeds are added.

    Raises:
        ValueError: for more than one region leak.

    """
    require_one(runs, "region_leak")
    summary = summarise(runs, METRICS)
    styles = looks(list(labels_of(runs)))
    widths = sorted(summary["hidden_features"].unique())
    depths = sorted(summary["depth"].unique())
    with theme():
        figure = Figure(
            figsize=(width_of(len(widths)), 0.9 + PANEL_HEIGHT * len(METRICS)),
            layout="constrained",
        )
        grid = figure.subplots(len(METRICS), len(widths), sharex=True, sharey="row", squeeze=False)
        for row, metric in zip(grid, METRICS, strict=True):
            row[0].set_ylabel(COLUMNS[metric].heading)
            for axes, width in zip(row, widths, strict=True):
                panel = summary[summary["hidden_features"] == width]
                draw_lines(axes, panel, "depth", metric, styles)
        for axes, width in zip(grid[0], widths, strict=True):
            axes.set_title(f"{width} hidden units")
        for axes in grid[-1]:
            axes.set_xlabel("depth")
            axes.xaxis.set_major_locator(FixedLocator(depths))
        figure.align_ylabels(grid[:, 0])
        figure.suptitle(wrap(heading(runs, title), figure.get_figwidth(), heading=True))
        add_legend(figure, styles, labels_of(runs))
    return figure
