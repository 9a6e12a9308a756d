"""Means are judged as scipy's Welch test judges them, runs by statsmodels' prediction interval."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from statsmodels.regression.linear_model import OLS

from fastff.tables.schema import SHAPE
from fastff.verify.means import (
    Samples,
    compare_exactly,
    compare_means,
    compare_runs,
    over_seeds,
    rank_test,
)


def side_of(values: np.ndarray) -> Samples:
    """Return runs of shape (seeds, points) as samples of one metric."""
    n_seeds, n_points = values.shape
    rows = [
        {"point": point, "seed": seed, "score": values[seed, point]}
        for point in range(n_points)
        for seed in range(n_seeds)
    ]
    return Samples(pd.DataFrame(rows), ("point",), (), ("score",))


def cells_of(left: np.ndarray, right: np.ndarray, level: float = 0.95) -> pd.DataFrame:
    means = [side.means for side in over_seeds([side_of(left), side_of(right)])]
    return compare_means(*means, level)


@given(
    seeds=st.tuples(st.integers(2, 8), st.integers(2, 8)),
    n_points=st.integers(1, 5),
    scale=st.floats(1e-3, 1e3),
    seed=st.integers(0, 10_000),
)
def test_intervals_are_welch_s(seeds, n_points, scale, seed):
    random = np.random.default_rng(seed)
    left = random.normal(0, 1, (seeds[0], n_points))
    right = random.normal(0.5, scale, (seeds[1], n_points))
    cells = cells_of(left, right)
    test = stats.ttest_ind(right, left, equal_var=False)
    bounds = test.confidence_interval(1 - 0.05 / n_points)
    np.testing.assert_allclose(cells["difference"] - cells["half_width"], bounds.low, rtol=1e-6)
    np.testing.assert_allclose(cells["difference"] + cells["half_width"], bounds.high, rtol=1e-6)
    outside = cells["verdict"] == "outside"
    np.testing.assert_array_equal(outside, test.pvalue * n_points < 0.05)


def test_false_alarms_are_rare_for_a_whole_table():
    """Of 100 tables of 20 cells from one distribution, about 5 % may have a cell outside."""
    random = np.random.default_rng(0)
    alarms = [
        (cells_of(*random.normal(size=(2, 6, 20)))["verdict"] == "outside").any()
        for _ in range(100)
    ]
    assert 0 < sum(alarms) <= 10


def test_a_single_run_agrees_only_where_it_is_equal():
    cells = cells_of(np.array([[0.5, 0.7]]), np.array([[0.5, 0.7000001]]))
    assert list(cells["verdict"]) == ["same", "outside"]
    assert cells["half_width"].isna().all()


def test_equal_accuracies_of_two_seeds_are_not_taken_for_certain():
    """Both sides without spread, a thousandth apart, in a column that comes in thousandths."""
    left = np.array([[0.910, 0.871], [0.910, 0.880]])
    right = np.array([[0.911, 0.875], [0.911, 0.872]])
    assert list(cells_of(left, right)["verdict"]) == ["within", "within"]


def test_a_constant_that_changed_is_outside():
    left, right = np.full((5, 1), 25.0), np.full((5, 1), 12.0)
    left[0] = 24.0  # the column comes in whole numbers
    assert list(cells_of(left, right)["verdict"]) == ["outside"]


@pytest.mark.parametrize(
    ("left", "right", "verdict"),
    [
        ([np.nan, np.nan], [np.nan, np.nan], "same"),
        ([np.nan, np.nan], [0.5, 0.6], "outside"),
        ([np.nan, 0.5, 0.6, 0.7], [0.5, 0.6, 0.7, 0.8], "outside"),
        ([np.inf, 0.5, 0.6, 0.7], [-np.inf, 0.5, 0.6, 0.8], "within"),
    ],
)
def test_runs_without_a_value_count(left, right, verdict):
    cells = cells_of(np.array([left]).T, np.array([right]).T)
    assert list(cells["verdict"]) == [verdict]


def test_exact_values_are_named():
    index = pd.Index([1, 2, 3], name="depth")
    left = pd.DataFrame({"label": ["a", "b", "c"], "size": [1.0, np.nan, 3.0]}, index=index)
    right = pd.DataFrame({"label": ["a", "x", "c"], "size": [1.0, np.nan, 4.0]}, index=index)
    found = compare_exactly(left, right)
    assert found.to_dict("index") == {
        (2, "label"): {"left": "b", "right": "x"},
        (3, "size"): {"left": 3.0, "right": 4.0},
    }


@given(
    seeds=st.tuples(st.integers(3, 8), st.integers(3, 8)),
    scale=st.floats(1e-3, 1e3),
    seed=st.integers(0, 10_000),
)
def test_single_runs_are_in_the_prediction_interval_of_statsmodels(seeds, scale, seed):
    random = np.random.default_rng(seed)
    left = random.normal(0, 1, (seeds[0], 1))
    right = random.normal(0, scale, (seeds[1], 1))
    means = [side.means for side in over_seeds([side_of(left), side_of(right)])]
    cells = compare_runs(*means, 0.95).reset_index().set_index("column")
    for side, reference in ((left, right), (right, left)):
        name = "left" if side is left else "right"
        model = OLS(reference, np.ones_like(reference)).fit()
        interval = model.get_prediction([[1.0]]).conf_int(obs=True, alpha=0.05 / sum(seeds))[0]
        for which, run in (("lowest", side.min()), ("highest", side.max())):
            cell = cells.loc[f"score of the {which} run on the {name}"]
            assert cell[name] == run
            # widened only where the reference's own runs ask for it
            assert cell["half_width"] >= np.diff(interval).item() / 2 * (1 - 1e-6)
            if cell["verdict"] == "outside":
                assert not interval[0] <= run <= interval[1]


def test_an_outlier_of_the_reference_widens_the_interval_until_it_is_in():
    reference = np.array([[0.990, 0.991, 0.992, 0.989, 0.990, 0.991, 0.99, 0.992, 0.991, 0.60]]).T
    same, worse = reference.copy(), reference.copy()
    same[0], worse[0] = 0.60, -0.60
    for runs, verdict in ((same, "within"), (worse, "outside")):
        means = [side.means for side in over_seeds([side_of(runs), side_of(reference)])]
        cells = compare_runs(*means).reset_index().set_index("column")
        assert cells.loc["score of the lowest run on the left", "verdict"] == verdict


def test_ranks_of_one_metric_are_scipy_s_mann_whitney_test():
    """Spreads are ranked as deviations from the side's median."""
    random = np.random.default_rng(3)
    for _ in range(5):
        values = [random.normal(size=(5, 1)), random.normal(0.8, 2, (6, 1))]
        test = rank_test([shaped(side) for side in values])
        exact = stats.mannwhitneyu(*values, method="exact", axis=0).pvalue
        assert test.p == pytest.approx(exact.item(), abs=1e-9)
        spreads = rank_test([shaped(side) for side in values], spreads=True)
        away = rank_test([shaped(np.abs(side - np.median(side))) for side in values])
        assert spreads.p == pytest.approx(away.p)


def shaped(values: np.ndarray) -> Samples:
    rows = side_of(values).rows.assign(variant="fff", depth=1, hidden_features=1, region_leak=0.0)
    return Samples(rows, ("variant", *SHAPE), (), ("score",))


def test_ranks_seldom_raise_a_false_alarm():
    random = np.random.default_rng(1)
    p = [rank_test([shaped(x) for x in random.standard_t(2, (2, 6, 1))]).p for _ in range(100)]
    assert 0 < sum(value <= 0.05 for value in p) <= 10
