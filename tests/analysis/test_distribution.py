"""Entropy and used experts against exact cases, and the order of the stacked bars."""

import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastff.analysis import (
    Tidy,
    describe_trend,
    distribution,
    runs_with_distribution,
    trend,
)
from fastff.analysis.shares import class_entropy, sorted_shares


def counts_of(*runs: list[list[int]], epoch: int = 1, tree: int = 0) -> pd.DataFrame:
    """Return expert_counts from runs[seed][expert][class]."""
    return pd.DataFrame(
        [
            {
                "experiment": "trial",
                "dataset": "mnist5k",
                "variant": "moe_mixture",
                "label": "MoE, mixture",
                "depth": int(math.log2(len(run))),
                "hidden_features": 8,
                "region_leak": 0.0,
                "n_experts": len(run),
                "seed": seed,
                "epoch": epoch,
                "tree": tree,
                "expert": expert,
                "class": class_,
                "count": count,
            }
            for seed, run in enumerate(runs)
            for expert, classes in enumerate(run)
            for class_, count in enumerate(classes)
        ]
    )


@pytest.mark.parametrize(
    ("run", "entropy", "used"),
    [
        ([[5, 5], [10, 0], [0, 10], [3, 7]], 2.0, 4),
        ([[40, 10], [0, 0], [0, 0], [0, 0]], 0.0, 1),
        ([[10, 10], [0, 10], [10, 0], [0, 0]], 1.5, 3),
    ],
)
def test_exact_cases(run, entropy, used):
    row = distribution(counts_of(run)).iloc[0]
    assert row["entropy"] == pytest.approx(entropy, abs=1e-12)
    assert row["effective_experts"] == pytest.approx(2**entropy)
    assert (row["used_experts"], row["n_experts"]) == (used, 4)


@given(st.lists(st.integers(0, 1000), min_size=4, max_size=4).filter(any))
def test_entropy_is_that_of_the_shares(samples):
    row = distribution(counts_of([[n] for n in samples])).iloc[0]
    shares = [n / sum(samples) for n in samples if n]
    assert row["entropy"] == pytest.approx(-sum(p * math.log2(p) for p in shares), abs=1e-12)
    assert -1e-12 <= row["entropy"] <= 2 + 1e-12
    assert row["effective_experts"] <= row["used_experts"] + 1e-9


def test_only_the_last_epoch_counts():
    counts = pd.concat([counts_of([[9], [0]], epoch=1), counts_of([[5], [5]], epoch=2)])
    assert distribution(counts)["entropy"].to_list() == [1.0]


def test_parallel_trees_are_measured_one_by_one():
    first, second = [[4], [4], [0], [0]], [[0], [0], [8], [0]]
    counts = pd.concat([counts_of(first), counts_of(second, tree=1)])
    row = distribution(counts).iloc[0]
    assert (row["entropy"], row["effective_experts"], row["used_experts"]) == (0.5, 1.5, 1.5)
    # the fullest expert of each tree: 4 of 8, and 8 of 8
    assert sorted_shares(counts).mean(axis=0)[:, 0] == pytest.approx([0.75, 0.25, 0, 0])


def test_a_run_without_samples():
    with pytest.raises(ValueError, match=r"all counts are 0 for variant moe_mixture.*seed 1"):
        distribution(counts_of([[1], [1]], [[0], [0]]))


def test_runs_get_their_own_measures(small):
    shuffled = small.expert_counts.sample(frac=1, random_state=1)
    runs = runs_with_distribution(Tidy(small.runs, small.epochs, shuffled))
    assert len(runs) == len(small.runs)
    row = runs.query("variant == 'moe_mixture' and depth == 2 and seed == 1").iloc[1]
    samples = small.expert_counts.query(
        "variant == 'moe_mixture' and depth == 2 and seed == 1 and hidden_features == 16"
    )
    p = samples.groupby("expert")["count"].sum() / samples["count"].sum()
    p = p[p > 0]
    assert row["entropy"] == pytest.approx(-(p * np.log2(p)).sum())


def test_shares_are_sorted_in_each_run():
    # the fullest expert is number 1 in the first run, number 0 in the second
    counts = counts_of([[2, 0], [0, 6]], [[4, 6], [2, 4]])
    expected = [[[0, 6 / 8], [2 / 8, 0]], [[4 / 16, 6 / 16], [2 / 16, 4 / 16]]]
    assert sorted_shares(counts) == pytest.approx(np.array(expected))
    by_number = sorted_shares(counts, by_load=False)
    assert by_number[0] == pytest.approx(np.array(expected)[0, ::-1])


def test_class_entropy_of_an_expert():
    shares = np.array([[[0.25, 0.25], [0.5, 0.0], [0.0, 0.0]]])
    np.testing.assert_allclose(class_entropy(shares), [[1.0, 0.0, np.nan]])


def spread(entropies: list[list[float]]) -> pd.DataFrame:
    """Return runs from entropies[width][seed]."""
    return pd.DataFrame(
        [
            {
                "experiment": "trial",
                "dataset": "mnist5k",
                "variant": "moe_mixture",
                "label": "MoE, mixture",
                "depth": 2,
                "n_experts": 4,
                "hidden_features": 2 ** (2 + width),
                "seed": seed,
                "entropy": entropy,
            }
            for width, seeds in enumerate(entropies)
            for seed, entropy in enumerate(seeds)
        ]
    )


def test_trend_is_the_rank_correlation():
    # widths' ranks 1.5, 1.5, 3.5, 3.5; entropies' ranks 4, 2, 3, 1: r = -2 / sqrt(4 * 5)
    row = trend(spread([[2.0, 1.0], [1.5, 0.5]])).iloc[0]
    assert row["rho"] == pytest.approx(-2 / math.sqrt(20))
    assert row["n_runs"] == 4


@pytest.mark.parametrize(
    ("entropies", "said"),
    [
        ([[2.0, 1.9, 1.8], [1.5, 1.4, 1.3], [1.0, 0.9, 0.8]], "data moves to fewer"),
        ([[1.0, 0.9, 0.8], [1.5, 1.4, 1.3], [2.0, 1.9, 1.8]], "data spreads"),
        ([[1.0, 2.0, 1.5], [1.9, 1.1, 1.4], [1.6, 1.2, 1.7]], "no clear trend"),
        ([[1.0, 2.0, 1.5]], "no trend can be computed"),
        ([[2.0, 2.0], [2.0, 2.0]], "no trend can be computed"),
        ([[2.0], [1.0]], "no trend can be computed"),
    ],
)
def test_what_is_said_of_a_trend(entropies, said):
    assert said in describe_trend(trend(spread(entropies)))
