"""Statistics of runs: the unit is the seed, the shapes tell how general an effect is.

16 shapes that share 7 baselines are not 16 samples, but ten seeds are ten. So every seed gives one
number, the mean of its paired effects over the shapes, and intervals and tests are those of Student
over these numbers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats

from fastff.claims.file import (
    RUN_ENDS,
    Direction,
    Equivalence,
    Origin,
    PairedSpec,
    RunStatistic,
    SlopeSpec,
)
from fastff.tables.schema import CHOICES, SHAPE

Array = NDArray[np.float64]
Runs = Mapping[Origin, pd.DataFrame]
LEVEL = 0.95
# Unit of a metric's differences, and what they are multiplied with.
UNITS = {
    "accuracy": ("points", 100.0),
    "loss": ("nats", 1.0),
    "entropy": ("bits", 1.0),
    "bits_per_byte": ("bits per byte", 1.0),
    "experts": ("experts", 1.0),
    "epoch": ("epochs", 1.0),
}


class NotTestedError(Exception):
    """The data at hand can't test a claim; the message says why."""


@dataclass(frozen=True)
class Estimate:
    """An effect, and how sure it is.

    Attributes:
        effect: in `unit`: the mean over seeds.
        low: end of the interval for the mean.
        high: the other end.
        prediction: ends of the 95 % interval for one more run of each side, or for the best of more
            runs: what a published number is compared with.
        p_value: against no effect; of an equivalence, against an effect outside the margin.
        n: how many seeds.
        unit: of effect and intervals.
        dataset: that the runs are of.
        best_effect: in `unit`: of the best run of each side, the mean over shapes; NaN where the
            published number is of one run.
        n_shapes: over which a seed's effect is the mean.
        n_agree: how many of them agree with the claim: their mean over seeds is on its side of 0,
            or inside the margin of an equivalence.
        exception: the shape that is farthest from agreeing; "" where all agree.
        over_shapes: the study's own test, over the shapes of one run: the medians over seeds of t,
            treatment less baseline, and of p; NaN for a single shape.

    """

    effect: float
    low: float
    high: float
    prediction: tuple[float, float]
    p_value: float
    n: int
    unit: str
    dataset: str
    best_effect: float
    n_shapes: int
    n_agree: int
    exception: str
    over_shapes: tuple[float, float]


@dataclass(frozen=True)
class Effects:
    """Effects shape by shape and seed by seed, (n_shapes, n_seeds), and the shapes in words.

    `samples`, (n_shapes, n_seeds, k), are what they are of; those of `minus` pairs are among them,
    but their effects are subtracted, and their shapes not counted.
    """

    values: Array
    samples: Array
    shapes: Sequence[str]
    over_shapes: tuple[float, float] = (np.nan, np.nan)


def unit_of(metric: str) -> tuple[str, float]:
    """Return the unit of a metric's differences, and what they are multiplied with."""
    return next((unit for part, unit in UNITS.items() if part in metric), ("", 1.0))


