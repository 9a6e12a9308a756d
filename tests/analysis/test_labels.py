"""Names of lines and points: beside what they name, and over nothing else."""

from itertools import combinations

import numpy as np
import pytest
from boxes import faults
from matplotlib.figure import Figure

from fastff.analysis.labels import label_ends, label_points
from fastff.analysis.style import theme

SIZE = (6.0, 2.9)
LONG = "a rather long name of a point"


def written(points=(), ends=()):
    """Return the boxes of all names, and the places of all points, in pixels."""
    with theme():
        figure = Figure(figsize=SIZE)
        axes = figure.add_axes((0, 0, 1, 1))
        axes.set(xlim=(0, 1), ylim=(0, 1), xticks=[], yticks=[])
        if points:
            label_points(axes, points, SIZE)
        if ends:
            label_ends(axes, ends, SIZE[1])
        assert not [fault for fault in faults(figure) if "leaves the page" not in fault]
        places = axes.transData.transform([point[:2] for point in points]) if points else []
        return {text.get_text(): text.get_window_extent() for text in axes.texts}, places


def test_no_name_hides_a_name_or_a_point():
    generator = np.random.default_rng(0)
    for _ in range(20):
        xy = generator.uniform((0.2, 0.2), (0.6, 0.8), size=(8, 2))
        names = [LONG[: 3 + 2 * k] for k in range(7)] + [""]
        points = [(x, y, name, "red") for (x, y), name in zip(xy, names, strict=True)]
        boxes, places = written(points)
        assert list(filter(None, names)) == sorted(boxes, key=len)
        assert not any(box.contains(*place) for box in boxes.values() for place in places)
        assert not any(a.overlaps(b) for a, b in combinations(boxes.values(), 2))


@pytest.mark.parametrize(
    ("other", "side"),
    [((0.9, 0.5), "right"), ((0.5, 0.5), "left"), ((0.5, 0.9), "right")],
)
def test_a_name_stands_where_no_point_is(other, side):
    boxes, places = written([(0.4, 0.5, LONG, "red"), (*other, "", "blue")])
    x = places[0][0]
    assert boxes[LONG].x0 > x if side == "right" else boxes[LONG].x1 < x


def test_with_points_at_both_sides_names_stand_beyond():
    points = [(0.3, 0.5, "", "red"), (0.4, 0.5, LONG, "red"), (0.5, 0.5, "last", "blue")]
    boxes, places = written(points)
    assert min(box.x0 for box in boxes.values()) > places[2][0]


def test_names_at_ends_keep_their_order_and_distance():
    ends = [(0.5, "b", "red"), (0.49, "a", "red"), (0.51, "c", "red"), (np.nan, "none", "red")]
    boxes, _ = written(ends=ends)
    assert sorted(boxes, key=lambda name: boxes[name].y0) == ["a", "b", "c"]
    assert not any(a.overlaps(b) for a, b in combinations(boxes.values(), 2))
