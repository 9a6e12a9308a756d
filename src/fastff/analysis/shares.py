"""How samples spread over the experts: by shape and class, over training, and in parallel trees."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import FixedFormatter, FixedLocator, MaxNLocator, NullLocator
from numpy.typing import NDArray
from scipy import special

from fastff.analysis.distribution import (
    distribution,
    distribution_per_tree,
    last_epoch,
    runs_with_distribution,
    samples_per_expert,
)
from fastff.analysis.failed import NOTHING, draw_note, unless_all_failed
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
    require_runs,
    summarise,
    summarise_epochs,
)
from fastff.tables.read import Tidy, failed
from fastff.tables.schema import HEAD, PRINTED, RUN

DISTRIBUTION_HEIGHTS = (1.2, 0.9, 0.9)  # inches of a panel
DISTRIBUTION_NAMES = ("samples (%),\none run", "samples (%)", "classes of an\nexpert (bits)")
LINES_HEIGHT = 1.75  # inches of a panel
DRAWN_MEASURES = ("entropy", "used_experts")
SHARES_HEIGHT, ENTROPY_HEIGHT = 1.5, 1.1  # inches of a panel
NOTE = "expert (above: one run, the first seed; below: mean over seeds, band 95 %, dashed: maximum)"
MAP_HEIGHT, TREES_HEIGHT = 2.4, 1.5  # inches
MOST_EPOCHS = 8


@unless_all_failed
def draw_distribution(tidy: Tidy, title: str, *, variants: Iterable[str] = ()) -> Figure:
    """Return how the samples spread over the experts: a column per variant and width.

    Of the largest depth. Above, the samples of each expert in one run, that of the first seed,
    stacked by class as the study drew them. Experts have no number that means the same in two
    runs, so below they are sorted in each run, the fullest first: their shares of the samples, and
    how mixed the classes of each are, as means over seeds with their 95 % t-intervals.

    Args:
        tidy: the tables of an experiment.
        title: what the figure shows; depth, dataset and number of seeds are added.
        variants: which ones to draw, by default all that route.

    Raises:
        ValueError: for a variant without runs, or with more than one region leak.

    """
    labels = labels_of(tidy.runs)
    require_runs(tidy.runs, variants)
    runs = tidy.runs[tidy.runs["variant"].isin(list(variants) or list(labels))]
    require_one(runs, "region_leak")
    title = f"{title}, depth {runs['depth'].max()}"
    if failed(runs).all():
        return draw_note(NOTHING, title)
    runs = runs[runs["depth"] == runs["depth"].max()]
    shape = ["variant", "hidden_features"]
    counts = last_epoch(tidy.expert_counts).merge(runs[[*RUN]], on=list(RUN))
    # the study drew the widest experts first
    groups = dict(sorted(counts.groupby(shape, sort=False), key=lambda item: -item[0][1]))
    classes = sorted(counts["class"].unique())
    colours = class_colours(len(classes))
    styles = line_styles(list(labels_of(runs)))
    with theme():
        n_rows = len(DISTRIBUTION_HEIGHTS)
        figure = Figure(
            figsize=(TWO_COLUMNS, 1.3 + sum(DISTRIBUTION_HEIGHTS)),
            layout="constrained",
        )
        grid = figure.subplots(
            n_rows, len(groups), sharey="row", sharex="col", squeeze=False,
            height_ratios=DISTRIBUTION_HEIGHTS,
        )  # fmt: skip
        for column, ((variant, width), rows) in zip(grid.T, groups.items(), strict=True):
            shares = sorted_shares(rows)
            _draw_bars(
                column[0],
                sorted_shares(rows[rows["seed"] == rows["seed"].min()], by_load=False),
                colours,
            )
            _draw_ranks(column[1], 100 * shares.sum(axis=2), styles[variant].colour)
            _draw_ranks(column[2], class_entropy(shares), styles[variant].colour)
            column[1].axhline(100 / shares.shape[1], **LIMIT)
            column[2].axhline(np.log2(len(classes)), **LIMIT)
            entropy, _ = mean_ci(distribution(rows)["entropy"])
            most = np.log2(shares.shape[1])
            names = [labels[variant]] * (len(set(counts["variant"])) > 1)
            names += [f"{width} hidden units"] * (len(set(counts["hidden_features"])) > 1)
            name = wrap(", ".join(names) or labels[variant], figure.get_figwidth() / len(groups))
            spread = f"{entropy:.2f} of {most:g} {'bit' if most == 1 else 'bits'}"
            column[0].set_title(f"{name}\n{spread}")
            column[0].set_xlabel("experts, by number")
            column[-1].set_xlabel("experts, fullest first")
        for axes, name in zip(grid[:, 0], DISTRIBUTION_NAMES, strict=True):
            axes.set_ylabel(name)
            axes.set_ylim(bottom=0)
            axes.yaxis.set_major_locator(MaxNLocator(3))
        grid[-1, 0].set_ylim(0, 1.08 * np.log2(len(classes)))
        figure.align_ylabels(grid[:, 0])
        figure.suptitle(wrap(heading(runs, title), figure.get_figwidth(), heading=True))
        figure.legend(
            handles=[Patch(color=c, label=str(k)) for k, c in zip(classes, colours, strict=True)],
            title="class; lines: mean over seeds, 95 % t-interval; dashed: even share, maximum",
            loc="outside lower center",
            ncols=min(len(classes), int(figure.get_figwidth() / 0.6)),
            handlelength=1.0,
        )
    return figure


def sorted_shares(counts: pd.DataFrame, *, by_load: bool = True) -> NDArray[np.float64]:
    """Return the shares of samples, of shape (n_runs, n_experts, n_classes), of one shape.

    The experts of each run (and of each of its parallel trees) are sorted by their number of
    samples, the fullest first, or in the order of their numbers. Those of a run sum to 1.
    """
    keys = ["seed", "tree"]
    table = counts.pivot(index=[*keys, "expert"], columns="class", values="count").fillna(0)
    runs = []
    for _, run in table.groupby(keys):
        samples = run.to_numpy(dtype=float)
        order = np.argsort(-samples.sum(axis=1), kind="stable") if by_load else slice(None)
        runs.append(samples[order] / samples.sum())
    return np.array(runs)


def class_entropy(shares: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the entropy of the classes of each expert in bits; NaN for one without samples."""
    of_expert = shares.sum(axis=-1, keepdims=True)
    p = np.divide(shares, of_expert, out=np.full_like(shares, np.nan), where=of_expert > 0)
    entropy: NDArray[np.float64] = special.entr(p).sum(axis=-1) / np.log(2)
    return entropy


