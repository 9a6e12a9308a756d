"""Equal sizes against a search by hand, Welch's interval against scipy, and both figures."""

import math

import numpy as np
import pandas as pd
import pytest
from boxes import faults
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from synthetic import LABELS

from fastff.analysis import (
    describe_sizes,
    draw_heat_maps,
    draw_sizes,
    load_tidy,
    match_sizes,
    summarise,
    to_markdown,
)
from fastff.analysis.grids import accuracy_maps
from fastff.analysis.sizes import reference_variant, welch_difference
from fastff.tables.schema import MATCHES


@pytest.fixture
def runs(default_folders):
    return load_tidy(default_folders["width_depth"], LABELS).runs


def test_the_reference_has_the_most_widths(runs):
    assert reference_variant(runs) == "mlp_relu"
    grid = runs[runs["hidden_features"].isin([16, 32, 64, 128, 256])]
    assert reference_variant(grid[grid["variant"] != "mlp_relu"]) == "mlp_selu"
    with pytest.raises(ValueError, match="no variant is a feed-forward layer"):
        reference_variant(runs[runs["depth"] > 0])


def test_each_shape_stands_beside_the_layers_of_its_size(runs):
    matched = match_sizes(runs)
    assert len(matched) == 4 * 4 + 4 * 3
    layers = runs[runs["variant"] == "mlp_relu"]
    for row in matched.to_dict("records"):
        assert row["equal_training_width_units"] == 2 ** row["depth"] * row["hidden_features"]
        assert row["equal_inference_width_units"] == row["hidden_features"]
        ratios = {
            width: abs(math.log(group["n_parameters"].iloc[0] / row["n_parameters"]))
            for width, group in layers.groupby("hidden_features")
        }
        assert row["equal_parameters_units"] == min(ratios, key=ratios.get)
        own = runs[
            (runs["variant"] == row["variant"])
            & (runs["depth"] == row["depth"])
            & (runs["hidden_features"] == row["hidden_features"])
        ]["accuracy_hard"]
        for sense in ("parameters", "training_width", "inference_width"):
            units = row[f"equal_{sense}_units"]
            theirs = layers.loc[layers["hidden_features"] == units, "accuracy_hard"]
            assert row[f"equal_{sense}_mean"] == pytest.approx(theirs.mean())
            difference = row[f"equal_{sense}_difference_mean"]
            assert difference == pytest.approx(own.mean() - theirs.mean())


def test_a_size_that_was_not_trained_is_empty(runs):
    lacking = runs[(runs["variant"] != "mlp_relu") | (runs["hidden_features"] != 8)]
    matched = match_sizes(lacking)
    narrow = matched[matched["hidden_features"] == 8]
    assert narrow["equal_inference_width_mean"].isna().all()
    assert narrow["equal_inference_width_difference_ci"].isna().all()
    assert narrow["equal_parameters_mean"].notna().all()  # the closest will do
    none = match_sizes(runs[(runs["depth"] > 0) | (runs["hidden_features"] == 256)])
    assert "inference width: none was trained." in describe_sizes(none)


samples = st.lists(st.floats(0, 1), min_size=2, max_size=10)


@given(samples, samples)
def test_welch_against_scipy(first, second):
    difference, half_width = welch_difference(first, second)
    assert difference == pytest.approx(np.mean(first) - np.mean(second), abs=1e-12)
    if min(np.std(first), np.std(second)) > 1e-6:
        test = stats.ttest_ind(first, second, equal_var=False)
        low, high = test.confidence_interval(0.95)
        assert (difference - half_width, difference + half_width) == pytest.approx((low, high))


def test_welch_without_an_interval():
    assert welch_difference([0.5, 0.5], [0.25, 0.25]) == (0.25, 0.0)
    difference, half_width = welch_difference([0.5], [0.25, 0.75])
    assert difference == 0.0
    assert math.isnan(half_width)
    assert all(math.isnan(x) for x in welch_difference([math.nan, 0.5], [0.5, 0.5]))


