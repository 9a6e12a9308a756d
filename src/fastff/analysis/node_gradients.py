"""The gradients of node trees, level by level."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from numpy.typing import NDArray

from fastff.analysis.curves import PARTS
from fastff.analysis.looks import Look, looks
from fastff.analysis.panels import heading
from fastff.analysis.style import TWO_COLUMNS, theme, wrap
from fastff.analysis.summary import labels_of, require_one, require_one_shape

HEIGHT = 1.9  # inches of a panel
DASHES: tuple[tuple[float, ...], ...] = ((), (4, 1), (1, 1), (4, 1, 1, 1))  # by level
BAND = (0.1, 0.9)  # quantiles over trees
NOTE = "mean over nodes of a level, trees and seeds; band: the middle 80 % of trees"


def draw_node_gradients(gradients: pd.DataFrame, expert_counts: pd.DataFrame, title: str) -> Figure:
    """Return the gradients of node trees over the steps: a panel per part, a line per level.

    A line is the mean over the nodes of a level, trees and seeds of the smoothed mean absolute
    gradient; its band has the middle 80 % of the trees of all seeds.

    Args:
        gradients: the table of gradients, of node trees.
        expert_counts: the table of expert counts, which says how many trees there are.
        title: what the figure shows; dataset and number of seeds are added.

    Raises:
        ValueError: for more than one variant or shape, or without gradients of nodes.

    """
    nodes = gradients[gradients["part"].isin(["node_in", "node_out"])]
    if nodes.empty:
        raise ValueError("gradients has neither part 'node_in' nor part 'node_out'")
    require_one(nodes, "variant")
    require_one_shape(nodes)
    (look,) = looks(list(labels_of(nodes))).values()
    per_tree = by_level(nodes, expert_counts["tree"].nunique())
    levels = sorted(per_tree["level"].unique())
    with theme():
        figure = Figure(figsize=(TWO_COLUMNS, 1.2 + HEIGHT), layout="constrained")
        panels = figure.subplots(1, 2)
        for axes, part in zip(panels, ("node_in", "node_out"), strict=True):
            for level in levels:
                rows = per_tree[(per_tree["part"] == part) & (per_tree["level"] == level)]
                by_step = rows.groupby("step")["magnitude"]
                low, high = (by_step.quantile(share) for share in BAND)
                mean = by_step.mean()
                axes.plot(mean.index, mean.where(mean > 0), **_style(look, level))
                shade = {"color": look.colour, "alpha": 0.12, "linewidth": 0}
                axes.fill_between(mean.index, low.where(low > 0), high.where(high > 0), **shade)
            axes.set_yscale("log")
            axes.set_title(PARTS[part])
            axes.set_xlabel("step")
            axes.minorticks_off()
        panels[0].set_ylabel("mean absolute gradient")
        figure.suptitle(wrap(heading(nodes, title), TWO_COLUMNS, heading=True))
        names = [f"level {level}" if level else "root" for level in levels]
        lines = zip(names, levels, strict=True)
        figure.legend(
            handles=[Line2D([], [], label=name, **_style(look, level)) for name, level in lines],
            title=NOTE,
            loc="outside lower center",
            ncols=len(levels),
        )
    return figure


def by_level(nodes: pd.DataFrame, n_trees: int) -> pd.DataFrame:
    """Return gradients as means over the nodes of a level: a row per seed, tree, level and step.

    Raises:
        ValueError: where the units are not `n_trees` whole trees.

    """
    n_units = int(nodes["unit"].max()) + 1
    n_nodes, rest = divmod(n_units, n_trees)
    if rest or (n_nodes + 1) & n_nodes:
        raise ValueError(f"{n_units} units are not {n_trees} whole trees")
    level: NDArray[np.int64] = np.log2(nodes["unit"] % n_nodes + 1).astype(int)
    placed = nodes.assign(tree=nodes["unit"] // n_nodes, level=level)
    keys = ["seed", "part", "tree", "level", "step"]
    return placed.groupby(keys, as_index=False)["magnitude"].mean()


def _style(look: Look, level: int) -> dict[str, Any]:
    """Return the keywords of a level's line: the root's is the darkest."""
    dashes = DASHES[level % len(DASHES)]
    line = (0, dashes) if dashes else "-"
    return {"color": look.colour, "alpha": max(1 - 0.25 * level, 0.3), "linestyle": line}
