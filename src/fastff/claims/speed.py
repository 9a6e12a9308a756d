"""Statistics of benchmarks: how many times faster, and from which size on."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping

import numpy as np
import pandas as pd
from scipy import stats

from fastff.analysis.timings import read_times
from fastff.claims.estimate import Estimate, NotTestableError
from fastff.claims.spec import BenchmarkStatistic, CrossingSpec, SpeedupSpec


def load_times(paths: Iterable[str | os.PathLike[str]]) -> pd.DataFrame:
    """Return the rows of a benchmark's tables, of one machine each, with `training_width`.

    Raises:
        TidyError: for a file that can't be read, lacks a column or has text for a number.

    """
    rows = pd.concat([read_times(path) for path in paths], ignore_index=True)
    return rows.rename(columns={"width": "training_width"})


def estimate_of_times(times: pd.DataFrame, spec: BenchmarkStatistic, device: str) -> Estimate:
    """Return a speed-up, or where two curves cross.

    `ratio` is the baseline's median time over the treatment's, at each value of `along` that both
    have. Its interval is no interval of confidence but the range of the quartiles: the lower end
    is the baseline's first quartile over the treatment's third, the upper end the other way round.

    Args:
        times: what `load_times` returned.
        spec: which statistic.
        device: "cpu" or "cuda"; the rows of other devices are left out.

    Raises:
        NotTestableError: where no row has what is asked for, or the rows are of several machines.

    """
    rows = _where(times, {"device": device, **spec.where})
    machines = list(dict.fromkeys(rows["device_name"]))
    if len(machines) > 1:
        raise NotTestableError(f"rows of several machines ({', '.join(machines)})")
    least = -np.inf if spec.least is None else spec.least
    most = np.inf if spec.most is None else spec.most
    rows = rows[rows[spec.along].between(least, most)]
    treatment = _fastest(rows, spec.treatment, spec.along, device)
    baseline = _fastest(rows, spec.baseline, spec.along, device)
    both = treatment.add_suffix("_treatment").join(baseline.add_suffix("_baseline"), how="inner")
    if both.empty:
        raise NotTestableError(f"the two sides were not timed at the same {spec.along}")
    if spec.needs is not None and spec.needs not in both.index:
        raise NotTestableError(
            f"not timed at {spec.along} {_show(spec.needs)}, which the claim needs"
        )
    ratios = pd.DataFrame(
        {
            "ratio": both["median_us_baseline"] / both["median_us_treatment"],
            "low": both["q25_us_baseline"] / both["q75_us_treatment"],
            "high": both["q75_us_baseline"] / both["q25_us_treatment"],
        }
    )
    if isinstance(spec, CrossingSpec):
        return _crossing(ratios, spec, machines[0])
    return _speedup(ratios, both, spec, machines[0])


def _where(times: pd.DataFrame, values: Mapping[str, str | int | float]) -> pd.DataFrame:
    """Return the rows that have all values. Raises NotTestableError where there are none."""
    rows = times
    for column, value in values.items():
        rows = rows[rows[column] == value]
        if rows.empty:
            raise NotTestableError(f"no row of the benchmark has {column} {value}")
    return rows


def _fastest(rows: pd.DataFrame, variants: Iterable[str], along: str, device: str) -> pd.DataFrame:
    """Return the fastest row of the variants at each value of `along`, which is the index."""
    found = rows[rows["variant"].isin(list(variants)) & rows["median_us"].gt(0)]
    if found.empty:
        raise NotTestableError(f"{' and '.join(variants)} was not timed on {device} at these sizes")
    return found.loc[found.groupby(along)["median_us"].idxmin()].set_index(along)


def _speedup(ratios: pd.DataFrame, both: pd.DataFrame, spec: SpeedupSpec, machine: str) -> Estimate:
    if spec.of == "mean":
        effect, low, high = (float(stats.gmean(ratios[key])) for key in ratios)
        ends = f"{_show(ratios.index[0])} to {_show(ratios.index[-1])}"
        at = f"geometric mean over {spec.along} {ends}"
    else:
        place = ratios["ratio"].idxmax()
        effect, low, high = (float(ratios.loc[place, key]) for key in ratios)
        row = both.loc[place]
        sides = (
            f"{row[f'variant_{side}']} ({row[f'mode_{side}']}) {row[f'median_us_{side}']:.3g} µs"
            for side in ("treatment", "baseline")
        )
        at = f"largest at {spec.along} {_show(place)}: {', '.join(sides)}"
    return Estimate(
        effect=effect,
        low=low,
        high=high,
        p_value=float("nan"),
        n=len(ratios),
        unit="×",
        detail=f"{machine}, {at}",
    )


def _crossing(ratios: pd.DataFrame, spec: CrossingSpec, machine: str) -> Estimate:
    first, last = ratios["ratio"].iloc[0], ratios["ratio"].iloc[-1]
    ends = f"{_show(ratios.index[0])} and {last:.3g}× at {_show(ratios.index[-1])}"
    return Estimate(
        effect=_from_where(ratios["ratio"]),
        low=_from_where(ratios["high"]),
        high=_from_where(ratios["low"]),
        p_value=float("nan"),
        n=len(ratios),
        unit=spec.along,
        detail=f"{machine}, speed-up {first:.3g}× at {spec.along} {ends}",
        more={
            "slowest": float(ratios["ratio"].min()),
            "fastest": float(ratios["ratio"].max()),
            "last": float(last),
        },
    )


def _from_where(ratios: pd.Series) -> float:
    """Return the first place from which on all ratios are above 1; NaN if the last one isn't."""
    slower = np.flatnonzero(~(ratios.to_numpy() > 1))
    start = int(slower[-1]) + 1 if len(slower) else 0
    return float(ratios.index[start]) if start < len(ratios) else float("nan")


def _show(place: float) -> str:
    return f"{int(place):,}" if place == int(place) else f"{place:g}"
