"""Paired comparisons against a worked example and the textbook formula."""

import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from fastff.analysis import compare, describe_comparisons, describe_ranking, rank
from fastff.analysis.summary import paired_change

PAIR = {"treatment": "moe_mixture", "baseline": "fff_mixture_logsigmoid"}


def runs_of(values: dict[str, list[list[float]]], metric="accuracy_hard") -> pd.DataFrame:
    """Return runs from values[variant][grid point][seed]."""
    return pd.DataFrame(
        [
            {
                "experiment": "trial",
                "dataset": "mnist5k",
                "variant": variant,
                "label": variant.upper(),
                "depth": 1 + point // 2,
                "hidden_features": 8 * (1 + point % 2),
                "region_leak": 0.0,
                "seed": seed,
                metric: value,
            }
            for variant, points in values.items()
            for point, seeds in enumerate(points)
            for seed, value in enumerate(seeds)
        ]
    )


def test_worked_example():
    # means over seeds: 0.6, 0.8, 0.9 against 0.5, 0.8, 0.6; differences 0.1, 0, 0.3
    runs = runs_of(
        {"a": [[0.5, 0.7], [0.8, 0.8], [1.0, 0.8]], "b": [[0.4, 0.6], [0.9, 0.7], [0.6, 0.6]]}
    )
    (row,) = compare(
        runs, [{"treatment": "a", "baseline": "b"}], metrics=["accuracy_hard"]
    ).to_dict("records")
    assert row["change_mean"] == pytest.approx((0.2 + 0 + 0.5) / 3)
    # differences: mean 2/15, variance 7/300, so t = (2/15) / sqrt(7/900)
    assert row["t"] == pytest.approx((2 / 15) / math.sqrt(7 / 900))
    # with two degrees of freedom, p = 1 - t / sqrt(t² + 2)
    assert row["p"] == pytest.approx(1 - row["t"] / math.sqrt(row["t"] ** 2 + 2))
    assert (row["n_better"], row["n_points"]) == (2, 3)
    assert (row["treatment_label"], row["baseline_label"]) == ("A", "B")


accuracy = st.floats(0.05, 1.0)


@given(st.lists(st.tuples(accuracy, accuracy), min_size=2, max_size=12))
def test_swapping_treatment_and_baseline_turns_t_around(pairs):
    a, b = np.array(pairs).T
    forth, back = paired_change(a, b), paired_change(b, a)
    assert forth["t"] == pytest.approx(-back["t"], nan_ok=True)
    assert forth["p"] == pytest.approx(back["p"], nan_ok=True)
    difference = a - b
    if np.std(difference) > 1e-6:
        t = difference.mean() / (difference.std(ddof=1) / math.sqrt(len(a)))
        assert forth["t"] == pytest.approx(t)
        assert forth["p"] == pytest.approx(2 * stats.t.sf(abs(t), len(a) - 1))


@pytest.mark.parametrize(
    ("treatment", "baseline"),
    [([0.9], [0.8]), ([0.5, 0.6, 0.7], [0.4, 0.5, 0.6]), ([0.5, 0.6], [0.5, 0.6])],
    ids=["one point", "constant difference", "no difference"],
)
def test_no_test_is_possible(treatment, baseline):
    row = paired_change(np.array(treatment), np.array(baseline))
    assert math.isnan(row["t"])
    assert math.isnan(row["p"])
    assert math.isfinite(row["change_mean"])


def test_a_point_with_a_run_that_failed_is_left_out():
    runs = runs_of({"a": [[0.5, math.nan], [0.8, 0.8]], "b": [[0.4, 0.6], [0.9, 0.7]]})
    row = compare(runs, [{"treatment": "a", "baseline": "b"}], ["accuracy_hard"]).iloc[0]
    assert (row["n_points"], row["n_left_out"]) == (1, 1)
    assert row["change_mean"] == pytest.approx(0)
    assert math.isnan(row["p"])


def test_a_row_per_comparison_and_accuracy(small):
    table = compare(small.runs, [PAIR])
    assert list(table["metric"]) == ["accuracy_hard", "accuracy_soft"]
    assert set(table["n_points"]) == {4}


def test_no_comparisons_is_an_empty_table_with_columns(small):
    table = compare(small.runs, [])
    assert table.empty
    assert list(table.columns) == list(compare(small.runs, [PAIR]).columns)
    assert "no comparisons" in describe_comparisons(table)


def test_unknown_names(small):
    with pytest.raises(ValueError, match="no runs of variant 'mlp'"):
        compare(small.runs, [PAIR | {"treatment": "mlp"}])
    with pytest.raises(ValueError, match="allowed keys: treatment, baseline"):
        compare(small.runs, [{"treatment": "moe_mixture"}])


def test_rank():
    runs = runs_of({"low": [[0.1], [0.3]], "high": [[0.9], [0.9]], "tie": [[0.2], [0.3]]})
    table = rank(runs)
    assert list(table["variant"]) == ["high", "tie", "low"]
    assert table["accuracy_hard_mean"].to_list() == pytest.approx([0.9, 0.25, 0.2])
    assert table["mean_rank"].to_list() == [1.0, 2.25, 2.75]
    assert "HIGH (90.00 %) > TIE (25.00 %) > LOW (20.00 %)" in describe_ranking(table)


def test_variants_of_a_single_shape_each_are_compared_at_those():
    runs = runs_of({"tree": [[0.5, 0.7]], "mlp": [[0.9, 0.7]]})
    runs.loc[runs["variant"] == "mlp", ["depth", "hidden_features"]] = (0, 256)
    table = rank(runs)
    assert table["label"].to_list() == ["MLP", "TREE"]
    assert table["accuracy_hard_mean"].to_list() == pytest.approx([0.8, 0.6])
    assert describe_ranking(table).startswith("By mean hard accuracy over seeds: MLP (80.00 %)")
    (row,) = compare(runs, [{"treatment": "mlp", "baseline": "tree"}], ["accuracy_hard"]).to_dict(
        "records"
    )
    assert row["change_mean"] == pytest.approx(0.2 / 0.6)


def test_sentences_carry_the_computed_numbers():
    runs = runs_of({"a": [[0.5, 0.7], [0.8, 0.8]], "b": [[0.4, 0.6], [0.9, 0.9]]})
    text = describe_comparisons(
        compare(runs, [{"treatment": "a", "baseline": "b"}], ["accuracy_hard"])
    )
    # changes +20 % and -100/9 %; differences 0.1 and -0.1, so t = 0 and p = 1
    assert "**A** against **B**, hard accuracy: +4 ± 198 %" in text
    assert "better at 1 of 2 grid points" in text
    assert text.endswith("p = 1.00: not significant at 5 %.")
