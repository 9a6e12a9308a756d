"""How many broken results are found, and how many whole ones are called different, on real runs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from fastff.tables.read import load_table
from fastff.verify.compare import compare_tidy

ROOT = Path(__file__).parents[2]
EXPERIMENTS = ("hypercube", "gate_activation", "learned_transition_fashion_mnist", "top_k")
ACCURACIES = ["accuracy_soft", "accuracy_hard"]
N_SPLITS = 5  # of each experiment

Fault = Callable[[pd.DataFrame], pd.DataFrame]


def runs_of(experiment: str) -> pd.DataFrame:
    (folder,) = ROOT.glob(f"results/reference/*/tidy/{experiment}")
    return load_table(folder, "runs")


def seeds_of(runs: pd.DataFrame) -> list[int]:
    return sorted(runs["seed"].unique())


def changed(runs: pd.DataFrame, chosen: pd.Series, value: float = 0.0, factor: float = 0.0):
    accuracies = runs[ACCURACIES] * factor + value
    return runs.assign(**{name: runs[name].where(~chosen, accuracies[name]) for name in ACCURACIES})


def most_seeds_guess(runs):
    return changed(runs, runs["seed"].isin(seeds_of(runs)[: round(0.7 * len(seeds_of(runs)))]), 0.1)


def one_seed_halved(runs):
    return changed(runs, runs["seed"] == seeds_of(runs)[1], factor=0.5)


def one_run_halved(runs):
    return changed(runs, pd.Series(runs.index == runs.index[1], runs.index), factor=0.5)


def one_variant_loses_two_points(runs):
    return changed(runs, runs["variant"] == runs["variant"].iloc[0], value=-0.02, factor=1.0)


def all_seeds_the_same(runs):
    scores = [name for name in runs if runs[name].dtype == float and "accuracy" in name]
    first = runs.groupby(["variant", "depth", "hidden_features", "region_leak"])[scores]
    return runs.assign(**first.transform("first"))


def whole(runs):
    return runs


def found(reference: pd.DataFrame, runs: pd.DataFrame) -> bool:
    comparison = compare_tidy("runs", [runs, reference])
    return bool(len(comparison.outside) or comparison.faults)


def share_found(fault: Fault) -> float:
    """Return in how many of the splits of the reference's seeds the halves are called different."""
    random = np.random.default_rng(0)
    verdicts = []
    for experiment in EXPERIMENTS:
        runs = runs_of(experiment)
        for _ in range(N_SPLITS):
            seeds = random.permutation(seeds_of(runs))
            halves = [runs[runs["seed"].isin(part)] for part in (seeds[:5], seeds[5:])]
            verdicts.append(found(halves[0], fault(halves[1])))
    return sum(verdicts) / len(verdicts)


@pytest.mark.parametrize("fault", [most_seeds_guess, one_seed_halved, one_run_halved])
@pytest.mark.parametrize("experiment", EXPERIMENTS)
def test_a_broken_copy_is_found_whichever_side_it_is_on(experiment, fault):
    runs = runs_of(experiment)
    broken = fault(runs)
    assert found(runs, broken)
    assert found(broken, runs)
    assert not found(runs, runs)


@pytest.mark.parametrize(
    ("fault", "least"),
    [
        (most_seeds_guess, 1.0),
        (one_seed_halved, 1.0),
        (one_run_halved, 0.75),
        (one_variant_loses_two_points, 0.75),
        (all_seeds_the_same, 1.0),
    ],
)
def test_broken_results_are_found(fault, least):
    assert share_found(fault) >= least


def test_whole_results_are_seldom_called_different():
    assert share_found(whole) <= 0.1
