"""Statistics of benchmarks: how many times faster, and from which size on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from fastff.claims.file import CrossingSpec, SpeedupSpec, Timed
from fastff.claims.runs import Array, NotTestedError, mean_interval
from fastff.tables.schema import PROCESS

MACHINE = "device_name"


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
        n_overtaken: in how many processes the treatment overtakes, and is faster up to the last
            place.
        n_faster: in how many it is faster at any place.
        slower_first: whether it is slower at the first point in all of them.
        places: of a crossing, those that were timed, in order.
        machine: that the times are of.
        commit: that timed them; several after commas.

    """

    effect: float
    low: float
    high: float
    n: int
    unit: str
    n_overtaken: int
    n_faster: int
    slower_first: bool
    places: tuple[float, ...]
    machine: str
    commit: str


def estimate_of_times(
    times: pd.DataFrame, spec: SpeedupSpec | CrossingSpec, device: str, least_processes: int
) -> TimeEstimate:
    """Return a speed-up or a crossing, of the baseline's median time over the treatment's.

    Of several machines that have what is asked for, the one with the most processes counts.

    Args:
        times: a row per timed point and process.
        spec: which statistic.
        device: "cpu" or "cuda"; the rows of other devices are left out.
        least_processes: fewer don't test anything.

    Raises:
        NotTestedError: where no row has what is asked for, several machines have as many processes,
            or these are too few.

    """
    rows = _of_one_machine(_where(times, {"device": device, **spec.where}))
    rows_of = [_side(rows, side, spec.along) for side in (spec.treatment, spec.baseline)]
    treatment, baseline = (
        one.pivot(index=PROCESS, columns=spec.along, values="median_us") for one in rows_of
    )
    ratios = baseline.div(treatment).dropna(axis="columns", how="all")  # processes by places
    if ratios.empty:
        raise NotTestedError(f"the two sides were not timed at the same {spec.along}")
    if len(ratios) < least_processes:
        raise NotTestedError(
            f"timed in {_counted(len(ratios), 'process', 'processes')}; at least "
            f"{least_processes} are needed"
        )
    commits = dict.fromkeys(pd.concat(rows_of)["commit"])
    origin = {"machine": str(rows[MACHINE].iloc[0]), "commit": ", ".join(commits)}
    if isinstance(spec, CrossingSpec):
        return _crossing(ratios, spec, origin)
    return _speedup(ratios, spec, origin)


def _of_one_machine(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of the machine with the most processes. Raises NotTestedError for several."""
    counts = rows.groupby(MACHINE, sort=False)[PROCESS].nunique()
    most = list(counts.index[counts == counts.max()])
    if len(most) > 1:
        raise NotTestedError(f"rows of several machines ({', '.join(most)})")
    return rows[rows[MACHINE] == most[0]]


def _where(times: pd.DataFrame, values: Mapping[str, str | int | float]) -> pd.DataFrame:
    """Return the rows that have all values. Raises NotTestedError where there are none."""
    rows = times
    for column, value in values.items():
        rows = rows[rows[column] == value]
        if rows.empty:
            raise NotTestedError(f"no row of the benchmark has {column} {value}")
    return rows


def _side(rows: pd.DataFrame, side: Timed, along: str) -> pd.DataFrame:
    """Return the rows of one side, one per process and place. Raises NotTestedError."""
    shown = f"{side.variant} ({side.mode})"
    try:
        found = _where(rows, side.values())
    except NotTestedError:
        raise NotTestedError(f"{shown} was not timed so") from None
    found = found.drop_duplicates([PROCESS, along, "depth", "hidden_features"])
    if found.duplicated([PROCESS, along]).any():
        raise NotTestedError(f"{shown} has several shapes at one {along}")
    return found


def _needed(ratios: pd.DataFrame, places: list[float], along: str) -> pd.DataFrame:
    for place in places:
        if place not in ratios or ratios[place].isna().any():
            raise NotTestedError(f"not timed at {along} {place:,g}, which the claim needs")
    return ratios[places]


def _speedup(ratios: pd.DataFrame, spec: SpeedupSpec, origin: Mapping[str, str]) -> TimeEstimate:
    logarithms: Array = np.log(_needed(ratios, list(spec.at), spec.along)).mean(axis=1).to_numpy()
    low, high = mean_interval(logarithms)
    return TimeEstimate(
        effect=float(np.exp(logarithms.mean())),
        low=float(np.exp(low)),
        high=float(np.exp(high)),
        n=len(ratios),
        unit="×",
        n_overtaken=int((logarithms > 0).sum()),
        n_faster=int((logarithms > 0).sum()),
        slower_first=False,
        places=(),
        **origin,
    )


def _crossing(ratios: pd.DataFrame, spec: CrossingSpec, origin: Mapping[str, str]) -> TimeEstimate:
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
        n_faster=int((ratios > 1).any(axis="columns").sum()),
        slower_first=bool((ratios[places[0]] < 1).all()),
        places=tuple(map(float, places)),
        **origin,
    )


def _from_where(ratios: pd.Series) -> float:
    """Return the first place from which on all ratios are above 1; infinity if the last isn't."""
    slower = np.flatnonzero(~(ratios.to_numpy() > 1))
    start = int(slower[-1]) + 1 if len(slower) else 0
    return float(ratios.index[start]) if start < len(ratios) else float("inf")


def _counted(number: int, one: str, several: str) -> str:
    return f"{number} {one if number == 1 else several}"
