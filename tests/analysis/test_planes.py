"""Projections: whose points are shown, in which colours, and that nothing is on top of anything."""

import numpy as np
import pandas as pd
import pytest
from boxes import faults
from matplotlib.colors import to_hex
from synthetic import LABELS

from fastff.analysis import draw_leak_projections, draw_projections, load_table, load_tidy
from fastff.analysis.planes import faded, purities
from fastff.analysis.style import class_colours, leaf_colours


def read(folder):
    return load_tidy(folder, LABELS).runs, load_table(folder, "projections", LABELS)


def test_a_column_per_variant_and_one_untrained(default_folders):
    runs, points = read(default_folders["projection"])
    figure = draw_projections(runs, points, "Title")
    assert faults(figure) == []
    assert figure._suptitle.get_text() == "Title · MNIST-5k · hard accuracy of seed 0"
    first = runs[runs["seed"] == 0].set_index("variant")["accuracy_hard"]
    sizes = runs.drop_duplicates("variant").set_index("variant")["n_parameters"]
    scores = [
        f"{100 * first[name]:.2f} %\n{sizes[name]:,} parameters"
        for name in runs["variant"].unique()
    ]
    labels = ["feed-forward", "FFF", "8 node trees", "CNN"]
    assert [axes.get_title() for axes in figure.axes[:5]] == [
        "FFF\nuntrained",
        *(f"{label}\n{score}" for label, score in zip(labels, scores, strict=True)),
    ]
    above, below = figure.axes[:5], figure.axes[5:]
    notes = [[text.get_text() for text in axes.texts] for axes in below]
    assert notes == [[], ["does not\nroute"], [], [], ["does not\nroute"]]
    assert all(len(axes.collections[0].get_offsets()) == 200 for axes in above)

    points = points[points["seed"] == 0]
    of_fff = points[points["variant"] == "fff_to_plane"]
    untrained, trained = (of_fff[of_fff["epoch"] == epoch] for epoch in (0, 4))
    for column, shown in ((0, untrained), (2, trained)):
        pure = purities(shown)
        leaves = {k: faded(leaf_colours(16)[k], share) for k, share in pure.items()}
        for axes, key, colours in (
            (above[column], "class", class_colours(10)),
            (below[column], "expert", leaves),
        ):
            np.testing.assert_allclose(axes.collections[0].get_offsets(), shown[["x", "y"]])
            faces = [to_hex(colour) for colour in axes.collections[0].get_facecolors()]
            assert faces == [colours[k] for k in shown[key]]


def test_a_leaf_is_the_paler_the_more_classes_it_has():
    points = pd.DataFrame({"expert": [0, 0, 1, 1, 1, 1], "class": [3, 3, 0, 1, 1, 2]})
    assert purities(points).to_dict() == {0: 1.0, 1: 0.5}
    assert faded("#ff0000", 1.0) == "#ff0000"
    assert faded("#ff0000", 0.5) == "#f07070"


def test_legends_say_all_classes_and_leaves(default_folders):
    figure = draw_projections(*read(default_folders["projection"]), "Title")
    legends = {legend.get_title().get_text(): legend for legend in figure.legends}
    assert [text.get_text() for text in legends["class"].get_texts()] == [str(k) for k in range(10)]
    assert [text.get_text() for text in legends["leaf"].get_texts()] == [str(k) for k in range(16)]


def test_some_leaks_are_shown(default_folders):
    runs, points = read(default_folders["region_leak"])
    figure = draw_leak_projections(runs, points, "Title")
    assert faults(figure) == []
    shown = [axes.get_title().split("\n")[0] for axes in figure.axes[:6]]
    assert shown == [f"leak {leak}" for leak in ("0", "0.1", "0.2", "0.3", "0.4", "0.5")]
    key = {"seed": 0, "region_leak": 0.3, "epoch": 4}
    last = points[(points[list(key)] == pd.Series(key)).all(axis=1)]
    offsets = figure.axes[3].collections[0].get_offsets()
    np.testing.assert_allclose(offsets, last[["x", "y"]])


def test_one_leak_alone_is_clear(default_folders):
    runs, points = read(default_folders["region_leak"])
    runs, points = (table[table["region_leak"] == 0.1] for table in (runs, points))
    assert faults(draw_leak_projections(runs, points, "Title")) == []


def test_a_run_that_diverged(default_folders):
    runs, points = read(default_folders["projection"])
    points.loc[points["variant"] == "cnn_to_plane", "y"] = np.inf
    figure = draw_projections(runs, points, "Title")
    assert [text.get_text() for text in figure.axes[4].texts] == ["diverged"]


def test_refusals(default_folders):
    runs, points = read(default_folders["region_leak"])
    with pytest.raises(ValueError, match=r"region_leak of fff_to_plane has \[0.0, 0.05"):
        draw_projections(runs, points, "Title")
    with pytest.raises(ValueError, match=r"depth has \[3, 4\]; this figure shows one"):
        two = pd.concat([runs, runs.assign(depth=3)])
        draw_leak_projections(two, points, "Title")