def test_what_is_said_of_sizes(runs):
    lines = describe_sizes(match_sizes(runs)).splitlines()
    matched = match_sizes(runs)
    fff = matched[matched["variant"] == "fff_mixture_log"]["equal_parameters_difference_mean"]
    assert lines[0].startswith("- **FFF, log-sigmoid** against a feed-forward layer of equal param")
    assert f"{100 * fff.mean():+.2f} points of hard accuracy on average over 16 shapes" in lines[0]
    assert f"better at {(fff > 0).sum()}," in lines[0]


def test_the_printed_table_has_units(runs):
    head = to_markdown(match_sizes(runs)).splitlines()[0]
    assert "difference, equal training width (points)" in head
    assert "difference, equal parameters (points)" in head
    assert "_" not in head


def test_heat_maps(runs):
    figure = draw_heat_maps(runs, "Title")
    assert faults(figure) == []
    maps = figure.axes[:3]
    assert [axes.get_title() for axes in maps] == ["FFF, log-sigmoid", "MoE", "feed-forward"]
    assert [axes.images[0].get_array().shape for axes in maps] == [(4, 4), (4, 3), (4, 5)]
    assert len({axes.images[0].norm for axes in maps}) == 1
    means = summarise(runs, ["accuracy_hard"]).set_index(["variant", "depth", "hidden_features"])
    shown = [text.get_text() for text in maps[1].texts]
    assert shown == [
        f"{100 * means.loc[('moe_mixture', depth, width), 'accuracy_hard_mean']:.1f}"
        for depth in (1, 2, 3, 4)
        for width in (8, 16, 32)
    ]
    rows = [tick.get_text() for tick in maps[2].get_yticklabels()]
    assert rows == [f"feed-forward, {name}" for name in ("ReLU", "SELU", "GELU", "PReLU")]
    columns = [tick.get_text() for tick in maps[2].get_xticklabels()]
    assert columns == ["16", "32", "64", "128", "256"]  # none of those of the equal sizes


def test_heat_maps_without_feed_forward_layers(runs):
    routed = runs[runs["depth"] > 0]
    assert list(accuracy_maps(routed)) == ["FFF, log-sigmoid", "MoE"]
    assert faults(draw_heat_maps(routed, "Title")) == []


def test_a_diverged_shape_is_an_empty_cell(runs):
    diverged = runs.assign(
        accuracy_hard=runs["accuracy_hard"].where((runs["depth"] != 2) | (runs["seed"] != 3))
    )
    figure = draw_heat_maps(diverged, "Title")
    assert [text.get_text() for text in figure.axes[1].texts[3:6]] == ["–"] * 3


def test_differences_to_layers_of_equal_size(runs):
    figure = draw_sizes(runs, "Title")
    assert faults(figure) == []
    assert [axes.get_xlabel() for axes in figure.axes] == [
        *("parameters", "hidden units in training", "hidden units at inference")
    ]
    matched = match_sizes(runs)
    for axes, match in zip(figure.axes, MATCHES, strict=True):
        assert axes.get_xscale() == "log"
        assert len(axes.containers) == 2 * 4  # variants and depths
        rows = matched.query("variant == 'fff_mixture_log' & depth == 1")
        line = axes.containers[0].lines[0]
        np.testing.assert_allclose(np.asarray(line.get_xdata(), float), rows[MATCHES[match]])
        shown = np.asarray(line.get_ydata(), dtype=float)
        expected = 100 * rows[f"{match}_difference_mean"].astype(float)
        np.testing.assert_allclose(shown, expected)
        depths = [depth for text in axes.texts for depth in text.get_text().split(", ")]
        assert {*depths} == {"1", "2", "3", "4"}
        # where all lines end at one size, each has its depth
        assert len(depths) == (2 * 4 if match == "equal_inference_width" else 4)
    named = [text.get_text() for text in figure.legends[0].get_texts()]
    assert named == ["FFF, log-sigmoid", "MoE"]


@pytest.mark.parametrize("draw", [draw_heat_maps, draw_sizes])
def test_several_leaks_are_refused(runs, draw):
    leaking = pd.concat([runs, runs.assign(region_leak=0.3)])
    with pytest.raises(ValueError, match=r"region_leak has \[0.0, 0.3\]; this figure shows one"):
        draw(leaking, "Title")
