"""What testing a claim gives: an effect with its bootstrapped interval, or why there is none."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from fastff.claims.spec import BootstrapSpec

Array = NDArray[np.float64]


class NotTestableError(Exception):
    """The data at hand can't test a claim; the message says why."""


@dataclass(frozen=True)
class Estimate:
    """An effect, and how sure it is.

    Attributes:
        effect: in `unit`; NaN where there is none, as of a crossing that isn't.
        low: end of the interval.
        high: the other end.
        p_value: of the test against no effect; NaN where there is no test.
        n: how many pairs or points there are.
        unit: of effect and interval.
        detail: on what it was found.
        more: further numbers that a rule can ask for.

    """

    effect: float
    low: float
    high: float
    p_value: float
    n: int
    unit: str
    detail: str
    more: Mapping[str, float] = field(default_factory=dict)


def interval(
    samples: Array,
    statistic: Callable[[Array], Array],
    over: Literal["points", "seeds"],
    spec: BootstrapSpec,
) -> tuple[float, float]:
    """Return the percentile interval of a statistic.

    A resample draws with replacement: over "points" as many points as there are and, for each of
    them, as many seeds; over "seeds" seeds alone, the same for every point. All values of one
    point and seed stay together, so that what is paired stays paired. The draws depend on the
    shape of `samples` and on `spec` alone.

    Args:
        samples: of shape (n_points, n_seeds, n_values).
        statistic: takes an array of shape (resamples, n_points, n_seeds, n_values) and returns one
            of shape (resamples,).
        over: what is drawn.
        spec: resamples, seed and level.

    """
    n_points, n_seeds, _ = samples.shape
    draw = np.random.default_rng(spec.seed)
    if over == "points":
        points = draw.integers(n_points, size=(spec.resamples, n_points, 1))
        seeds = draw.integers(n_seeds, size=(spec.resamples, n_points, n_seeds))
    else:
        points = np.arange(n_points)[None, :, None]
        seeds = draw.integers(n_seeds, size=(spec.resamples, 1, n_seeds))
    found = statistic(samples[points, seeds])
    tail = (1 - spec.level) / 2
    low, high = np.quantile(found, [tail, 1 - tail])
    return float(low), float(high)
