"""The ledger: every claim with what was published, what the results here say, and the verdict."""

from __future__ import annotations

import logging
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from statsmodels.stats.multitest import multipletests

from fastff.analysis.distribution import distribution
from fastff.analysis.timings import read_times
from fastff.claims.file import (
    BEST,
    Claim,
    ClaimsFile,
    CrossingSpec,
    Direction,
    PairedSpec,
    RunStatistic,
    SlopeSpec,
    Speed,
    SpeedupSpec,
)
from fastff.claims.runs import Estimate, NotTestedError, Runs, estimate_of_runs
from fastff.claims.times import TimeEstimate, estimate_of_times
from fastff.claims.verdict import NOT_TESTED, judge
from fastff.tables.provenance import launch_of
from fastff.tables.read import TidyError, load_table
from fastff.tables.schema import (
    BITS_PER_BYTE,
    CHOICES,
    LANGUAGE,
    LEDGER,
    MEASURES,
    RUN,
    SCORES,
    TIDY,
)

log = logging.getLogger(__name__)

NUMBERS = tuple(column.name for column in LEDGER.columns if column.dtype == "real")
COUNTS = tuple(column.name for column in LEDGER.columns if column.dtype == "integer")
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

    def runs(
        self, experiment: str, metrics: Collection[str], epoch: int | None = None
    ) -> tuple[pd.DataFrame, str]:
        """Return the runs of an experiment with the metrics, and the commit that they are of.

        Args:
            experiment: its name.
            metrics: that are needed.
            epoch: after which the scores are; by default those of the runs.

        Raises:
            NotTestedError: where there are none, or not so many epochs.
            TidyError: for a table that can't be read, and for several.

        """
        roots = [root for root in self.folders if any((root / "tidy" / experiment).glob("runs.*"))]
        if not roots or not self._may_read(experiment):
            raise NotTestedError(f"no runs of experiment {experiment}")
        if len(roots) > 1:
            both = " and ".join(str(root) for root in roots[:2])
            raise TidyError(f"experiment {experiment} is in {both}; allowed is one folder")
        folder = roots[0] / "tidy" / experiment
        tables = TIDY if set(metrics).isdisjoint(BITS_PER_BYTE) else LANGUAGE
        runs = load_table(folder, "runs", tables=tables)
        if not set(metrics).isdisjoint(MEASURES):
            measures = distribution(load_table(folder, "expert_counts"))[[*RUN, *MEASURES]]
            runs = runs.merge(measures, on=list(RUN), how="left", validate="one_to_one")
        if epoch is not None or BEST in metrics:
            runs = _with_epochs(runs, load_table(folder, "epochs"), epoch)
        launch = launch_of(roots[0], experiment) or {}
        return runs, str(launch.get("commit", ""))

    def times(self, benchmark: str) -> pd.DataFrame:
        """Return the rows of a benchmark, of all machines, with `training_width`.

        Raises:
            NotTestedError: where there are none.
            TidyError: for a table that can't be read.

        """
        paths = [folder / "benchmarks" / f"{benchmark}.csv" for folder in self.folders]
        found = [path for path in paths if path.exists()]
        if not found or not self._may_read(benchmark):
            raise NotTestedError(f"no measurements of {benchmark}")
        rows = pd.concat([read_times(path) for path in found], ignore_index=True)
        return rows.rename(columns={"width": "training_width"})

    def _may_read(self, name: str) -> bool:
        return self.only is None or name in self.only


def _with_epochs(runs: pd.DataFrame, epochs: pd.DataFrame, epoch: int | None) -> pd.DataFrame:
    """Return the runs with BEST, NaN of those that failed, and the scores after an epoch.

    Raises:
        NotTestedError: where no run has the epoch.

    """
    best = epochs.groupby(list(RUN))["accuracy_hard"].max().rename(BEST)
    runs = runs.merge(best, on=list(RUN), how="left", validate="one_to_one")
    runs[BEST] = runs[BEST].where(runs["accuracy_hard"].notna())
    if epoch is None:
        return runs
    scores = epochs.loc[epochs["epoch"] == epoch, [*RUN, *SCORES]]
    if scores.empty:
        raise NotTestedError(f"the runs have no epoch {epoch}")
    runs = runs.drop(columns=list(SCORES))
    return runs.merge(scores, on=list(RUN), how="left", validate="one_to_one")


def ledger(claims: ClaimsFile, tables: Tables) -> pd.DataFrame:
    """Return a row per claim, in the order of the file, with the columns of LEDGER.

    `p_holm` is the p-value corrected after Holm, over the replications that have a test, and apart
    over all other claims. Of a claim that isn't tested, the numbers are NaN and the counts 0, and
    `reason` says why. A replication whose runs are of another dataset than the published ones is a
    generalisation in this ledger. Only a replication is compared with the published value.

    Raises:
        TidyError: for a table that is there, but can't be read.

    """
    rows = []
    for name, claim in claims.claims.items():
        row: dict[str, Any] = dict.fromkeys(NUMBERS, np.nan) | dict.fromkeys(COUNTS, 0)
        row |= dict.fromkeys(LEDGER.texts, "") | _described(name, claim, claims)
        try:
            row |= _tested(claims, claim, tables)
        except NotTestedError as reason:
            row |= {"verdict": NOT_TESTED, "reason": str(reason)}
        log.info("%s: %s", name, row["verdict"])
        rows.append(row)
    table = pd.DataFrame(rows, columns=list(LEDGER.header))
    replicated = table["kind"] == "replication"
    for group in (replicated, ~replicated):
        tested = group & table["p_value"].notna()
        if tested.any():
            p_values = table.loc[tested, "p_value"]
            table.loc[tested, "p_holm"] = multipletests(p_values, method="holm")[1]
    for column in NUMBERS:
        table[column] = [float(f"{value:.{DIGITS}g}") for value in table[column]]
    return table


