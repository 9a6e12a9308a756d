"""What the tables say, as sentences: numbers in a notebook's text are computed, never typed."""

from __future__ import annotations

import pandas as pd

from fastff.analysis.columns import COLUMNS, METRICS, show_p

LEVEL = 0.05


def describe_runs(runs: pd.DataFrame) -> str:
    """Return a sentence on what was trained, and how."""
    first = runs.iloc[0]
    variants, seeds = runs["variant"].nunique(), runs["seed"].nunique()
    depths = ", ".join(str(x) for x in sorted(runs["depth"].unique()))
    widths = ", ".join(str(x) for x in sorted(runs["hidden_features"].unique()))
    return (
        f"{len(runs)} runs on `{first['dataset']}`: {variants} variants × depth {depths} × "
        f"{widths} hidden units × {seeds} seeds. Each run: {first['epochs']} epochs, batch size "
        f"{first['batch_size']}, peak learning rate {first['learning_rate']:g}."
    )


def describe_comparisons(comparisons: pd.DataFrame) -> str:
    """Return a line per comparison and metric: the change, and whether the test is significant."""
    if comparisons.empty:
        return "The config names no comparisons for this experiment."
    lines = []
    for row in comparisons.to_dict("records"):
        change = COLUMNS["change"].show_interval(row["change_mean"], row["change_ci"])
        n_points = row["n_points"]
        lines.append(
            f"- **{row['treatment_label']}** against **{row['baseline_label']}**, "
            f"{METRICS.get(row['metric'], row['metric'])}: {change} % relative, better at "
            f"{row['n_better']} of {n_points} grid points; {_verdict(row['t'], row['p'])}."
        )
    return "\n".join(lines)


def describe_ranking(ranking: pd.DataFrame, metric: str = "accuracy_hard") -> str:
    """Return a sentence with the variants, best first."""
    column = COLUMNS[metric]
    order = " > ".join(
        f"{row['label']} ({column.show(row[f'{metric}_mean'])} %)"
        for row in ranking.to_dict("records")
    )
    n_points = ranking["n_points"].iloc[0]
    points = f"over {n_points} grid points" if n_points > 1 else "over seeds"
    return f"By mean {METRICS[metric]} {points}: {order}."


def describe_trend(trend: pd.DataFrame) -> str:
    """Return a line per variant and depth: whether entropy falls as experts get wider."""
    lines = []
    for row in trend.to_dict("records"):
        where = f"- **{row['label']}**, depth {row['depth']} ({row['n_experts']} experts)"
        if pd.isna(row["rho"]):
            lines.append(f"{where}: no trend can be computed from these runs.")
            continue
        if row["p"] >= LEVEL:
            verdict = "no clear trend"
        elif row["rho"] < 0:
            verdict = "entropy falls as experts get wider: the data moves to fewer of them"
        else:
            verdict = "entropy rises as experts get wider: the data spreads"
        lines.append(
            f"{where}: rho = {row['rho']:+.2f}, {_p(row['p'])}, {row['n_runs']} runs: {verdict}."
        )
    return "\n".join(lines)


def _verdict(t: float, p: float) -> str:
    if pd.isna(p):
        return "no test is possible"
    significant = "significant" if p < LEVEL else "not significant"
    return f"paired t = {t:.2f}, {_p(p)}: {significant} at {100 * LEVEL:g} %"


def _p(value: float) -> str:
    shown = show_p(value)
    return f"p < {shown[1:]}" if shown.startswith("<") else f"p = {shown}"