def estimate_of_runs(
    runs: Runs,
    spec: RunStatistic,
    expects: Direction | Equivalence,
    *,
    least_seeds: int,
    best_of: int | None = None,
) -> Estimate:
    """Return a statistic of runs with its intervals and test.

    - "change": `100 (a - b) / b` of a seed's runs `a` of the treatment and `b` of the baseline;
      "difference": `a - b`; each the mean over the shapes, less that over the shapes of pairs
      with `minus`;
    - "slope": the least-squares slope of a seed's runs, the mean over the other shapes.

    The interval is Student's over the seeds, at 95 %; of a one-sided claim at 90 %, so that each
    end is a bound at 95 %; and of an equivalence at 90 %, the interval of two one-sided tests at
    5 %.

    Args:
        runs: for each of the statistic's origins the runs table, with the metrics.
        spec: which statistic.
        expects: what the claim says of it.
        least_seeds: fewer don't test anything.
        best_of: where the published number is of the best of so many runs of each side.

    Raises:
        NotTestedError: for runs of several datasets, too few seeds, a value that is not finite (a
            run that diverged), or seeds that all have the same effect.

    """
    datasets = list(dict.fromkeys(str(rows["dataset"].iloc[0]) for rows in runs.values()))
    if len(datasets) > 1:
        raise NotTestedError(f"the runs are of several datasets ({', '.join(datasets)})")
    effects = _slopes(runs, spec) if isinstance(spec, SlopeSpec) else _changes(runs, spec)
    values = effects.values
    n_shapes, n_seeds = values.shape
    if n_seeds < least_seeds:
        raise NotTestedError(f"{n_seeds} seeds; at least {least_seeds} are needed")
    if not np.isfinite(values).all():
        raise NotTestedError("a run has failed, or its metric is not finite")
    seeds = values.mean(axis=0)
    if np.allclose(seeds, seeds[0], rtol=1e-9, atol=1e-12):
        raise NotTestedError("all seeds have the same effect, so that no interval is known")
    effect = float(seeds.mean())
    two_sided = isinstance(expects, Direction) and expects.sided == "two"
    low, high = mean_interval(seeds, LEVEL if two_sided else 2 * LEVEL - 1)
    means = values.mean(axis=1)
    beyond = _beyond(means, expects)
    worst = int(np.argmax(beyond))
    scale = unit_of(spec.metric)[1]
    return Estimate(
        effect=effect,
        low=low,
        high=high,
        prediction=prediction_interval(seeds)
        if best_of is None
        else best_interval(effects.samples, best_of, scale),
        p_value=_p_value(seeds, expects),
        n=n_seeds,
        unit=_unit(spec),
        dataset=datasets[0],
        best_effect=np.nan if best_of is None else _best_effect(effects.samples, scale),
        n_shapes=n_shapes,
        n_agree=int((beyond < 0).sum()),
        exception=f"{effects.shapes[worst]}: {means[worst]:+.3g}" if beyond[worst] >= 0 else "",
        over_shapes=effects.over_shapes,
    )


def mean_interval(seeds: Array, level: float = LEVEL) -> tuple[float, float]:
    """Return Student's interval for the mean of numbers (n,), one per seed."""
    return _interval(seeds, level, np.sqrt(1 / len(seeds)))


def prediction_interval(seeds: Array, level: float = LEVEL) -> tuple[float, float]:
    """Return the interval that one more number like those of (n,) lies in."""
    return _interval(seeds, level, np.sqrt(1 + 1 / len(seeds)))


