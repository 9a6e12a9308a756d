"""Statistics of runs: paired tests and slopes over grid points and seeds."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats

from fastff.analysis.summary import paired_change
from fastff.claims.estimate import Estimate, NotTestableError, interval
from fastff.claims.spec import BootstrapSpec, PairedSpec, RunStatistic, SlopeSpec
from fastff.tables.schema import PRINTED, SHAPE

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Point:
    """The runs of one shape: the values it is told apart by, and a metric by seed."""

    key: tuple[float, ...]
    metric: pd.Series


def paired_samples(runs: pd.DataFrame, spec: PairedSpec) -> Array:
    """Return the metric at every point that both sides have, of shape (n_points, n_seeds, 2).

    The last axis is treatment and baseline. A side with a single shape is compared with the other
    side's single shape, whatever the two are.

    Raises:
        NotTestableError: where a variant has no runs, no point is on both sides, or one of the
            treatment has several of the baseline.

    """
    found: list[list[pd.Series]] = []
    for pair in spec.pairs:
        fixed = pair.treatment.shape() | pair.baseline.shape()
        columns = spec.match or [column for column in SHAPE if column not in fixed]
        sides = [
            _points(runs, side.variant, side.shape(), spec.metric, columns)
            for side in (pair.treatment, pair.baseline)
        ]
        alone = spec.match is None and all(len(side) == 1 for side in sides)
        for point in sides[0]:
            others = [other for other in sides[1] if alone or other.key == point.key]
            if len(others) > 1:
                where = ", ".join(map("{} {:g}".format, columns, point.key))
                raise NotTestableError(
                    f"variant {pair.baseline.variant} has several points with {where}"
                )
            found += [[point.metric, other.metric] for other in others]
    if not found:
        raise NotTestableError("the two sides have no grid point in common")
    return _stacked(found)


def slope_samples(runs: pd.DataFrame, spec: SlopeSpec) -> tuple[Array, Array]:
    """Return the metric, of shape (n_points, n_seeds, n_places), and the places, (n_places,).

    A point is a shape without the column `along`; the places are the values of that column which
    all points have, in units of the slope's step.

    Raises:
        NotTestableError: where the variant has no runs, or fewer than two places.

    """
    others = [column for column in SHAPE if column != spec.along]
    points: dict[tuple[float, ...], dict[float, pd.Series]] = {}
    for point in _points(runs, spec.variant, {}, spec.metric, [*others, spec.along]):
        *key, place = point.key
        points.setdefault(tuple(key), {})[place] = point.metric
    places = sorted(set.intersection(*(set(places) for places in points.values())))
    if len(places) < 2:
        raise NotTestableError(f"{spec.along} has fewer than two values; a slope needs two")
    values = _stacked([[found[place] for place in places] for found in points.values()])
    at = np.array(places, dtype=float)
    if spec.step != "doubling":
        return values, at / spec.step
    if at[0] <= 0:
        raise NotTestableError(f"{spec.along} is {at[0]:g}, which can't be doubled")
    return values, np.log2(at)


def _points(
    runs: pd.DataFrame,
    variant: str,
    fixed: Mapping[str, float],
    metric: str,
    columns: Sequence[str],
) -> list[Point]:
    """Return the points of a variant with what is fixed of the shape, in order."""
    rows = runs[runs["variant"] == variant]
    if rows.empty:
        raise NotTestableError(f"variant {variant} was not trained")
    for column, value in fixed.items():
        rows = rows[rows[column] == value]
    if rows.empty:
        where = ", ".join(f"{column} {value:g}" for column, value in fixed.items())
        raise NotTestableError(f"variant {variant} was not trained with {where}")
    return [
        Point(tuple(group[list(columns)].iloc[0]), group.set_index("seed")[metric])
        for _, group in rows.groupby(list(SHAPE))
    ]


def _stacked(points: Sequence[Sequence[pd.Series]]) -> Array:
    """Return (n_points, n_seeds, n_values) of the seeds that all have, in order."""
    seeds = sorted(set.intersection(*(set(one.index) for point in points for one in point)))
    return np.array([[one.loc[seeds] for one in point] for point in points]).swapaxes(1, 2)


def unit_of(metric: str) -> tuple[str, float]:
    """Return the unit of a metric's differences, and what they are multiplied with."""
    column = PRINTED[metric]
    return ("points" if column.unit == "%" else column.unit), column.scale


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
