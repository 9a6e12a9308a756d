"""Runs as arrays over grid points and seeds, for the test and the bootstrap."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fastff.claims.estimate import NotTestableError
from fastff.claims.statistics import PairedSpec, SlopeSpec
from fastff.tables.schema import SHAPE

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
