"""Statistics of runs: paired tests and slopes, with bootstrapped intervals."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
from scipy import stats

from fastff.analysis.comparisons import paired_change
from fastff.claims.bootstrap import interval
from fastff.claims.estimate import Estimate, NotTestableError
from fastff.claims.samples import Array, paired_samples, slope_samples
from fastff.claims.spec import BootstrapSpec
from fastff.claims.statistics import PairedSpec, RunStatistic, SlopeSpec

# Unit of a metric's differences, and what they are multiplied with.
UNITS = {
    "accuracy": ("points", 100.0),
    "loss": ("nats", 1.0),
    "entropy": ("bits", 1.0),
    "experts": ("experts", 1.0),
}


def unit_of(metric: str) -> tuple[str, float]:
    """Return the unit of a metric's differences, and what they are multiplied with."""
    return next((unit for part, unit in UNITS.items() if part in metric), ("", 1.0))


def estimate_of_runs(
    runs: pd.DataFrame, spec: RunStatistic, least_seeds: int, bootstrap: BootstrapSpec
) -> Estimate:
    """Return a statistic of runs, with its test and interval.

    - "change": `100 * mean((a - b) / b)` over the points, of the means over seeds `a` of the
      treatment and `b` of the baseline; "difference": `mean(a - b)`. The test is the paired
      t-test of `a` against `b` over points, or over seeds of their means over the points.
    - "slope": the mean over points of the least-squares slope of the means over seeds; the test is
      the t-test of the slopes against 0 over points, or over seeds.

    Args:
        runs: the runs table of an experiment, with the metric.
        spec: which statistic.
        least_seeds: fewer don't test anything.
        bootstrap: of the interval.

    Raises:
        NotTestableError: for too few seeds or points, a value that is not finite (a run that
            diverged), or pairs without any variance.

    """
    if isinstance(spec, SlopeSpec):
        samples, places = slope_samples(runs, spec)
    else:
        samples = paired_samples(runs, spec)
    n_points, n_seeds, _ = samples.shape
    if n_seeds < least_seeds:
        raise NotTestableError(f"{_counted(n_seeds, 'seed')}; at least {least_seeds} are needed")
    if spec.over == "points" and n_points < 2:
        raise NotTestableError("one grid point; a test over points needs at least 2")
    if not np.isfinite(samples).all():
        raise NotTestableError(f"{spec.metric} is not finite in a run")
    if isinstance(spec, SlopeSpec):
        statistic, p_value = _slopes(samples, places, spec)
    else:
        statistic, p_value = _changes(samples, spec)
    if np.isnan(p_value):
        raise NotTestableError("all pairs differ by the same amount, which no test can judge")
    low, high = interval(samples, statistic, spec.over, bootstrap)
    return Estimate(
        effect=float(statistic(samples[None])[0]),
        low=low,
        high=high,
        p_value=p_value,
        n=n_points if spec.over == "points" else n_seeds,
        unit=_unit(spec),
        detail=f"{runs['dataset'].iloc[0]}, {_counted(n_points, 'point')} of the grid, "
        f"{_counted(n_seeds, 'seed')}",
    )


def _changes(samples: Array, spec: PairedSpec) -> tuple[Callable[[Array], Array], float]:
    scale = 100.0 if spec.kind == "change" else unit_of(spec.metric)[1]
    if spec.kind == "change" and (samples[..., 1].mean(axis=1) == 0).any():
        raise NotTestableError(f"{spec.metric} of the baseline is 0; no change is relative to it")

    def statistic(drawn: Array) -> Array:
        means = drawn.mean(axis=-2)  # (resamples, n_points, 2)
        change = means[..., 0] - means[..., 1]
        if spec.kind == "change":
            change = change / means[..., 1]
        found: Array = scale * change.mean(axis=-1)
        return found

    pairs = samples.mean(axis=1 if spec.over == "points" else 0)
    return statistic, float(paired_change(pairs[:, 0], pairs[:, 1])["p"])


def _slopes(
    samples: Array, places: Array, spec: SlopeSpec
) -> tuple[Callable[[Array], Array], float]:
    centred = places - places.mean()
    weights = unit_of(spec.metric)[1] * centred / (centred**2).sum()

    def statistic(drawn: Array) -> Array:
        found: Array = (drawn @ weights).mean(axis=(-2, -1))
        return found

    slopes = (samples @ weights).mean(axis=1 if spec.over == "points" else 0)
    if np.allclose(slopes, slopes[0], rtol=1e-9, atol=1e-12):
        return statistic, float("nan")
    return statistic, float(stats.ttest_1samp(slopes, 0.0).pvalue)


def _unit(spec: RunStatistic) -> str:
    unit = unit_of(spec.metric)[0]
    if isinstance(spec, SlopeSpec):
        step = spec.step if spec.step == "doubling" else f"{spec.step:g}"
        return f"{unit} per {step}"
    return "%" if spec.kind == "change" else unit


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"
