"""Parallel trees: where the samples end in each of them, while they train."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, MaxNLocator

from fastff.analysis.distribution import distribution_per_tree, samples_per_expert
from fastff.analysis.failed import unless_all_failed
from fastff.analysis.lines import draw_band
from fastff.analysis.looks import looks
from fastff.analysis.panels import heading
from fastff.analysis.shares import entropy_over_epochs
from fastff.analysis.style import TWO_COLUMNS, theme, wrap
from fastff.analysis.summary import labels_of, require_one, require_one_shape
from fastff.tables.format import COLUMNS

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
    (look,) = looks(list(labels_of(expert_counts))).values()
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
            below.plot(epochs, entropies[tree], color=look.colour, alpha=0.35, linewidth=0.5)
        below.axhline(most, color="0.25", linewidth=0.7, linestyle=(0, (4, 2)))
        draw_band(below, entropy_over_epochs(expert_counts), "epoch", "entropy", look)
        below.set_ylim(0, 1.08 * most)
        below.set_xlabel("epoch")
        below.set_ylabel(COLUMNS["entropy"].heading)
        below.xaxis.set_major_locator(FixedLocator(epochs[places].tolist()))
        seeds = f"{title}, maps of seed {first['seed'].iloc[0]}"
        figure.suptitle(wrap(heading(expert_counts, seeds), TWO_COLUMNS, heading=True))
        handles = [
            Line2D([], [], label="mean over trees and seeds; band: 95 % over seeds", **look.line),
            Line2D([], [], label="one tree", color=look.colour, alpha=0.35, linewidth=0.5),
            Line2D([], [], label="the most", color="0.25", linewidth=0.7, linestyle=(0, (4, 2))),
        ]
        figure.legend(handles=handles, loc="outside lower center", ncols=3)
    return figure
