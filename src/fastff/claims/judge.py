"""Judging the claims: from the tables to the ledger, every claim with its test and verdict."""

from __future__ import annotations

import logging
import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from statsmodels.stats.multitest import multipletests

from fastff.analysis.distribution import distribution
from fastff.analysis.ledger import VERDICTS
from fastff.claims.estimate import Estimate, NotTestableError
from fastff.claims.runs import estimate_of_runs
from fastff.claims.spec import (
    Alternatives,
    Bound,
    Claim,
    ClaimsFile,
    CrossingSpec,
    OfRuns,
    Rule,
    SpeedupSpec,
)
from fastff.claims.speed import estimate_of_times, load_times
from fastff.tables.read import load_table
from fastff.tables.schema import LEDGER, MEASURES, RUN

REPRODUCES, IN_PART, DOES_NOT, NOT_TESTABLE = VERDICTS
NAMES = {
    "effect": "the effect",
    "low": "the interval's lower end",
    "high": "the interval's upper end",
    "p_holm": "Holm's p",
    "share": "the share of the published value",
    "slowest": "the least speed-up",
    "fastest": "the largest speed-up",
    "last": "the speed-up at the last point",
}
log = logging.getLogger(__name__)
NUMBERS = ("effect", "low", "high", "p_value", "p_holm")
DIGITS = 6  # significant ones that are written: the last bits differ between processors


@dataclass(frozen=True)
class Tables:
    """Folders with results, as the workflow writes them and the repository holds them.

    Attributes:
        folders: each has `tidy/<experiment>/<table>.csv` (or `.csv.xz`) and
            `benchmarks/<benchmark>.csv`, or one of the two. An experiment is in one of them; a
            benchmark's rows of several machines may be in several.
        only: the experiments and benchmarks that may be read; None for all that there are.

    """

    folders: Sequence[Path]
    only: Collection[str] | None = None

    def runs(self, experiment: str, metric: str) -> pd.DataFrame:
        """Return the runs of an experiment, with the metric.

        Raises:
            NotTestableError: where there are none, or they lack the metric.
            TidyError: for a table that can't be read.

        """
        folders = [folder / "tidy" / experiment for folder in self.folders]
        found = [folder for folder in folders if any(folder.glob("runs.csv*"))]
        if not found or not self._may_read(experiment):
            raise NotTestableError(f"no runs of experiment {experiment}")
        runs = load_table(found[0], "runs")
        if metric in MEASURES:
            measures = distribution(load_table(found[0], "expert_counts"))[[*RUN, *MEASURES]]
            runs = runs.merge(measures, on=list(RUN), how="left", validate="one_to_one")
        return runs

    def times(self, benchmark: str) -> pd.DataFrame:
        """Return the rows of a benchmark, of all machines.

        Raises:
            NotTestableError: where there are none.
            TidyError: for a table that can't be read.

        """
        paths = [folder / "benchmarks" / f"{benchmark}.csv" for folder in self.folders]
        found = [path for path in paths if path.exists()]
        if not found or not self._may_read(benchmark):
            raise NotTestableError(f"no measurements of {benchmark}")
        return load_times(found)

    def _may_read(self, name: str) -> bool:
        return self.only is None or name in self.only


def judge(rule: Rule, numbers: Mapping[str, float]) -> tuple[str, str]:
    """Return the verdict, and why: the conditions that hold, or those that fail.

    Args:
        rule: of the claim.
        numbers: at least those that the rule asks for; NaN where there is none.

    """
    if holds(rule.reproduces, numbers):
        return REPRODUCES, _describe(rule.reproduces, numbers, met=True)
    if holds(rule.in_part, numbers):
        return IN_PART, _describe(rule.reproduces, numbers, met=False)
    return DOES_NOT, _describe(rule.in_part, numbers, met=False)


def holds(alternatives: Alternatives, numbers: Mapping[str, float]) -> bool:
    """Return whether all conditions of one of the alternatives hold."""
    return any(
        all(bound.holds(numbers[key]) for key, bound in conditions.items())
        for conditions in alternatives
    )


