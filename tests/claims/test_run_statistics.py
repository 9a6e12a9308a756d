"""Statistics of runs: against scipy, hand-computed cases, and what can't be tested."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from made_up import BOOTSTRAP, both_sides, paired, runs_of, slope
from scipy import stats

from fastff.claims.estimate import NotTestableError
from fastff.claims.runs import estimate_of_runs

NEW = np.array([[0.80, 0.84], [0.70, 0.74], [0.90, 0.92]])
OLD = np.array([[0.78, 0.80], [0.70, 0.70], [0.86, 0.90]])
ACCURACIES = arrays(float, (4, 3), elements=st.floats(0.3, 0.99))


def estimate(runs, spec, least_seeds=2):
    return estimate_of_runs(runs, spec, least_seeds, BOOTSTRAP)


def test_a_difference_by_hand_and_by_scipy():
    found = estimate(both_sides(NEW, OLD), paired())
    # means over seeds: .82 .72 .91 against .79 .70 .88
    assert found.effect == pytest.approx(100 * (0.03 + 0.02 + 0.03) / 3)
    oracle = stats.ttest_rel(NEW.mean(axis=1), OLD.mean(axis=1))
    assert found.p_value == pytest.approx(oracle.pvalue)
    assert (found.n, found.unit) == (3, "points")
    assert found.detail == "mnist5k, 3 points of the grid, 2 seeds"


def test_a_change_is_relative_to_the_baseline_s_mean():
    found = estimate(both_sides(NEW, OLD), paired("change"))
    assert found.effect == pytest.approx(100 * (0.03 / 0.79 + 0.02 / 0.70 + 0.03 / 0.88) / 3)
    assert found.unit == "%"


def test_over_seeds_the_pairs_are_seeds():
    found = estimate(both_sides(NEW, OLD), paired(over="seeds"))
    oracle = stats.ttest_rel(NEW.mean(axis=0), OLD.mean(axis=0))
    assert found.p_value == pytest.approx(oracle.pvalue)
    assert found.n == 2
    assert found.effect == pytest.approx(100 * (NEW - OLD).mean())


def test_pairs_are_pooled():
    more = both_sides(NEW - 0.1, OLD - 0.2)
    more["variant"] = more["variant"] + "_too"
    pairs = [
        {"treatment": "new", "baseline": "old"},
        {"treatment": "new_too", "baseline": "old_too"},
    ]
    found = estimate(pd.concat([both_sides(NEW, OLD), more]), paired(pairs=pairs))
    assert found.n == 6
    assert found.effect == pytest.approx(100 * ((NEW - OLD).mean() + 0.05))


def test_points_of_one_side_alone_are_left_out():
    wide = runs_of("old", np.full((1, 2), 0.1), widths=[64])
    found = estimate(pd.concat([both_sides(NEW, OLD), wide]), paired())
    assert found.n == 3


def test_single_shapes_are_compared_whatever_they_are():
    runs = pd.concat(
        [runs_of("new", NEW[:1], widths=[8], depth=3), runs_of("old", OLD[:1], [256], depth=0)]
    )
    found = estimate(runs, paired(over="seeds"))
    assert found.effect == pytest.approx(100 * (0.02 + 0.04) / 2)


def test_a_side_can_fix_some_of_the_shape():
    runs = runs_of("new", NEW, widths=[8, 8, 8], leaks=[0.0, 0.1, 0.3])
    pairs = [
        {
            "treatment": {"variant": "new", "region_leak": 0.3},
            "baseline": {"variant": "new", "region_leak": 0.0},
        }
    ]
    found = estimate(runs, paired(over="seeds", pairs=pairs))
    assert found.effect == pytest.approx(100 * (NEW[2] - NEW[0]).mean())


def test_points_match_by_any_size():
    """Depth 1 with 8 units, and depth 2 with 4: both have 16 units in training."""
    runs = pd.concat(
        [
            runs_of("new", NEW[:1], widths=[8], depth=1),
            runs_of("new", NEW[1:2], widths=[4], depth=2),
            runs_of("old", OLD[:2], widths=[16, 99], depth=0),
        ]
    )
    found = estimate(runs, paired(match=["training_width"]))
    assert found.n == 2
    assert found.effect == pytest.approx(100 * (NEW[:2] - OLD[0]).mean())
    again = pd.concat([runs, runs_of("old", OLD[2:], widths=[8], depth=1)])
    with pytest.raises(NotTestableError, match="old has several points with training_width 16"):
        estimate(again, paired(match=["training_width"]))


def test_a_slope_is_least_squares_per_doubling():
    found = estimate(runs_of("new", NEW, widths=[4, 8, 32]), slope())
    slopes = [stats.linregress([2, 3, 5], 100 * NEW[:, seed]).slope for seed in range(2)]
    assert found.effect == pytest.approx(np.mean(slopes))
    assert found.p_value == pytest.approx(stats.ttest_1samp(slopes, 0).pvalue)
    assert (found.n, found.unit) == (2, "points per doubling")


def test_a_slope_per_step_over_points():
    shapes = [
        runs_of("new", NEW + 0.01 * depth * np.arange(3)[:, None], [8] * 3, depth, [0.0, 0.1, 0.4])
        for depth in (1, 2, 3)
    ]
    found = estimate(pd.concat(shapes), slope(along="region_leak", step=0.1, over="points"))
    slopes = [
        stats.linregress([0, 1, 4], 100 * (NEW.mean(axis=1) + 0.01 * depth * np.arange(3))).slope
        for depth in (1, 2, 3)
    ]
    assert found.effect == pytest.approx(np.mean(slopes))
    assert found.p_value == pytest.approx(stats.ttest_1samp(slopes, 0).pvalue)
    assert found.unit == "points per 0.1"


@pytest.mark.parametrize(
    ("runs", "spec", "message"),
    [
        (both_sides(NEW, OLD), paired(match=["depth"]), "old has several points with depth 1"),
        (both_sides(NEW[:1], OLD[:1]), paired(), "one grid point; a test over points needs"),
        (both_sides(NEW * np.nan, OLD), paired(), "accuracy_hard is not finite in a run"),
        (both_sides(OLD + 0.125, OLD), paired(), "all pairs differ by the same amount"),
        (both_sides(NEW, OLD * 0), paired("change"), "accuracy_hard of the baseline is 0"),
        (runs_of("new", NEW), paired(), "variant old was not trained"),
        (runs_of("new", NEW), slope(along="region_leak"), "region_leak has fewer than two values"),
        (runs_of("new", NEW[:2], [8, 8], 1, [0.0, 0.1]), slope(along="region_leak"),
         "region_leak is 0, which can't be doubled"),
        (pd.concat([runs_of("new", NEW, [1, 2, 3]), runs_of("old", OLD, [4, 5, 6])]), paired(),
         "the two sides have no grid point in common"),
    ],
)  # fmt: skip
def test_what_can_not_be_tested_says_why(runs, spec, message):
    with pytest.raises(NotTestableError) as caught:
        estimate(runs, spec)
    assert message in str(caught.value)


def test_too_few_seeds_test_nothing():
    for spec in (paired(), paired(over="seeds"), slope()):
        with pytest.raises(NotTestableError, match="2 seeds; at least 3 are needed"):
            estimate(both_sides(NEW, OLD), spec, least_seeds=3)


def test_only_seeds_that_all_have_count():
    runs = both_sides(NEW, OLD)
    runs = runs[~((runs["variant"] == "old") & (runs["seed"] == 1))]
    with pytest.raises(NotTestableError, match="1 seed; at least 2 are needed"):
        estimate(runs, paired())


@given(ACCURACIES, ACCURACIES)
def test_the_interval_holds_the_effect_and_swapping_flips_the_signs(new, old):
    if np.isclose((new - old).mean(axis=1).std(), 0, atol=1e-6):
        return
    found, swapped = (estimate(both_sides(*pair), paired()) for pair in ((new, old), (old, new)))
    assert found.low - 1e-9 <= found.effect <= found.high + 1e-9
    assert swapped.effect == pytest.approx(-found.effect, abs=1e-9)
    assert swapped.low == pytest.approx(-found.high, abs=1e-9)
    assert swapped.high == pytest.approx(-found.low, abs=1e-9)
    assert swapped.p_value == pytest.approx(found.p_value)
    relative = estimate(both_sides(new, old), paired("change"))
    assert np.sign(relative.effect) in (
        0,
        np.sign((new.mean(axis=1) / old.mean(axis=1) - 1).mean()),
    )