def _tested(claims: ClaimsFile, claim: Claim, tables: Tables) -> dict[str, Any]:
    """Return what a row has of a claim's test. Raises NotTestedError."""
    spec, expects = claim.statistic, claim.expects
    if spec is None or expects is None:
        raise NotTestedError(str(claim.not_tested))
    kind = claim.kind
    found: Estimate | TimeEstimate
    if isinstance(spec, SpeedupSpec | CrossingSpec):
        times = tables.times(claim.block)
        found = estimate_of_times(times, spec, str(claim.device), claims.least_processes)
        row: dict[str, Any] = {"dataset": found.machine, "runs_commit": found.commit}
    else:
        assert not isinstance(expects, Speed)
        runs, commit = _runs_of(claim.block, spec, tables)
        found = estimate_of_runs(
            runs,
            spec,
            expects,
            least_seeds=claims.least_seeds,
            best_of=claim.published.best_of if claim.published is not None else None,
        )
        row = {"dataset": found.dataset, "runs_commit": commit, "exception": found.exception}
        row["best_effect"] = found.best_effect
        row |= {"n_shapes": found.n_shapes, "n_agree": found.n_agree}
        row |= dict(zip(("prediction_low", "prediction_high"), found.prediction, strict=True))
        row |= {"p_value": found.p_value}
        row |= dict(zip(("study_t", "study_p"), found.over_shapes, strict=True))
        if claim.published is not None and found.dataset != claim.published.dataset:
            kind = "generalisation"
    row["kind"] = kind
    verdict, reason = judge(found, expects, claim.published if kind == "replication" else None)
    numbers = {key: getattr(found, key) for key in ("effect", "low", "high", "unit", "n")}
    return row | numbers | {"verdict": verdict, "reason": reason}


def _runs_of(experiment: str, spec: RunStatistic, tables: Tables) -> tuple[Runs, str]:
    """Return the runs of each origin of a statistic, and their commits, as text."""
    runs, commits = {}, []
    for origin in spec.origins():
        other, epoch = origin
        runs[origin], commit = tables.runs(other or experiment, spec.metrics(), epoch)
        commits.append(commit)
    return runs, ", ".join(filter(None, dict.fromkeys(commits)))


def _described(name: str, claim: Claim, claims: ClaimsFile) -> dict[str, Any]:
    """Return what a row has of the claims file."""
    row: dict[str, Any] = {
        "claim": name,
        "kind": claim.kind,
        "source": f"{claims.sources[claim.source]}, {claim.where}",
        "short": claim.short or name.replace("_", " "),
        "statement": claim.statement,
        "model": claim.model,
        "experiment": claim.block,
        "target": claim.target or claim.block,
        "device": claim.device or "",
        "decided": claim.decided,
        "rules_commit": claims.registered_of(claim),
    }
    if claim.published is not None:
        row |= {"published": claim.published.text, "mark": claim.published.mark}
        row["published_dataset"] = claim.published.dataset or ""
        if claim.published.value is not None:
            row["published_value"] = claim.published.value
    if claim.expects is not None:
        row["expects"] = claim.expects.kind
        row["margin"] = getattr(claim.expects, "margin", np.nan)
    spec = claim.statistic
    if isinstance(spec, PairedSpec | SlopeSpec):
        row["statistic"] = f"{spec.kind} of {' against '.join(spec.metrics())}"
        if isinstance(claim.expects, Direction) and claim.expects.sided == "one":
            row["statistic"] += ", one-sided"
        if isinstance(spec, PairedSpec) and any(pair.minus for pair in spec.pairs):
            row["statistic"] += ", less that of other pairs"
        row["form"] = " against ".join(dict.fromkeys(map(form_of, spec.metrics())))
    elif spec is not None:
        sides = (f"{side.variant} ({side.mode})" for side in (spec.treatment, spec.baseline))
        row["statistic"] = f"{spec.kind}, {' against '.join(sides)}"
        row |= {key: str(spec.where.get(key, "")) for key in ("dtype", "batch")}
        if spec.along == "batch":
            places = spec.at if isinstance(spec, SpeedupSpec) else (spec.last,)
            row["batch"] = ", ".join(f"{place:g}" for place in places)
    return row


def form_of(metric: str) -> str:
    """Return the form of the layer that a metric is of.

    Measures of experts are of hard choices, but those of training samples of soft ones.
    """
    soft = metric.endswith("_soft") or metric in ("train_loss", "validation_loss", *CHOICES)
    return "soft" if soft else "hard"
