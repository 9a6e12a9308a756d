"""Statistics of benchmarks: how many times faster, and from which size on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from fastff.claims.file import CrossingSpec, SpeedupSpec, Timed
from fastff.claims.runs import Array, NotTestedError, mean_interval
from fastff.tables.schema import PROCESS


@dataclass(frozen=True)
class TimeEstimate:
    """A speed-up, or where two curves cross.

    Attributes:
        effect: the geometric mean of the speed-up over the processes; of a crossing the median
            place, NaN where the treatment doesn't overtake in most of them.
        low: of a speed-up Student's interval over the processes, of their logarithms; of a
            crossing the first place of all processes.
        high: the other end; NaN of a crossing where a process has none.
        n: how many processes.
        unit: "×", or the column along which the curves cross.
        n_overtaken: in how many processes the treatment overtakes.
        slower_first: whether it is slower at the first point in all of them.
        places: of a crossing, those that were timed, in order.
        machine: that the times are of.

    """

    effect: float
    low: float
    high: float
    n: int
    unit: str
    n_overtaken: int
    slower_first: bool
    places: tuple[float, ...]
    machine: str


def estimate_of_times(
    times: pd.DataFrame, spec: SpeedupSpec | CrossingSpec, device: str, least_processes: int
) -> TimeEstimate:
    """Return a speed-up or a crossing, of the baseline's median time over the treatment's.

    Args:
        times: a row per timed point and process.
        spec: which statistic.
        device: "cpu" or "cuda"; the rows of other devices are left out.
        least_processes: fewer don't test anything.

    Raises:
        NotTestedError: where no row has what is asked for, the rows are of several machines, or of
            too few processes.

    """
    rows = _where(times, {"device": device, **spec.where})
    machines = list(dict.fromkeys(rows["device_name"]))
    if len(machines) > 1:
        raise NotTestedError(f"rows of several machines ({', '.join(machines)})")
    sides = [_side(rows, side, spec.along) for side in (spec.treatment, spec.baseline)]
    ratios = sides[1].div(sides[0]).dropna(axis="columns", how="all")  # processes by places
    if ratios.empty:
        raise NotTestedError(f"the two sides were not timed at the same {spec.along}")
    if len(ratios) < least_processes:
        raise NotTestedError(
            f"timed in {_counted(len(ratios), 'process', 'processes')}; at least "
            f"{least_processes} are needed"
        )
    if isinstance(spec, CrossingSpec):
        return _crossing(ratios, spec, machines[0])
    return _speedup(ratios, spec, machines[0])


def _where(times: pd.DataFrame, values: Mapping[str, str | int | float]) -> pd.DataFrame:
    """Return the rows that have all values. Raises NotTestedError where there are none."""
    rows = times
    for column, value in values.items():
        rows = rows[rows[column] == value]
        if rows.empty:
            raise NotTestedError(f"no row of the benchmark has {column} {value}")
    return rows


def _side(rows: pd.DataFrame, side: Timed, along: str) -> pd.DataFrame:
    """Return the median times of one side, processes by places."""
    shown = f"{side.variant} ({side.mode})"
    try:
        found = _where(rows, side.values())
    except NotTestedError:
        raise NotTestedError(f"{shown} was not timed so") from None
    found = found.drop_duplicates([PROCESS, along, "depth", "hidden_features"])
    if found.duplicated([PROCESS, along]).any():
        raise NotTestedError(f"{shown} has several shapes at one {along}")
    return found.pivot(index=PROCESS, columns=along, values="median_us")


def _needed(ratios: pd.DataFrame, places: list[float], along: str) -> pd.DataFrame:
    for place in places:
        if place not in ratios or ratios[place].isna().any():
            raise NotTestedError(f"not timed at {along} {place:,g}, which the claim needs")
    return ratios[places]


def _speedup(ratios: pd.DataFrame, spec: SpeedupSpec, machine: str) -> TimeEstimate:
    logarithms: Array = np.log(_needed(ratios, list(spec.at), spec.along)).mean(axis=1).to_numpy()
    low, high = mean_interval(logarithms)
    return TimeEstimate(
        effect=float(np.exp(logarithms.mean())),
        low=float(np.exp(low)),
        high=float(np.exp(high)),
        n=len(ratios),
        unit="×",
        n_overtaken=int((logarithms > 0).sum()),
        slower_first=False,
        places=(),
        machine=machine,
    )


def _crossing(ratios: pd.DataFrame, spec: CrossingSpec, machine: str) -> TimeEstimate:
    places = sorted({*ratios.columns[ratios.columns <= spec.last], spec.last})
    ratios = _needed(ratios, places, spec.along)
    crossings = np.array([_from_where(row) for _, row in ratios.iterrows()])
    effect, low, high = (
        float(place) if np.isfinite(place) else np.nan
        for place in (np.median(crossings), crossings.min(), crossings.max())
    )
    return TimeEstimate(
        effect=effect,
        low=low,
        high=high,
        n=len(ratios),
        unit=spec.along,
        n_overtaken=int(np.isfinite(crossings).sum()),
        slower_first=bool((ratios[places[0]] < 1).all()),
        places=tuple(map(float, places)),
        machine=machine,
    )


def _from_where(ratios: pd.Series) -> float:
    """Return the first place from which on all ratios are above 1; infinity if the last isn't."""
    slower = np.flatnonzero(~(ratios.to_numpy() > 1))
    start = int(slower[-1]) + 1 if len(slower) else 0
    return float(ratios.index[start]) if start < len(ratios) else float("inf")


def _counted(number: int, one: str, several: str) -> str:
    return f"{number} {one if number == 1 else several}"
