"""The regions that a tree cuts a plane into: exact polygons, one per leaf."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

Points = NDArray[np.float64]  # (n, 2)
SMALLEST = 1e-12  # of the box's area: a smaller polygon is a rounding error


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