def best_interval(
    samples: Array, best_of: int, scale: float, level: float = LEVEL
) -> tuple[float, float]:
    """Return the interval for the difference of two sides, each the best of so many runs.

    A run of each side is normal. Its mean and spread are as unknown as the seeds leave them: from
    10,000 draws of both, by chi-square and normals (the posterior of flat priors, Student's t).

    Args:
        samples: (n_shapes, n_seeds, 2), the larger the better; the shapes' mean is what counts.
        best_of: runs of each side.
        scale: what differences are multiplied with.
        level: of the interval.

    """
    draw = np.random.default_rng(0)
    n_seeds = samples.shape[1]
    mean, spread = samples.mean(axis=1), samples.std(axis=1, ddof=1)  # (n_shapes, 2)
    size = (10_000, *mean.shape)
    spread = spread * np.sqrt((n_seeds - 1) / draw.chisquare(n_seeds - 1, size))
    mean = mean + spread * draw.standard_normal(size) / np.sqrt(n_seeds)
    runs = draw.standard_normal((best_of, *size))
    best = (mean + spread * runs).max(axis=0)  # (10,000, n_shapes, 2)
    found = scale * (best[..., 0] - best[..., 1]).mean(axis=1)
    low, high = np.quantile(found, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def _best_effect(samples: Array, scale: float) -> float:
    """Return the difference of the best run of both sides, the mean over (n_shapes, n_seeds, 2)."""
    best = samples.max(axis=1)
    return float(scale * (best[:, 0] - best[:, 1]).mean())


def _beyond(means: Array, expects: Direction | Equivalence) -> Array:
    """Return how far the shapes' means are from what a claim says; below 0 where they agree."""
    if isinstance(expects, Equivalence):
        return np.abs(means) - expects.margin
    return -means if expects.kind == "higher" else means


def _interval(seeds: Array, level: float, factor: float) -> tuple[float, float]:
    centre, n = float(seeds.mean()), len(seeds)
    half = float(stats.t.ppf((1 + level) / 2, n - 1) * seeds.std(ddof=1) * factor)
    return centre - half, centre + half


def _p_value(seeds: Array, expects: Direction | Equivalence) -> float:
    def one_sided(than: float, alternative: str) -> float:
        return float(stats.ttest_1samp(seeds, than, alternative=alternative).pvalue)

    if isinstance(expects, Equivalence):
        return max(one_sided(-expects.margin, "greater"), one_sided(expects.margin, "less"))
    if expects.sided == "two":
        return one_sided(0.0, "two-sided")
    return one_sided(0.0, "greater" if expects.kind == "higher" else "less")


def _changes(runs: Runs, spec: PairedSpec) -> Effects:
    samples, shapes, minus = paired_samples(runs, spec)
    change = samples[..., 0] - samples[..., 1]
    if spec.kind == "change":
        if (samples[..., 1] == 0).any():
            raise NotTestedError("a baseline is 0, so that no change is relative to it")
        change = 100 * change / samples[..., 1]
    else:
        change = unit_of(spec.metric)[1] * change
    if minus.any():
        plus = [name for name, is_minus in zip(shapes, minus, strict=True) if not is_minus]
        return Effects(change[~minus] - change[minus].mean(axis=0), samples, plus)
    return Effects(change, samples, shapes, _over_shapes(samples))


def _over_shapes(samples: Array) -> tuple[float, float]:
    """Return the medians over seeds of t and p of (n_shapes, n_seeds, 2), paired by shape."""
    change = samples[..., 0] - samples[..., 1]
    varies = ~np.isclose(change, change[0], rtol=1e-9, atol=1e-12, equal_nan=True).all(axis=0)
    if not varies.any():
        return np.nan, np.nan
    tested = stats.ttest_1samp(change[:, varies], 0)
    return float(np.median(tested.statistic)), float(np.median(tested.pvalue))


def _slopes(runs: Runs, spec: SlopeSpec) -> Effects:
    samples, places, shapes = slope_samples(runs[RUN_ENDS], spec)
    centred = places - places.mean()
    slopes = samples @ (unit_of(spec.metric)[1] * centred / (centred**2).sum())
    return Effects(slopes, samples, shapes)


def _unit(spec: RunStatistic) -> str:
    unit = unit_of(spec.metric)[0]
    if isinstance(spec, SlopeSpec):
        return f"{unit} per {spec.step if spec.step == 'doubling' else format(spec.step, 'g')}"
    return "%" if spec.kind == "change" else unit


@dataclass(frozen=True)
class Point:
    """The runs of one shape: the values it is told apart by, and a metric by seed."""

    key: tuple[float, ...]
    name: str
    metric: pd.Series


def paired_samples(runs: Runs, spec: PairedSpec) -> tuple[Array, list[str], NDArray[np.bool_]]:
    """Return the metrics at every shape that both sides have, (n_shapes, n_seeds, 2), and these.

    The last axis is treatment and baseline, paired by seed. A side with a single shape is compared
    with the other side's single shape, whatever the two are. Last comes which shapes, (n_shapes,),
    are of pairs with `minus`.

    Raises:
        NotTestedError: where a variant has no runs or these lack the metric, no shape is on both
            sides of a pair, or one of the treatment has several of the baseline.

    """
    found: list[list[pd.Series]] = []
    names: list[str] = []
    minus: list[bool] = []
    for pair in spec.pairs:
        fixed = pair.treatment.shape() | pair.baseline.shape()
        columns = spec.match or [column for column in SHAPE if column not in fixed]
        sides = [
            _points(
                runs[side.origin],
                side.variant,
                side.shape(),
                side.metric or spec.metric,
                columns,
            )
            for side in (pair.treatment, pair.baseline)
        ]
        alone = spec.match is None and all(len(side) == 1 for side in sides)
        for point in sides[0]:
            others = [other for other in sides[1] if alone or other.key == point.key]
            if len(others) > 1:
                raise NotTestedError(
                    f"variant {pair.baseline.variant} has several shapes with {point.name}"
                )
            found += [[point.metric, other.metric] for other in others]
            names += [point.name for _ in others]
            minus += [pair.minus for _ in others]
    if not {pair.minus for pair in spec.pairs} <= set(minus):
        raise NotTestedError("the two sides have no shape in common")
    return _stacked(found), names, np.array(minus)


def slope_samples(runs: pd.DataFrame, spec: SlopeSpec) -> tuple[Array, Array, list[str]]:
    """Return the metric (n_shapes, n_seeds, n_places), the places (n_places,), and the shapes.

    A shape is one without the column `along`; the places are the values of that column which all
    shapes have, in units of the slope's step.

    Raises:
        NotTestedError: where the variant has no runs, these lack the metric, or there are fewer
            than two places.

    """
    others = [column for column in SHAPE if column != spec.along]
    shapes: dict[tuple[float, ...], dict[float, pd.Series]] = {}
    for point in _points(runs, spec.variant, spec.where, spec.metric, [*others, spec.along]):
        *key, place = point.key
        shapes.setdefault(tuple(key), {})[place] = point.metric
    places = sorted(set.intersection(*(set(places) for places in shapes.values())))
    if len(places) < 2:
        raise NotTestedError(f"{spec.along} has fewer than two values; a slope needs two")
    values = _stacked([[found[place] for place in places] for found in shapes.values()])
    names = [_named(others, key) for key in shapes]
    at = np.array(places, dtype=float)
    if spec.step != "doubling":
        return values, at / spec.step, names
    if at[0] <= 0:
        raise NotTestedError(f"{spec.along} is {at[0]:g}, which can't be doubled")
    return values, np.log2(at), names


def _points(
    runs: pd.DataFrame,
    variant: str,
    fixed: Mapping[str, float],
    metric: str,
    columns: Sequence[str],
) -> list[Point]:
    """Return the shapes of a variant with what is fixed of them, in order."""
    rows = runs[runs["variant"] == variant]
    if rows.empty:
        raise NotTestedError(f"variant {variant} was not trained")
    for column, value in fixed.items():
        rows = rows[rows[column] == value]
    if rows.empty:
        raise NotTestedError(
            f"variant {variant} was not trained with {_named(list(fixed), list(fixed.values()))}"
        )
    # a model without a gate has no choices
    if metric not in rows or (metric in CHOICES and rows[metric].isna().all()):
        raise NotTestedError(f"{metric} is not recorded in these runs of {variant}")
    points = []
    for _, group in rows.groupby(list(SHAPE)):
        key = tuple(group[list(columns)].iloc[0])
        points.append(Point(key, _named(columns, key), group.set_index("seed")[metric]))
    return points


def _named(columns: Sequence[str], values: Sequence[float]) -> str:
    return ", ".join(f"{name} {value:g}" for name, value in zip(columns, values, strict=True))


def _stacked(points: Sequence[Sequence[pd.Series]]) -> Array:
    """Return (n_shapes, n_seeds, n_values) of the seeds that all have, in order."""
    seeds = sorted(set.intersection(*(set(one.index) for point in points for one in point)))
    return np.array([[one.loc[seeds] for one in point] for point in points]).swapaxes(1, 2)
