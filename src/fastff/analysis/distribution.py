"""How evenly the samples spread over the experts, and whether that changes with their width."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from scipy import special, stats

from fastff.tables.read import Tidy, failed
from fastff.tables.schema import HEAD, MEASURES, RUN


def last_epoch(expert_counts: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of each run's last counted epoch."""
    last = expert_counts.groupby(list(RUN))["epoch"].transform("max")
    return expert_counts[expert_counts["epoch"] == last]


def samples_per_expert(expert_counts: pd.DataFrame) -> pd.DataFrame:
    """Return each expert's number and share of samples, a row per run, epoch, tree and expert.

    Every tree of a run gets all samples: its shares of an epoch sum to 1. Raises ValueError for a
    run without samples.
    """
    keys = [*HEAD, "epoch", "tree"]
    samples = expert_counts.groupby([*keys, "expert"], sort=False, as_index=False)["count"].sum()
    total = samples.groupby(keys, sort=False)["count"].transform("sum")
    if (total == 0).any():
        run = samples.loc[total == 0, list(RUN)].iloc[0]
        where = ", ".join(f"{key} {value}" for key, value in run.items())
        raise ValueError(f"expert_counts: all counts are 0 for {where}; allowed is at least one")
    return samples.assign(share=samples["count"] / total)


def distribution(expert_counts: pd.DataFrame) -> pd.DataFrame:
    """Return how each run spreads the validation samples over its experts, a row per run.

    After its last epoch; the measures of `distribution_per_tree`, as means over the trees.
    """
    trees = distribution_per_tree(last_epoch(expert_counts))
    return trees.groupby(list(HEAD), sort=False, as_index=False)[list(MEASURES)].mean()


def distribution_per_tree(expert_counts: pd.DataFrame) -> pd.DataFrame:
    """Return how evenly samples spread over experts, a row per run, counted epoch and tree.

    With `p_e` the share of samples that the hard form of the gate sends to expert `e`:

    - `entropy`: `-sum p_e log2 p_e`, in bits, at most `log2(n_experts)`;
    - `effective_experts`: `2 ** entropy`, the number of equally used experts of that entropy;
    - `used_experts`: how many experts get at least one sample.

    Raises:
        ValueError: for a run without samples.

    """
    samples = samples_per_expert(expert_counts)
    samples["entropy"] = special.entr(samples["share"]) / np.log(2)
    samples["used_experts"] = (samples["count"] > 0).astype(int)
    keys = [*HEAD, "epoch", "tree"]
    trees = samples.groupby(keys, sort=False, as_index=False)[["entropy", "used_experts"]].sum()
    trees["effective_experts"] = 2.0 ** trees["entropy"]
    return trees


def runs_with_distribution(tidy: Tidy) -> pd.DataFrame:
    """Return the runs table with the columns of MEASURES added; NaN for what doesn't route."""
    measures = distribution(tidy.expert_counts)[[*RUN, *MEASURES]]
    return tidy.runs.merge(measures, on=list(RUN), how="left", validate="one_to_one")


def trend(runs: pd.DataFrame, measure: str = "entropy") -> pd.DataFrame:
    """Return whether a measure rises or falls with the experts' width, per variant and depth.

    Spearman's rank correlation of `hidden_features` with the measure over runs, and its two-sided
    p-value (t approximation, not corrected for the number of rows). Both are NaN where there is
    one width only, or the measure is the same in all runs. Runs that have failed don't count.

    Args:
        runs: a row per run, as `runs_with_distribution` returns them.
        measure: a column of `runs`.

    """
    rows: list[dict[str, Any]] = []
    keys = ["experiment", "dataset", "variant", "label", "depth", "n_experts"]
    for key, every in runs.groupby(keys, sort=False):
        group = every[~failed(every)]
        rho = p = float("nan")
        # two runs always lie on a line, and a constant has no ranks
        if len(group) > 2 and group["hidden_features"].nunique() > 1 < group[measure].nunique():
            rho, p = (float(x) for x in stats.spearmanr(group["hidden_features"], group[measure]))
        row = {"measure": measure, "rho": rho, "p": p, "n_runs": len(group)}
        rows.append(dict(zip(keys, key, strict=True)) | row)
    return pd.DataFrame(rows)
