"""The hierarchical bootstrap: against scipy's where they must agree, and its two levels."""

import numpy as np
import pytest
from made_up import BOOTSTRAP
from scipy import stats

from fastff.claims.estimate import interval
from fastff.claims.spec import BootstrapSpec

SPEC = BootstrapSpec(resamples=20_000)


def mean(drawn):
    return drawn.mean(axis=(-3, -2, -1))


@pytest.mark.parametrize("over", ["points", "seeds"])
def test_one_level_is_scipy_s_percentile_bootstrap(over):
    values = np.random.default_rng(3).normal(5.0, 2.0, size=12)
    shape = (12, 1, 1) if over == "points" else (1, 12, 1)
    low, high = interval(values.reshape(shape), mean, over, SPEC)
    oracle = stats.bootstrap(
        (values,), np.mean, n_resamples=20_000, method="percentile", rng=1
    ).confidence_interval
    assert (low, high) == pytest.approx(tuple(oracle), abs=0.05)


def test_both_levels_add_up():
    """The variance over draws is that of points and seeds, as worked out by hand."""
    random = np.random.default_rng(5)
    samples = random.normal(size=(8, 1, 1)) + 2 * random.normal(size=(8, 6, 1))
    found = {}
    interval(samples, lambda drawn: found.setdefault("all", mean(drawn)), "points", SPEC)
    between = samples.mean(axis=1).var() / 8
    within = samples.var(axis=1).mean() / 6 / 8
    assert found["all"].var() == pytest.approx(between + within, rel=0.05)


def test_over_seeds_points_stay_as_they_are():
    """Points that differ, but whose seeds agree, have no spread over seeds."""
    samples = np.broadcast_to(np.arange(5.0)[:, None, None], (5, 4, 1))
    assert interval(samples, mean, "seeds", BOOTSTRAP) == (2.0, 2.0)
    low, high = interval(samples, mean, "points", BOOTSTRAP)
    assert low < 2.0 < high


def test_values_of_a_point_and_seed_stay_together():
    samples = np.random.default_rng(0).normal(size=(4, 3, 1)) + np.array([1.0, 0.0])

    def difference(drawn):
        return (drawn[..., 0] - drawn[..., 1]).mean(axis=(-2, -1))

    for over in ("points", "seeds"):
        assert interval(samples, difference, over, BOOTSTRAP) == pytest.approx((1.0, 1.0))


def test_the_seed_alone_decides():
    samples = np.random.default_rng(1).normal(size=(4, 3, 1))
    first, again = (interval(samples, mean, "points", BOOTSTRAP) for _ in range(2))
    assert first == again
    assert first != interval(samples, mean, "points", BootstrapSpec(resamples=2000, seed=1))


def test_a_wider_level_gives_a_wider_interval():
    samples = np.random.default_rng(1).normal(size=(6, 5, 1))
    wide = interval(samples, mean, "points", BootstrapSpec(resamples=2000, level=0.99))
    narrow = interval(samples, mean, "points", BootstrapSpec(resamples=2000, level=0.8))
    assert wide[0] < narrow[0] < narrow[1] < wide[1]
