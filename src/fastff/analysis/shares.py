"""How samples spread over the experts: by shape and class, over training, and in parallel trees."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import FixedFormatter, FixedLocator, MaxNLocator, NullLocator
from numpy.typing import NDArray

from fastff.analysis.distribution import (
    distribution,
    distribution_per_tree,
    last_epoch,
    runs_with_distribution,
    samples_per_expert,
)
from fastff.analysis.failed import draw_nothing, unless_all_failed
from fastff.analysis.lines import add_legend, draw_band, draw_lines, heading, line_styles
from fastff.analysis.style import (
    LIMIT,
    TWO_COLUMNS,
    class_colours,
    evenly,
    leaf_colours,
    theme,
    width_of,
    wrap,
)
from fastff.analysis.summary import (
    labels_of,
    mean_ci,
    require_one,
    require_one_shape,
    summarise,
    summarise_epochs,
)
from fastff.tables.read import Tidy, failed
from fastff.tables.schema import HEAD, PRINTED

BARS_HEIGHT, LINES_HEIGHT = 1.3, 1.75  # inches of a panel
HEADROOM = 1.3  # of the highest bar, for the panel's note
DRAWN_MEASURES = ("entropy", "used_experts")
SHARES_HEIGHT, ENTROPY_HEIGHT = 1.5, 1.1  # inches of a panel
NOTE = (
    "expert (above: one run, the first seed; below: mean over seeds, band 95 %, dashed: the most)"
)
MAP_HEIGHT, TREES_HEIGHT = 2.4, 1.5  # inches
MOST_EPOCHS = 8


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
    axes.axhline(100 / n_experts, **LIMIT)
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
    summary = summarise(runs, DRAWN_MEASURES)
    labels = labels_of(runs)
    styles = line_styles(list(labels))
    depths = sorted(summary["depth"].unique())
    widths = sorted(summary["hidden_features"].unique())
    with theme():
        size = (width_of(len(depths)), 0.9 + LINES_HEIGHT * len(DRAWN_MEASURES))
        figure = Figure(figsize=size, layout="constrained")
        grid = figure.subplots(len(DRAWN_MEASURES), len(depths), sharex=True, squeeze=False)
        for column, depth in zip(grid.T, depths, strict=True):
            panel = summary[summary["depth"] == depth]
            n_experts = panel["n_experts"].iloc[0]
            column[0].set_title(f"depth {depth}, {n_experts} experts")
            most = {"entropy": float(np.log2(n_experts)), "used_experts": float(n_experts)}
            for axes, metric in zip(column, DRAWN_MEASURES, strict=True):
                axes.axhline(most[metric], **LIMIT)
                draw_lines(axes, panel, "hidden_features", metric, styles, spread=0.16, log=True)
                axes.set_ylim(0, 1.08 * most[metric])
            step = max(1, n_experts // 4)
            column[1].yaxis.set_major_locator(FixedLocator(range(0, n_experts + 1, step)))
            column[-1].set_xlabel("hidden units")
            column[-1].set_xscale("log", base=2)
            column[-1].xaxis.set_major_locator(FixedLocator(widths))
            column[-1].xaxis.set_major_formatter(FixedFormatter([str(w) for w in widths]))
            column[-1].xaxis.set_minor_locator(NullLocator())
        for axes, measure in zip(grid[:, 0], DRAWN_MEASURES, strict=True):
            axes.set_ylabel(PRINTED[measure].heading)
        figure.align_ylabels(grid[:, 0])
        figure.suptitle(wrap(heading(runs, title), figure.get_figwidth(), heading=True))
        add_legend(figure, styles, labels, "; dashed: the most there can be")
    return figure


@unless_all_failed
def draw_shares(expert_counts: pd.DataFrame, title: str) -> Figure:
    """Return each expert's share of the validation samples over the epochs, a column per variant.

    Above, the shares in the run of the first seed, stacked (an expert's number means nothing in
    another run). Below, the entropy of the shares: mean over seeds, and its 95 % t-interval. Epoch
    0 is before training. Of parallel trees, the first is drawn above, and the mean below.

    Args:
        expert_counts: the table of expert counts; variants that don't route have no column.
        title: what the figure shows; dataset and number of seeds are added.

    Raises:
        ValueError: for more than one shape of a variant, or where no model routes.

    """
    counts = expert_counts[expert_counts["n_experts"] > 1]
    if counts.empty:
        raise ValueError("expert_counts has no variant with more than one expert")
    require_one_shape(counts)
    samples = samples_per_expert(counts)
    seeds = samples.groupby("variant")["seed"].transform("min")
    first = samples[(samples["seed"] == seeds) & (samples["tree"] == 0)]
    entropies = entropy_over_epochs(counts)
    labels = labels_of(counts)
    styles = line_styles(list(labels))
    colours = leaf_colours(int(counts["n_experts"].max()))
    with theme():
        size = (width_of(len(labels)), 1.5 + SHARES_HEIGHT + ENTROPY_HEIGHT)
        figure = Figure(figsize=size, layout="constrained")
        grid = figure.subplots(
            2,
            len(labels),
            sharex=True,
            sharey="row",
            squeeze=False,
            height_ratios=[SHARES_HEIGHT, ENTROPY_HEIGHT],
        )
        for (above, below), (variant, label) in zip(grid.T, labels.items(), strict=True):
            _stack(above, first[first["variant"] == variant], colours)
            lines = entropies[entropies["variant"] == variant]
            most = float(np.log2(lines["n_experts"].iloc[0]))
            below.axhline(most, **LIMIT)
            draw_band(below, lines, "epoch", "entropy", styles[variant])
            below.set_ylim(0, 1.08 * most)
            above.set_title(wrap(label, width_of(len(labels)) / len(labels)))
            below.set_xlabel("epoch")
            below.xaxis.set_major_locator(MaxNLocator(4, integer=True))
        grid[0, 0].set_ylabel("validation samples (%)")
        grid[1, 0].set_ylabel(PRINTED["entropy"].heading)
        figure.align_ylabels(grid[:, 0])
        figure.suptitle(wrap(heading(counts, title), figure.get_figwidth(), heading=True))
        figure.legend(
            handles=[Patch(color=colour, label=str(k)) for k, colour in enumerate(colours)],
            title=wrap(NOTE, figure.get_figwidth()),
            loc="outside lower center",
            ncols=min(len(colours), int(figure.get_figwidth() / 0.42)),
            handlelength=1.0,
            handletextpad=0.4,
        )
    return figure


def entropy_over_epochs(expert_counts: pd.DataFrame) -> pd.DataFrame:
    """Return the entropy's mean and interval over seeds, a row per variant, shape and epoch.

    A run with parallel trees counts with the mean of its trees' entropies.
    """
    trees = distribution_per_tree(expert_counts)
    per_run = trees.groupby([*HEAD, "epoch"], sort=False, as_index=False)["entropy"].mean()
    return summarise_epochs(per_run, ["entropy"])


def _stack(axes: Axes, samples: pd.DataFrame, colours: list[str]) -> None:
    """Stack the experts' shares, the first at the bottom: a bar per counted epoch."""
    shares = 100 * samples.pivot(index="epoch", columns="expert", values="share").fillna(0)
    epochs = shares.index.to_numpy()
    gaps = np.diff(epochs, append=epochs[-1] + 1)
    width = 0.9 * gaps[:-1].min() if len(epochs) > 1 else 0.9
    bottom = np.zeros(len(epochs))
    for expert in shares.columns:
        axes.bar(
            epochs,
            shares[expert],
            width=width,
            bottom=bottom,
            color=colours[int(expert)],
            linewidth=0,
        )
        bottom = bottom + shares[expert].to_numpy()
    axes.set_ylim(0, 100)
    axes.yaxis.set_major_locator(FixedLocator([0, 50, 100]))
    axes.grid(visible=False)