def _draw_bars(axes: Axes, shares: NDArray[np.float64], colours: list[str]) -> None:
    """Stack the classes of the first run of `shares`, (n_runs, n_experts, n_classes)."""
    n_experts = shares.shape[1]
    places = np.arange(1, n_experts + 1)
    bottom = np.zeros(n_experts)
    for share, colour in zip(100 * shares[0].T, colours, strict=True):
        axes.bar(places, share, bottom=bottom, color=colour, width=0.86, linewidth=0)
        bottom = bottom + share
    middle = [n_experts // 2] if n_experts > 2 else []
    axes.xaxis.set_major_locator(FixedLocator([1, *middle, n_experts]))
    axes.set_xlim(0.3, n_experts + 0.7)


def _draw_ranks(axes: Axes, values: NDArray[np.float64], colour: str) -> None:
    """Draw the mean and interval of `values`, (n_runs, n_experts).

    Over those that are finite; a rank at which half of them are not has no mean.
    """
    known = [column[np.isfinite(column)] for column in values.T]
    enough = [2 * len(column) > len(values) for column in known]
    intervals = [
        mean_ci(column) if shown else (np.nan, np.nan)
        for column, shown in zip(known, enough, strict=True)
    ]
    means, half_widths = np.transpose(intervals)
    axes.errorbar(
        range(1, len(means) + 1), means, half_widths, color=colour, elinewidth=0.7, marker="."
    )


@unless_all_failed
def draw_entropy(tidy: Tidy, title: str) -> Figure:
    """Return the figure of entropy and number of used experts over the experts' width.

    A column per depth, a line per variant: means over seeds, bars their 95 % t-intervals. The
    dashed lines are the maxima: log2(n_experts) bits, and all experts.

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
        add_legend(figure, styles, labels, "; dashed: maximum (log₂ of experts, all)")
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
        grid[0, 0].set_ylabel("samples (%)")
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
        figure.colorbar(image, ax=maps, label="samples (%)", fraction=0.03, pad=0.02)

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
            Line2D([], [], label="maximum", **LIMIT),
        ]
        figure.legend(handles=handles, loc="outside lower center", ncols=3)
    return figure
