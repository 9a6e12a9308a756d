"""The ledger: every claim with its effect, interval, test and verdict."""

from __future__ import annotations

import logging
from dataclasses import asdict

import numpy as np
import pandas as pd
from statsmodels.stats.multitest import multipletests

from fastff.claims.estimate import Estimate, NotTestableError
from fastff.claims.runs import estimate_of_runs
from fastff.claims.spec import Claim, ClaimsFile
from fastff.claims.speed import estimate_of_times
from fastff.claims.statistics import CrossingSpec, OfRuns, SpeedupSpec
from fastff.claims.tables import Tables
from fastff.claims.verdict import NOT_TESTABLE, judge

log = logging.getLogger(__name__)

COLUMNS = (
    *("claim", "source", "statement", "published", "experiment", "target", "device", "statistic"),
    *("effect", "low", "high", "unit", "n", "p_value", "p_holm", "verdict", "reason"),
)
NUMBERS = ("effect", "low", "high", "p_value", "p_holm")
DIGITS = 6  # significant ones that are written: the last bits differ between processors


def ledger(claims: ClaimsFile, tables: Tables) -> pd.DataFrame:
    """Return a row per claim, in the order of the file, with the columns of COLUMNS.

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
    table = pd.DataFrame(rows, columns=list(COLUMNS))
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
