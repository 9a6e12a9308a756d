"""The regions that a tree cuts a plane into, exact polygons, and their figure over training."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Polygon
from matplotlib.patheffects import withStroke
from numpy.typing import NDArray

from fastff.analysis.failed import unless_all_failed
from fastff.analysis.labels import label_points
from fastff.analysis.planes import draw_points, finite
from fastff.analysis.style import (
    CENTRE,
    TWO_COLUMNS,
    class_colours,
    evenly,
    theme,
    wrap,
)
from fastff.analysis.summary import require_one_shape
from fastff.config.display import displayed
from fastff.tables.format import show

Points = NDArray[np.float64]  # (n, 2)
SMALLEST = 1e-12  # of the box's area: a smaller polygon is a rounding error
MOST_PANELS, MOST_COLUMNS = 6, 3
INSIDE, SEEN = 0.004, 0.0002  # shares of the panel: larger areas hold a number, or have it beside
MARGIN = 0.04  # of the points' extent, around them
TINT = 0.5  # how much of a leaf's colour its area has; the rest is white


@dataclass(frozen=True)
class Regions:
    """What a tree does to a box of the plane.

    Attributes:
        leaves: by leaf, the convex polygon of the points that reach it, of shape (k, 2). Leaves
            that no point of the box reaches have none.
        lines: by node, the two ends of its decision line inside the region that reaches the node,
            of shape (2, 2). A node whose line misses that region has none.

    """

    leaves: dict[int, Points]
    lines: dict[int, Points]


def tree_regions(nodes: pd.DataFrame, box: tuple[float, float, float, float]) -> Regions:
    """Return the regions of a tree on a plane.

    Node i sends a point to the right, node 2 i + 2, iff `weight_x x + weight_y y + bias > 0`, else
    to the left, node 2 i + 1; leaf l is node n - 1 + l of n - 1 nodes.

    Args:
        nodes: the rows of one run, epoch and tree in the table of nodes.
        box: the part of the plane to cut: smallest and largest x, smallest and largest y.

    Raises:
        ValueError: for nodes that are not a whole tree, or whose inputs are no plane.

    """
    ordered = nodes.sort_values("node")
    n_nodes = len(ordered)
    if ordered["node"].tolist() != list(range(n_nodes)) or (n_nodes + 1) & n_nodes:
        raise ValueError(f"nodes {ordered['node'].tolist()} are no whole tree in heap order")
    plane = ordered[["weight_x", "weight_y", "bias"]].to_numpy(dtype=float)
    if not np.isfinite(plane).all():
        raise ValueError("nodes without weight_x, weight_y and bias: the tree is on no plane")
    left, right, bottom, top = box
    corners = np.array([[left, bottom], [right, bottom], [right, top], [left, top]], dtype=float)
    smallest = SMALLEST * area(corners)

    reached: dict[int, Points] = {0: corners}
    lines: dict[int, Points] = {}
    for node, (weight_x, weight_y, bias) in enumerate(plane):
        region = reached.pop(node, None)
        if region is None:
            continue
        z = region @ np.array([weight_x, weight_y]) + bias
        sides = (_cut(region, z, z <= 0), _cut(region, z, z > 0))
        for child, side in zip((2 * node + 1, 2 * node + 2), sides, strict=True):
            if area(side) > smallest:
                reached[child] = side
        ends = _crossings(region, z)
        if len(ends) == 2:
            lines[node] = ends
    return Regions({node - n_nodes: region for node, region in reached.items()}, lines)


def area(polygon: Points) -> float:
    """Return the area of a polygon, positive where its corners go anticlockwise."""
    if len(polygon) < 3:
        return 0.0
    x, y = polygon.T
    return float(x @ np.roll(y, -1) - y @ np.roll(x, -1)) / 2


def _cut(polygon: Points, z: NDArray[np.float64], keep: NDArray[np.bool_]) -> Points:
    """Return the part of a convex polygon whose corners are kept; z is 0 on the line of the cut."""
    corners: list[Points] = []
    for k in range(len(polygon)):
        following = (k + 1) % len(polygon)
        if keep[k]:
            corners.append(polygon[k])
        if keep[k] != keep[following]:
            corners.append(_zero(polygon, z, k))
    return np.array(corners).reshape(-1, 2)


def _crossings(polygon: Points, z: NDArray[np.float64]) -> Points:
    right = z > 0
    crossed = [k for k in range(len(z)) if right[k] != right[(k + 1) % len(z)]]
    return np.array([_zero(polygon, z, k) for k in crossed]).reshape(-1, 2)


def _zero(polygon: Points, z: NDArray[np.float64], k: int) -> Points:
    """Return where z is 0 on the edge from corner k to the next, whose z has the other sign."""
    following = (k + 1) % len(polygon)
    share = z[k] / (z[k] - z[following])
    point: Points = polygon[k] + share * (polygon[following] - polygon[k])
    return point


@unless_all_failed
def draw_regions(
    nodes: pd.DataFrame, projections: pd.DataFrame, epochs: pd.DataFrame, title: str
) -> Figure:
    """Return the plane over the epochs: areas are leaves, lines decisions, points samples.

    A node's line is drawn only where the plane reaches the node, the thicker the nearer the node
    is to the root, and each area has its leaf's number, beside it where it is small. Points have
    the colour of their class. Of the first variant with a tree on a plane and of one seed, the
    first; at most six epochs, evenly chosen. The classes are in a place of the grid that is left,
    or below it.

    Args:
        nodes: the table of nodes.
        projections: the table of projections, of the same runs.
        epochs: the table of epochs, for the accuracy after each; epoch 0 has none.
        title: what the figure shows; region leak, dataset and seed are added.

    Raises:
        ValueError: without a tree on a plane, for more than one shape of a variant, or where the
            tables have no epoch in common.

    """
    on_plane = nodes.dropna(subset=["weight_x", "weight_y", "bias"])
    if on_plane.empty:
        raise ValueError("no node has weight_x, weight_y and bias: no tree is on a plane")
    require_one_shape(on_plane)
    variant = on_plane["variant"].iloc[0]
    seed = on_plane.loc[on_plane["variant"] == variant, "seed"].min()
    trees, points, scores = (
        table[(table["variant"] == variant) & (table["seed"] == seed)]
        for table in (on_plane[on_plane["tree"] == 0], projections, epochs)
    )
    shared = np.intersect1d(trees["epoch"], points["epoch"])
    if len(shared) == 0:
        raise ValueError(f"nodes and projections of {variant} have no epoch in common")
    shared = evenly(shared, MOST_PANELS)
    accuracies = scores.set_index("epoch")["accuracy_hard"]
    classes = np.sort(points["class"].unique())
    by_class = dict(zip(classes, class_colours(len(classes)), strict=True))
    by_leaf = area_colours(int(points["n_experts"].iloc[0]))

    with theme():
        n_columns = min(MOST_COLUMNS, len(shared) + 1)
        n_rows = -(-len(shared) // n_columns)
        is_full = n_rows * n_columns == len(shared)
        panel = TWO_COLUMNS / MOST_COLUMNS
        size = (panel * n_columns, 0.5 + 0.35 * is_full + (panel + 0.2) * n_rows)
        figure = Figure(figsize=size, layout="constrained")
        grid = figure.subplots(n_rows, n_columns, squeeze=False).ravel()
        for axes in grid[len(shared) :]:
            axes.set_axis_off()
        for axes, epoch in zip(grid, shared, strict=False):
            shown = finite(points[points["epoch"] == epoch])
            if shown.empty:
                axes.annotate("diverged", **CENTRE)
                continue
            _draw_tree(axes, trees[trees["epoch"] == epoch], shown, by_leaf)
            draw_points(axes, shown, shown["class"].map(by_class), size=4)
            said = [f"epoch {epoch:g}", f"{shown['expert'].nunique()} of {len(by_leaf)} leaves"]
            if epoch in accuracies:
                said.append(f"{show('accuracy_hard', accuracies[epoch])} %")
            axes.set_title(", ".join(said))
        leak = trees["region_leak"].iloc[0]
        dataset = displayed(points["dataset"].iloc[0])
        heading = f"{title}, region leak {leak:g} · {dataset} · seed {seed}"
        figure.suptitle(wrap(heading, figure.get_figwidth(), heading=True))
        handles = [
            Line2D([], [], label=str(k), color=colour, marker="o", linestyle="", markersize=4)
            for k, colour in by_class.items()
        ]
        note = ("class of a sample;", "numbers: leaves;", "thickest line: root")
        if is_full:
            figure.legend(
                handles=handles,
                title=" ".join(note),
                loc="outside lower center",
                ncols=len(handles),
            )
        else:
            grid[-1].legend(handles=handles, title="\n".join(note), loc="center", ncols=2)
    return figure


def area_colours(n_leaves: int) -> list[str]:
    """Return a pale colour per leaf: areas that lie side by side are of opposite hues."""
    bits = max(1, (n_leaves - 1).bit_length())
    order = sorted(range(n_leaves), key=lambda leaf: int(f"{leaf:0{bits}b}"[::-1], 2))
    hues = sns.husl_palette(n_leaves, s=0.7, l=0.75).as_hex()
    return [_tint(str(hues[order.index(leaf)])) for leaf in range(n_leaves)]


def _draw_tree(axes: Axes, tree: pd.DataFrame, points: pd.DataFrame, colours: list[str]) -> None:
    """Draw the areas and lines of a tree, over the extent of `points`."""
    low, high = points[["x", "y"]].min().to_numpy(), points[["x", "y"]].max().to_numpy()
    margin = MARGIN * np.maximum(high - low, 1e-9)
    (left, bottom), (right, top) = low - margin, high + margin
    regions = tree_regions(tree, (left, right, bottom, top))
    named: list[tuple[float, float, str, str]] = []
    for leaf, corners in regions.leaves.items():
        axes.add_patch(Polygon(corners, facecolor=colours[leaf], edgecolor="none", zorder=0))
        share = area(corners) / ((right - left) * (top - bottom))
        x, y = corners.mean(axis=0)
        if share > INSIDE:
            number = axes.text(x, y, str(leaf), ha="center", va="center", zorder=4)
            number.set_path_effects([withStroke(linewidth=2, foreground=colours[leaf])])
        if share > SEEN:
            named.append((x, y, "" if share > INSIDE else str(leaf), "0.15"))
    levels = [int(np.log2(node + 1)) for node in regions.lines]
    axes.add_collection(
        LineCollection(
            list(regions.lines.values()),
            linewidths=[max(1.8 - 0.5 * level, 0.5) for level in levels],
            colors="0.15",
            zorder=3,
        )
    )
    axes.set_xlim(left, right)
    axes.set_ylim(bottom, top)
    for x, y, *_ in (area for area in named if area[2]):
        axes.plot(x, y, "o", color="0.15", markersize=2, zorder=5)
    panel = (TWO_COLUMNS / MOST_COLUMNS, TWO_COLUMNS / MOST_COLUMNS)
    label_points(axes, named, panel, gap=0.07, zorder=4)


def _tint(colour: str) -> str:
    red, green, blue = (round(255 * (1 - TINT + TINT * part)) for part in to_rgb(colour))
    return f"#{red:02x}{green:02x}{blue:02x}"