def _describe(alternatives: Alternatives, numbers: Mapping[str, float], *, met: bool) -> str:
    """Return the conditions of the first alternative that holds, or what fails in each."""
    said = []
    for conditions in alternatives:
        whole = holds((conditions,), numbers)
        if met and not whole:
            continue
        said.append(
            ", ".join(
                _say(key, bound, numbers[key], met=met)
                for key, bound in conditions.items()
                if bound.holds(numbers[key]) == met
            )
        )
        if met:
            break
    return "; ".join(said)


def _say(key: str, bound: Bound, value: float, *, met: bool) -> str:
    limits = [f"above {bound.above:g}"] if bound.above is not None else []
    limits += [f"below {bound.below:g}"] if bound.below is not None else []
    number = "missing" if math.isnan(value) else f"{value:.3g}"
    return f"{NAMES[key]} is {number}, {'' if met else 'not '}{' and '.join(limits)}"


def ledger(claims: ClaimsFile, tables: Tables) -> pd.DataFrame:
    """Return a row per claim, in the order of the file, with the columns of LEDGER.

    `p_holm` is the p-value corrected after Holm over all claims of the ledger that have a test.
    Where a claim is not testable, `effect`, `low`, `high`, `p_value`, `p_holm` are NaN, `n` is 0,
    and `reason` says why.

    Raises:
        TidyError: for a table that is there, but can't be read.

    """
    found = {name: _estimate(claims, claim, tables) for name, claim in claims.claims.items()}
    holm = holm_corrected({n: e.p_value for n, e in found.items() if isinstance(e, Estimate)})
    rows = []
    for name, claim in claims.claims.items():
        estimate = found[name]
        row = _described(name, claim, claims)
        if isinstance(estimate, str):
            row |= dict.fromkeys(NUMBERS, np.nan) | {"unit": "", "n": 0}
            row |= {"verdict": NOT_TESTABLE, "reason": estimate}
        else:
            p_holm = holm.get(name, np.nan)
            value = claim.published.value
            share = estimate.effect / value if value else np.nan
            numbers = asdict(estimate) | dict(estimate.more) | {"p_holm": p_holm, "share": share}
            verdict, why = judge(claims.rules[claim.rule], numbers)
            row |= {key: numbers[key] for key in (*NUMBERS, "unit", "n")}
            row |= {"verdict": verdict, "reason": f"{why} ({estimate.detail})"}
        rows.append(row)
        log.info("%s: %s", name, row["verdict"])
    table = pd.DataFrame(rows, columns=list(LEDGER.header))
    for column in NUMBERS:
        table[column] = [float(f"{value:.{DIGITS}g}") for value in table[column]]
    return table


def holm_corrected(p_values: dict[str, float]) -> dict[str, float]:
    """Return the p-values corrected after Holm; those that are NaN are left out."""
    tested = {name: p for name, p in p_values.items() if not np.isnan(p)}
    if not tested:
        return {}
    corrected = multipletests(list(tested.values()), method="holm")[1]
    return dict(zip(tested, map(float, corrected), strict=True))


def _estimate(claims: ClaimsFile, claim: Claim, tables: Tables) -> Estimate | str:
    """Return what the claim's statistic is, or why there is none."""
    spec = claim.statistic
    try:
        if isinstance(spec, SpeedupSpec | CrossingSpec):
            return estimate_of_times(tables.times(claim.block), spec, str(claim.device))
        runs = tables.runs(claim.block, spec.metric)
        return estimate_of_runs(runs, spec, claims.least_seeds, claims.bootstrap)
    except NotTestableError as reason:
        return str(reason)


def _described(name: str, claim: Claim, claims: ClaimsFile) -> dict[str, object]:
    spec = claim.statistic
    said = f"{spec.kind} of {spec.metric}" if isinstance(spec, OfRuns) else spec.kind
    return {
        "claim": name,
        "source": f"{claims.sources[claim.source]}, {claim.where}",
        "statement": claim.statement,
        "published": claim.published.text,
        "experiment": claim.block,
        "target": claim.target or claim.block,
        "device": claim.device or "any",
        "statistic": said,
    }
