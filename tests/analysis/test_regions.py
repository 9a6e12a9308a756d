"""Leaf regions against a walk down the tree, point by point, and the figure that shows them."""

import numpy as np
import pandas as pd
import pytest
from boxes import faults
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.colors import to_hex
from synthetic import LABELS

from fastff.analysis import describe_regions, draw_regions, load_table, tree_regions
from fastff.analysis.regions import area, area_colours
from fastff.analysis.style import class_colours

BOX = (-2.0, 3.0, -1.0, 1.5)


def nodes_of(plane: np.ndarray) -> pd.DataFrame:
    """Return a table of nodes from rows of weight_x, weight_y and bias."""
    table = pd.DataFrame(plane, columns=["weight_x", "weight_y", "bias"])
    return table.assign(node=range(len(table)))


def walk(plane: np.ndarray, point: np.ndarray) -> tuple[int, list[int]]:
    """Return the leaf that a point reaches, and the nodes it passes."""
    node, path = 0, []
    while node < len(plane):
        path.append(node)
        z = plane[node, 0] * point[0] + plane[node, 1] * point[1] + plane[node, 2]
        node = 2 * node + 1 if z <= 0 else 2 * node + 2
    return node - len(plane), path


def inside(polygon: np.ndarray, point: np.ndarray) -> bool:
    """Return whether a point is left of all edges of an anticlockwise convex polygon."""
    edges = np.roll(polygon, -1, axis=0) - polygon
    to_point = point - polygon
    return bool((edges[:, 0] * to_point[:, 1] - edges[:, 1] * to_point[:, 0] > -1e-9).all())


planes = st.integers(1, 4).flatmap(
    lambda depth: st.lists(
        st.tuples(st.floats(-2, 2), st.floats(-2, 2), st.floats(-2, 2)),
        min_size=2**depth - 1,
        max_size=2**depth - 1,
    )
)


@given(planes, st.integers(0, 1000))
def test_a_point_is_in_the_region_of_the_leaf_that_it_reaches(plane, seed):
    plane = np.array(plane)
    regions = tree_regions(nodes_of(plane), BOX)
    assert sum(map(area, regions.leaves.values())) == pytest.approx(5 * 2.5)
    points = np.random.default_rng(seed).uniform((BOX[0], BOX[2]), (BOX[1], BOX[3]), (50, 2))
    for point in points:
        leaf, _ = walk(plane, point)
        if leaf not in regions.leaves:  # thinner than what counts as an area
            continue
        assert inside(regions.leaves[leaf], point)
        others = [k for k, polygon in regions.leaves.items() if inside(polygon, point)]
        assert leaf in others


@given(st.integers(0, 10_000))
def test_a_line_is_a_nodes_decision_where_points_reach_it(seed):
    random = np.random.default_rng(seed)
    plane = random.standard_normal((15, 3))
    regions = tree_regions(nodes_of(plane), BOX)
    for node, ends in regions.lines.items():
        for end in ends:
            assert plane[node] @ [*end, 1] == pytest.approx(0, abs=1e-9)
        # a step to either side of its middle reaches the node, and parts there
        middle, normal = ends.mean(axis=0), 1e-7 * plane[node, :2]
        for side, step in ((1, -normal), (2, normal)):
            leaf, path = walk(plane, middle + step)
            assert node in path
            following = [*path, leaf + 15][path.index(node) + 1]
            assert following == 2 * node + side
    # and a node that parts two points of the box has a line
    points = random.uniform((BOX[0], BOX[2]), (BOX[1], BOX[3]), (300, 2))
    for node in range(15):
        passed = [point for point in points if node in walk(plane, point)[1]]
        if len({plane[node] @ [*point, 1] > 0 for point in passed}) == 2:
            assert node in regions.lines


def test_a_worked_example():
    # right of x = 0: leaves 2 and 3, parted by y = 1; left of it all is leaf 1
    plane = np.array([[1.0, 0, 0], [0, 0, 1.0], [0, 1.0, -1.0]])
    regions = tree_regions(nodes_of(plane), BOX)
    assert {leaf: area(polygon) for leaf, polygon in regions.leaves.items()} == pytest.approx(
        {1: 2 * 2.5, 2: 3 * 2.0, 3: 3 * 0.5}
    )
    assert sorted(regions.lines) == [0, 2]
    assert sorted(map(tuple, regions.lines[2])) == [(0.0, 1.0), (3.0, 1.0)]


def test_a_point_on_a_line_goes_left():
    nodes = nodes_of(np.array([[1.0, 0, 2.0]]))  # the line is the box's left edge
    assert list(tree_regions(nodes, BOX).leaves) == [1]
    assert list(tree_regions(nodes_of(np.zeros((1, 3))), BOX).leaves) == [0]


@pytest.mark.parametrize("kept", [[0, 1], [0, 2, 1, 5], [1, 2, 3]])
def test_half_a_tree_is_refused(kept):
    nodes = nodes_of(np.ones((7, 3)))
    with pytest.raises(ValueError, match="are no whole tree in heap order"):
        tree_regions(nodes[nodes["node"].isin(kept)], BOX)


def test_a_tree_over_images_is_refused():
    nodes = nodes_of(np.full((1, 3), np.nan))
    with pytest.raises(ValueError, match="the tree is on no plane"):
        tree_regions(nodes, BOX)


