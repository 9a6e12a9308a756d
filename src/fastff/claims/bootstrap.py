"""Intervals by a hierarchical bootstrap: grid points are drawn, and seeds within each."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from fastff.claims.spec import BootstrapSpec

Array = NDArray[np.float64]


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