@unless_all_failed
def draw_trees(expert_counts: pd.DataFrame, title: str) -> Figure:
    """Return how parallel trees spread the validation samples: a map per epoch, and entropies.

    A map has a row per tree, a column per leaf and a cell for the share of the samples that end
    there: of the first seed, trees ordered by the entropy of their shares in the last epoch. Below
    is the entropy over the epochs: a thin line per tree of that seed, and the mean over trees and
    seeds with the 95 % t-interval over seeds. At most eight epochs have a map.

    Args:
        expert_counts: the table of expert counts.
        title: what the figure shows; dataset and number of seeds are added.

    Raises:
        ValueError: for more than one variant or shape.

    """
    require_one(expert_counts, "variant")
    require_one_shape(expert_counts)
    (style,) = line_styles(list(labels_of(expert_counts))).values()
    first = expert_counts[expert_counts["seed"] == expert_counts["seed"].min()]
    samples, trees = samples_per_expert(first), distribution_per_tree(first)
    entropies = trees.pivot(index="epoch", columns="tree", values="entropy")
    order = entropies.iloc[-1].sort_values(kind="stable").index
    epochs = entropies.index.to_numpy()
    drawn = evenly(epochs, MOST_EPOCHS)
    most = float(np.log2(expert_counts["n_experts"].iloc[0]))
    with theme():
        size = (TWO_COLUMNS, 1.5 + MAP_HEIGHT + TREES_HEIGHT)
        figure = Figure(figsize=size, layout="constrained")
        cells = figure.add_gridspec(2, len(drawn), height_ratios=[MAP_HEIGHT, TREES_HEIGHT])
        maps = [figure.add_subplot(cells[0, place]) for place in range(len(drawn))]
        for axes, epoch in zip(maps, drawn, strict=True):
            shares = samples[samples["epoch"] == epoch]
            table = shares.pivot(index="tree", columns="expert", values="share").loc[order]
            image = axes.imshow(100 * table, cmap="rocket_r", vmin=0, vmax=100, aspect="auto")
            axes.set_title(f"epoch {epoch:g}")
            axes.set_xticks(range(table.shape[1]), [f"{leaf:g}" for leaf in table.columns])
            axes.xaxis.set_major_locator(MaxNLocator(4, integer=True))
            axes.set_xlabel("leaf")
            axes.set_yticks([])
            axes.grid(visible=False)
        maps[0].set_ylabel(f"{len(order)} trees, the least even first")
        figure.colorbar(image, ax=maps, label="validation samples (%)", fraction=0.03, pad=0.02)

        below = figure.add_subplot(cells[1, :])
        for tree in entropies.columns:
            below.plot(epochs, entropies[tree], color=style.colour, alpha=0.35, linewidth=0.5)
        below.axhline(most, **LIMIT)
        draw_band(below, entropy_over_epochs(expert_counts), "epoch", "entropy", style)
        below.set_ylim(0, 1.08 * most)
        below.set_xlabel("epoch")
        below.set_ylabel(PRINTED["entropy"].heading)
        below.xaxis.set_major_locator(FixedLocator(drawn.tolist()))
        seeds = f"{title}, maps of seed {first['seed'].iloc[0]}"
        figure.suptitle(wrap(heading(expert_counts, seeds), TWO_COLUMNS, heading=True))
        handles = [
            Line2D([], [], label="mean over trees and seeds; band: 95 % over seeds", **style.line),
            Line2D([], [], label="one tree", color=style.colour, alpha=0.35, linewidth=0.5),
            Line2D([], [], label="the most", **LIMIT),
        ]
        figure.legend(handles=handles, loc="outside lower center", ncols=3)
    return figure