@pytest.fixture
def recorded(default_folders):
    folder = default_folders["tree_regions"]
    return tuple(load_table(folder, name, LABELS) for name in ("nodes", "projections", "epochs"))


def test_the_figure(recorded):
    nodes, points, epochs = recorded
    figure = draw_regions(nodes, points, epochs, "Title")
    assert faults(figure) == []
    assert figure._suptitle.get_text() == "Title, region leak 0.3 · MNIST-5k · seed 0"
    titles = [axes.get_title()[:7] for axes in figure.axes]
    assert titles == ["epoch 0", "epoch 2", "epoch 4"]
    first = points[(points["seed"] == 0) & (points["epoch"] == 4)]
    axes = figure.axes[2]
    run = epochs[(epochs["seed"] == 0) & (epochs["epoch"] == 4)].iloc[0]
    used = first["expert"].nunique()
    score = f"{100 * run['accuracy_hard']:.2f} %"
    assert axes.get_title() == f"epoch 4, {used} of 8 leaves, {score}"
    numbers = {int(text.get_text()) for text in axes.texts}
    assert set(first["expert"]) & numbers
    # every sample lies on an area of the leaf that the table says, with the colour of its class
    areas = {patch.get_facecolor(): patch for patch in axes.patches}
    assert len(areas) == len(axes.patches) >= first["expert"].nunique()
    scatter = axes.collections[-1]
    np.testing.assert_allclose(scatter.get_offsets(), first[["x", "y"]])
    colours = class_colours(10)
    assert [to_hex(c) for c in scatter.get_facecolors()] == [colours[k] for k in first["class"]]
    by_leaf = {}
    for (x, y), leaf in zip(first[["x", "y"]].to_numpy(), first["expert"], strict=True):
        (held,) = [face for face, patch in areas.items() if inside(patch.get_xy()[:-1], (x, y))]
        assert by_leaf.setdefault(leaf, held) == held


@pytest.mark.parametrize(
    ("recorded_every", "drawn"), [(3, (0, 6, 15, 21, 30, 36)), (9, (0, 9, 18, 27, 36))]
)
def test_at_most_six_epochs_fill_the_grid_and_fewer_leave_a_place_to_the_legend(
    recorded, recorded_every, drawn
):
    tables = [table[table["epoch"] == 2] for table in recorded]
    epochs = range(0, 39, recorded_every)
    tables = [pd.concat([table.assign(epoch=epoch) for epoch in epochs]) for table in tables]
    figure = draw_regions(*tables, "Title")
    assert faults(figure) == []
    shown = [axes.get_title().split(",")[0] for axes in figure.axes]
    titles = [f"epoch {epoch}" for epoch in drawn]
    assert shown == titles + [""] * (6 - len(drawn))
    assert len(figure.legends) == (len(drawn) == 6)
    assert (figure.axes[-1].get_legend() is not None) == (len(drawn) < 6)


def test_every_leaf_that_is_seen_has_its_number(recorded):
    nodes, points, epochs = recorded
    run = points[(points["seed"] == 0) & (points["epoch"] == 0)]
    # the leaf between the lines is a strip of 0.3 % of the plane
    x, y = run["x"].mean(), run["y"].mean()
    extent = run["x"].max() - run["x"].min()
    plane = {0: (1.0, 0.0, -x), 2: (1.0, 0.0, -x - 0.003 * extent), 1: (0.0, 1.0, -y)}
    nodes = nodes[(nodes["epoch"] == 0) & (nodes["seed"] == 0) & (nodes["node"] < 3)].copy()
    weights = pd.DataFrame([plane[k] for k in nodes["node"]], index=nodes.index)
    nodes[["weight_x", "weight_y", "bias"]] = weights
    figure = draw_regions(nodes, points[points["epoch"] == 0], epochs, "Title")
    assert faults(figure) == []
    assert sorted(text.get_text() for text in figure.axes[0].texts) == ["0", "1", "2", "3"]


def test_a_run_that_diverged(recorded):
    nodes, points, epochs = recorded
    points = points.assign(x=points["x"].where(points["epoch"] < 4))
    figure = draw_regions(nodes, points, epochs, "Title")
    assert [text.get_text() for text in figure.axes[2].texts] == ["diverged"]


@pytest.mark.parametrize("n", [2, 8, 13])
def test_every_leaf_has_an_area_colour_of_its_own(n):
    assert len(set(area_colours(n))) == n


def test_no_tree_on_a_plane(recorded):
    nodes, *others = recorded
    with pytest.raises(ValueError, match="no tree is on a plane"):
        draw_regions(nodes.assign(weight_x=np.nan), *others, "Title")
    with pytest.raises(ValueError, match="fff_on_plane have no epoch in common"):
        draw_regions(nodes.assign(epoch=9), *others, "Title")


def test_what_is_said(recorded):
    nodes, points, _ = recorded
    used = points[points["epoch"] == 4].groupby("seed")["expert"].nunique().mean()
    text = describe_regions(nodes, points)
    assert f"{used:.1f} in epoch 4" in text
    assert "from 0.600 to 0.120 nats (a coin has 0.693)" in text
