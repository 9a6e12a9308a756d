"""Means and intervals against hand-computed numbers and the formula in exact fractions."""

import math
from fractions import Fraction

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from synthetic import synthetic_tables

from fastff.analysis import mean_ci, summarise
from fastff.analysis.summary import seed_means

# Two-sided 95 % quantiles of Student's t, from a printed table: degrees of freedom -> t.
T_TABLE = {1: 12.706, 2: 4.303, 4: 2.776, 9: 2.262, 29: 2.045}


@pytest.mark.parametrize("freedom", T_TABLE)
def test_half_width_is_t_times_standard_error(freedom):
    n = freedom + 1
    values = [float(k) for k in range(n)]
    mean, half_width = mean_ci(values)
    deviation = math.sqrt(n * (n + 1) / 12)  # of 0..n-1, with n - 1 in the denominator
    assert mean == (n - 1) / 2
    assert half_width == pytest.approx(T_TABLE[freedom] * deviation / math.sqrt(n), rel=3e-4)


@given(st.lists(st.floats(-1e3, 1e3, allow_subnormal=False), min_size=2, max_size=20))
def test_mean_ci_agrees_with_exact_arithmetic(values):
    exact = [Fraction(value) for value in values]
    n = len(exact)
    mean = sum(exact) / n
    variance = sum((value - mean) ** 2 for value in exact) / (n - 1)
    error = math.sqrt(variance / n)
    found_mean, half_width = mean_ci(values)
    assert found_mean == pytest.approx(float(mean), abs=1e-10)
    _, unit = mean_ci([*([0.0] * (n - 1)), 1.0])  # its standard error is exactly 1 / n
    assert half_width == pytest.approx(unit * n * error, rel=1e-6, abs=1e-9)


def test_level():
    assert mean_ci([0.0, 1.0], level=0.5)[1] == pytest.approx(0.5)  # t = 1 for one degree
    assert mean_ci([0.0, 1.0], level=0.9)[1] == pytest.approx(6.314 / 2, rel=1e-4)


def test_one_seed_has_no_interval():
    mean, half_width = mean_ci([0.25])
    assert mean == 0.25
    assert math.isnan(half_width)


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_diverged_run_is_not_left_out(bad):
    assert all(math.isnan(x) for x in mean_ci([1.0, bad, 2.0]))


@pytest.mark.parametrize(
    ("values", "level", "message"),
    [([], 0.95, r"shape \(0,\)"), ([[1.0]], 0.95, r"\(1, 1\)"), ([1.0], 1.0, "level = 1.0")],
)
def test_refusals(values, level, message):
    with pytest.raises(ValueError, match=message):
        mean_ci(values, level)


def test_summarise_has_a_row_per_variant_and_shape(small):
    summary = summarise(small.runs, ["train_loss", "accuracy_hard"])
    assert len(summary) == 2 * 2 * 2
    assert list(dict.fromkeys(summary["variant"])) == ["fff_mixture_logsigmoid", "moe_mixture"]
    assert set(summary["n_seeds"]) == {3}
    row = summary.iloc[3]
    assert (row["depth"], row["hidden_features"], row["n_experts"]) == (2, 16, 4)
    runs = small.runs.query("variant == 'fff_mixture_logsigmoid' and depth == 2")
    values = runs.query("hidden_features == 16")["train_loss"]
    assert row["train_loss_mean"] == pytest.approx(np.mean(values))
    assert row["train_loss_ci"] == pytest.approx(4.303 * np.std(values, ddof=1) / 3**0.5, rel=2e-4)


def test_summarise_keeps_the_order_of_the_runs(small):
    backwards = summarise(small.runs.iloc[::-1], ["train_loss"])
    assert backwards["variant"].iloc[0] == "moe_mixture"
    forwards = summarise(small.runs, ["train_loss"])
    columns = ["variant", "depth", "hidden_features"]
    pd.testing.assert_frame_equal(
        backwards.sort_values(columns, ignore_index=True),
        forwards.sort_values(columns, ignore_index=True),
    )


def test_runs_of_another_region_leak_are_another_row():
    runs = synthetic_tables(("moe_mixture",), (2,), (8,), leaks=(0.0, 0.1))["runs"]
    summary = summarise(runs, ["train_loss"])
    assert summary["region_leak"].to_list() == [0.0, 0.1]
    assert summary["n_seeds"].to_list() == [3, 3]


def test_best_of_seeds_is_chosen_by_validation(small):
    runs = small.runs.query("variant == 'moe_mixture' and depth == 1").copy()
    runs = runs[runs["hidden_features"] == 8]
    runs["validation_accuracy_hard"] = [0.8, 0.9, 0.9]
    runs["accuracy_hard"] = [0.95, 0.7, 0.6]
    row = summarise(runs, ["accuracy_hard", "train_loss"], best=True).iloc[0]
    assert row["accuracy_hard_best"] == 0.7  # the first of the two best by validation
    assert row["accuracy_hard_mean"] == pytest.approx(0.75)
    assert row["train_loss_best"] == runs["train_loss"].iloc[1]
    backwards = summarise(runs.iloc[::-1], ["accuracy_hard"], best=True)
    assert backwards["accuracy_hard_best"].to_list() == [0.7]
    runs["validation_accuracy_hard"] = [0.8, math.nan, math.nan]
    assert summarise(runs, ["accuracy_hard"], best=True)["accuracy_hard_best"].to_list() == [0.95]
    runs["validation_accuracy_hard"] = math.nan
    assert summarise(runs, ["accuracy_hard"], best=True)["accuracy_hard_best"].isna().all()


def test_seed_means_leaves_out_shapes_that_one_variant_lacks(small):
    variants = ("moe_mixture", "fff_mixture_logsigmoid")
    lacking = small.runs.query("variant != 'moe_mixture' or depth == 1")
    assert seed_means(small.runs, variants, "train_loss").shape == (4, 2)
    means = seed_means(lacking, variants, "train_loss")
    assert list(means.index) == [(1, 8, 0.0), (1, 16, 0.0)]


def test_seed_means_names_an_unknown_variant(small):
    with pytest.raises(ValueError, match="no runs of variant 'fff'; there are runs of fff_mix"):
        seed_means(small.runs, ("fff",), "train_loss")
