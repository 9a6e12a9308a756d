"""Are two means the same? Welch's interval of their difference, for a table's cells together."""

from __future__ import annotations

import numpy as np
import pandas as pd
from scipy import stats

LEVEL = 0.95


def compare_means(left: pd.DataFrame, right: pd.DataFrame, level: float = LEVEL) -> pd.DataFrame:
    """Return the cells that two sides have in common, with the interval of their difference.

    The difference of two means of independent runs has the standard error `sqrt(a + b)`, for their
    squared errors `a` and `b`, and by Welch and Satterthwaite
    `(a + b)**2 / (a**2 / (n_a - 1) + b**2 / (n_b - 1))` degrees of freedom. The interval is
    Bonferroni's: with m cells each has the level `1 - (1 - level) / m`, so that two trees of one
    and the same code pass all cells of a table with a probability of at least `level`. Runs of the
    same seed on two machines start alike; the more alike they stay, the narrower is the difference,
    and the safer the interval.

    Args:
        left: `mean`, `squared_error`, `n` and `missing` by key and column, as `Estimates.means`.
        right: the other side.
        level: of all intervals of the table together.

    Returns:
        By key and column: `left`, `right`, `difference` (right less left), `half_width` (NaN where
        a side has a single run) and `verdict`: `same` for equal means, `within` for a difference
        inside the interval, and `outside`, also where only one side has values, or other shares of
        runs without.

    """
    both = left.add_suffix("_left").join(right.add_suffix("_right"), how="inner")
    a, b = both["squared_error_left"], both["squared_error_right"]
    cells = pd.DataFrame({"left": both["mean_left"], "right": both["mean_right"]})
    cells["difference"] = cells["right"] - cells["left"]
    with np.errstate(divide="ignore", invalid="ignore"):
        freedom = (a + b) ** 2 / (a**2 / (both["n_left"] - 1) + b**2 / (both["n_right"] - 1))
    # two errors of 0 have no degrees of freedom, and an interval of no width
    quantile = stats.t.isf((1 - level) / 2 / max(len(both), 1), freedom.fillna(np.inf))
    cells["half_width"] = quantile * np.sqrt(a + b)
    same = (cells["left"] == cells["right"]) | (cells["left"].isna() & cells["right"].isna())
    missing = (both["missing_left"] - both["missing_right"]).abs() > 1e-9
    within = (cells["difference"].abs() <= cells["half_width"]) & ~missing
    verdict = np.where(same & ~missing, "same", np.where(within, "within", "outside"))
    return cells.assign(verdict=verdict)


def compare_exactly(left: pd.DataFrame, right: pd.DataFrame) -> pd.DataFrame:
    """Return the values that must be the same and are not, by key and column: `left`, `right`."""
    keys = list(left.index.names)
    sides = []
    for side in (left, right):
        long = side.reset_index().melt(keys, var_name="column", value_name="value")
        sides.append(long.set_index([*keys, "column"])["value"])
    both = pd.concat(sides, axis=1, join="inner", keys=["left", "right"])
    equal = (both["left"] == both["right"]) | (both["left"].isna() & both["right"].isna())
    return both[~equal]
