"""How the samples move between the experts, and within parallel trees, while a model trains."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import FixedLocator, MaxNLocator

from fastff.analysis.distribution import distribution_per_tree, samples_per_expert
from fastff.analysis.failed import unless_all_failed
from fastff.analysis.lines import draw_band, heading, line_styles
from fastff.analysis.style import TWO_COLUMNS, leaf_colours, theme, width_of, wrap
from fastff.analysis.summary import labels_of, require_one, require_one_shape, summarise
from fastff.tables.format import COLUMNS

SHARES_HEIGHT, ENTROPY_HEIGHT = 1.5, 1.1  # inches of a panel
NOTE = (
    "expert (above: one run, the first seed; below: mean over seeds, band 95 %, dashed: the most)"
)


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
            below.axhline(most, color="0.25", linewidth=0.7, linestyle=(0, (4, 2)))
            draw_band(below, lines, "epoch", "entropy", styles[variant])
            below.set_ylim(0, 1.08 * most)
            above.set_title(wrap(label, width_of(len(labels)) / len(labels)))
            below.set_xlabel("epoch")
            below.xaxis.set_major_locator(MaxNLocator(4, integer=True))
        grid[0, 0].set_ylabel("validation samples (%)")
        grid[1, 0].set_ylabel(COLUMNS["entropy"].heading)
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
    keys = [key for key in expert_counts.columns if key not in ("expert", "class", "count", "tree")]
    trees = distribution_per_tree(expert_counts)
    per_run = trees.groupby(keys, sort=False, as_index=False)["entropy"].mean()
    epochs = [
        summarise(rows, ["entropy"]).assign(epoch=epoch) for epoch, rows in per_run.groupby("epoch")
    ]
    return pd.concat(epochs, ignore_index=True)


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


MAP_HEIGHT, LINES_HEIGHT = 2.4, 1.5  # inches
MOST_EPOCHS = 8


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
    places = np.linspace(0, len(epochs) - 1, min(len(epochs), MOST_EPOCHS)).round().astype(int)
    most = float(np.log2(expert_counts["n_experts"].iloc[0]))
    with theme():
        size = (TWO_COLUMNS, 1.5 + MAP_HEIGHT + LINES_HEIGHT)
        figure = Figure(figsize=size, layout="constrained")
        cells = figure.add_gridspec(2, len(places), height_ratios=[MAP_HEIGHT, LINES_HEIGHT])
        maps = [figure.add_subplot(cells[0, place]) for place in range(len(places))]
        for axes, epoch in zip(maps, epochs[places], strict=True):
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
        below.axhline(most, color="0.25", linewidth=0.7, linestyle=(0, (4, 2)))
        draw_band(below, entropy_over_epochs(expert_counts), "epoch", "entropy", style)
        below.set_ylim(0, 1.08 * most)
        below.set_xlabel("epoch")
        below.set_ylabel(COLUMNS["entropy"].heading)
        below.xaxis.set_major_locator(FixedLocator(epochs[places].tolist()))
        seeds = f"{title}, maps of seed {first['seed'].iloc[0]}"
        figure.suptitle(wrap(heading(expert_counts, seeds), TWO_COLUMNS, heading=True))
        handles = [
            Line2D([], [], label="mean over trees and seeds; band: 95 % over seeds", **style.line),
            Line2D([], [], label="one tree", color=style.colour, alpha=0.35, linewidth=0.5),
            Line2D([], [], label="the most", color="0.25", linewidth=0.7, linestyle=(0, (4, 2))),
        ]
        figure.legend(handles=handles, loc="outside lower center", ncols=3)
    return figure
