"""How samples spread over the experts: per shape by class, and over the experts' width."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.ticker import FixedFormatter, FixedLocator, MaxNLocator, NullLocator
from numpy.typing import NDArray

from fastff.analysis.distribution import distribution, last_epoch, runs_with_distribution
from fastff.analysis.failed import draw_nothing, unless_all_failed
from fastff.analysis.lines import add_legend, draw_lines
from fastff.analysis.looks import looks
from fastff.analysis.panels import heading
from fastff.analysis.style import class_colours, theme, width_of, wrap
from fastff.analysis.summary import labels_of, mean_ci, require_one, summarise
from fastff.tables.format import COLUMNS
from fastff.tables.read import Tidy, failed

BARS_HEIGHT, LINES_HEIGHT = 1.3, 1.75  # inches of a panel
HEADROOM = 1.3  # of the highest bar, for the panel's note
MEASURES = ("entropy", "used_experts")


@unless_all_failed
def draw_distribution(tidy: Tidy, variant: str, title: str) -> Figure:
    """Return the stacked bars of one variant: a row per depth, a column per width.

    In each run the experts are sorted by their number of validation samples, the fullest first;
    then the shares of each place are averaged over seeds, class by class. (An expert has no
    number that means the same in two runs.) The dashed line is the even share.

    Args:
        tidy: the tables of an experiment.
        variant: which one to draw.
        title: what the figure shows; label, dataset and number of seeds are added.

    Raises:
        ValueError: for a variant without runs, or with more than one region leak.

    """
    runs = tidy.runs[tidy.runs["variant"] == variant]
    if runs.empty:
        found = ", ".join(labels_of(tidy.runs))
        raise ValueError(f"no runs of variant {variant!r}; there are runs of {found}")
    require_one(runs, "region_leak")
    if failed(runs).all():
        return draw_nothing(f"{title}: {runs['label'].iloc[0]}")
    counts = last_epoch(tidy.expert_counts[tidy.expert_counts["variant"] == variant])
    entropies = distribution(counts)
    depths = sorted(counts["depth"].unique())
    widths = sorted(counts["hidden_features"].unique())
    classes = sorted(counts["class"].unique())
    colours = class_colours(len(classes))

    with theme():
        size = (width_of(len(widths)), 1.1 + BARS_HEIGHT * len(depths))
        figure = Figure(figsize=size, layout="constrained")
        grid = figure.subplots(len(depths), len(widths), sharex="row", sharey="row", squeeze=False)
        for row, depth in zip(grid, depths, strict=True):
            row[0].set_ylabel(f"depth {depth}")
            highest = 0.0
            for axes, width in zip(row, widths, strict=True):
                shape = (counts["depth"] == depth) & (counts["hidden_features"] == width)
                if not shape.any():
                    axes.set_axis_off()
                    continue
                shares = 100 * ranked_shares(counts[shape])
                highest = max(highest, shares.sum(axis=1).max())
                _draw_bars(axes, shares, colours)
                same = (entropies["depth"] == depth) & (entropies["hidden_features"] == width)
                entropy, _ = mean_ci(entropies.loc[same, "entropy"])
                most = np.log2(len(shares))
                unit = "bit" if most == 1 else "bits"
                axes.set_title(f"{entropy:.2f} of {most:g} {unit}", y=0.82, loc="right")
            row[0].set_ylim(0, HEADROOM * highest)
        for axes in grid[-1]:
            axes.set_xlabel("experts, fullest first")
        for axes, width in zip(grid[0], widths, strict=True):
            axes.annotate(
                f"{width} hidden units",
                xy=(0.5, 1),
                xytext=(0, 6),
                xycoords="axes fraction",
                textcoords="offset points",
                ha="center",
            )
        label = f"{title}: {runs['label'].iloc[0]}"
        figure.suptitle(wrap(heading(runs, label), figure.get_figwidth(), heading=True))
        figure.supylabel("share of validation samples (%)")
        figure.legend(
            handles=[Patch(color=c, label=str(k)) for k, c in zip(classes, colours, strict=True)],
            title=wrap(
                "class (mean over seeds; top right: mean entropy; dashed: even share)",
                figure.get_figwidth(),
            ),
            loc="outside lower center",
            ncols=min(len(classes), int(figure.get_figwidth() / 0.6)),
            handlelength=1.0,
        )
    return figure


def ranked_shares(counts: pd.DataFrame) -> NDArray[np.float64]:
    """Return mean shares, of shape (n_experts, n_classes), for the runs of one shape.

    Row r is the mean over runs (and over the parallel trees of each) of the expert with the r-th
    most samples; all sum to 1.
    """
    keys = ["seed", "tree"]
    table = counts.pivot(index=[*keys, "expert"], columns="class", values="count").fillna(0)
    per_run = []
    for _, run in table.groupby(keys):
        samples = run.to_numpy(dtype=float)
        fullest_first = np.argsort(-samples.sum(axis=1), kind="stable")
        per_run.append(samples[fullest_first] / samples.sum())
    mean: NDArray[np.float64] = np.mean(per_run, axis=0)
    return mean


def _draw_bars(axes: Axes, shares: NDArray[np.float64], colours: list[str]) -> None:
    """Stack the classes of `shares`, (n_experts, n_classes) in percent."""
    n_experts = len(shares)
    places = np.arange(1, n_experts + 1)
    bottom = np.zeros(n_experts)
    for share, colour in zip(shares.T, colours, strict=True):
        axes.bar(places, share, bottom=bottom, color=colour, width=0.86, linewidth=0)
        bottom = bottom + share
    axes.axhline(100 / n_experts, color="0.25", linewidth=0.7, linestyle=(0, (4, 2)))
    middle = [n_experts // 2] if n_experts > 2 else []
    axes.xaxis.set_major_locator(FixedLocator([1, *middle, n_experts]))
    axes.yaxis.set_major_locator(MaxNLocator(3))
    axes.set_xlim(0.3, n_experts + 0.7)


@unless_all_failed
def draw_entropy(tidy: Tidy, title: str) -> Figure:
    """Return the figure of entropy and number of used experts over the experts' width.

    A column per depth, a line per variant: means over seeds, bars their 95 % t-intervals. The
    dashed lines are the most there can be: log2(n_experts) bits, and all experts.

    Args:
        tidy: the tables of an experiment.
        title: what the figure shows; dataset and number of seeds are added.

    Raises:
        ValueError: for more than one region leak.

    """
    require_one(tidy.runs, "region_leak")
    runs = runs_with_distribution(tidy)
    summary = summarise(runs, MEASURES)
    labels = labels_of(runs)
    styles = looks(list(labels))
    depths = sorted(summary["depth"].unique())
    widths = sorted(summary["hidden_features"].unique())
    with theme():
        size = (width_of(len(depths)), 0.9 + LINES_HEIGHT * len(MEASURES))
        figure = Figure(figsize=size, layout="constrained")
        grid = figure.subplots(len(MEASURES), len(depths), sharex=True, squeeze=False)
        for column, depth in zip(grid.T, depths, strict=True):
            panel = summary[summary["depth"] == depth]
            n_experts = panel["n_experts"].iloc[0]
            column[0].set_title(f"depth {depth}, {n_experts} experts")
            most = {"entropy": float(np.log2(n_experts)), "used_experts": float(n_experts)}
            for axes, metric in zip(column, MEASURES, strict=True):
                axes.axhline(most[metric], color="0.25", linewidth=0.7, linestyle=(0, (4, 2)))
                draw_lines(axes, panel, "hidden_features", metric, styles, spread=0.16, log=True)
                axes.set_ylim(0, 1.08 * most[metric])
            step = max(1, n_experts // 4)
            column[1].yaxis.set_major_locator(FixedLocator(range(0, n_experts + 1, step)))
            column[-1].set_xlabel("hidden units")
            column[-1].set_xscale("log", base=2)
            column[-1].xaxis.set_major_locator(FixedLocator(widths))
            column[-1].xaxis.set_major_formatter(FixedFormatter([str(w) for w in widths]))
            column[-1].xaxis.set_minor_locator(NullLocator())
        for axes, measure in zip(grid[:, 0], MEASURES, strict=True):
            axes.set_ylabel(COLUMNS[measure].heading)
        figure.align_ylabels(grid[:, 0])
        figure.suptitle(wrap(heading(runs, title), figure.get_figwidth(), heading=True))
        add_legend(figure, styles, labels, "; dashed: the most there can be")
    return figure
