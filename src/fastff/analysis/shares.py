"""How the samples move between the experts while a model trains."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.ticker import FixedLocator, MaxNLocator

from fastff.analysis.distribution import distribution_per_tree, samples_per_expert
from fastff.analysis.failed import unless_all_failed
from fastff.analysis.lines import draw_band
from fastff.analysis.looks import looks
from fastff.analysis.panels import heading
from fastff.analysis.style import leaf_colours, theme, width_of, wrap
from fastff.analysis.summary import labels_of, require_one_shape, summarise
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
    styles = looks(list(labels))
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
