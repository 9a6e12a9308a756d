"""What size and region leak do to accuracy, as sentences."""

from __future__ import annotations

import pandas as pd
from scipy import stats

from fastff.analysis.failed import said_unless_all_failed
from fastff.analysis.findings import say_p
from fastff.analysis.sizes import SENSES
from fastff.analysis.summary import labels_of, summarise
from fastff.tables.format import COLUMNS, METRICS


def describe_sizes(matched: pd.DataFrame) -> str:
    """Return a line per routed variant and notion of size: against feed-forward layers of it.

    Args:
        matched: what `match_sizes` returned.

    """
    lines = []
    for variant, label in labels_of(matched).items():
        for sense in SENSES:
            column = COLUMNS[f"{sense}_difference"]
            rows = matched[matched["variant"] == variant].dropna(subset=f"{sense}_difference_mean")
            where = f"- **{label}** against a feed-forward layer of {sense.replace('_', ' ')}"
            if rows.empty:
                lines.append(f"{where}: none was trained.")
                continue
            mean, width = rows[f"{sense}_difference_mean"], rows[f"{sense}_difference_ci"]
            lines.append(
                f"{where}: {column.show(mean.mean())} points of hard accuracy on average over "
                f"{len(rows)} shapes, from {column.show(mean.min())} to {column.show(mean.max())}; "
                f"better at {(mean > 0).sum()}, clearly (95 % interval) better at "
                f"{(mean - width > 0).sum()} and worse at {(mean + width < 0).sum()}."
            )
    return "\n".join(lines)


@said_unless_all_failed
def describe_leak(runs: pd.DataFrame) -> str:
    """Return a line per variant and form: accuracy without leak, at the best leak and the largest.

    With Spearman's rank correlation of leak and accuracy over runs, two-sided p (t approximation).
    """
    summary = summarise(runs, list(METRICS))
    lines = []
    for variant, label in labels_of(runs).items():
        own, rows = (table[table["variant"] == variant] for table in (runs, summary))
        rows = rows.sort_values("region_leak")
        for metric, name in METRICS.items():
            column = COLUMNS[metric]
            ends = [
                rows.iloc[0],
                rows.loc[rows[f"{metric}_mean"].fillna(-1.0).idxmax()],
                rows.iloc[-1],
            ]
            least, best, most = (
                f"{column.show_interval(row[f'{metric}_mean'], row[f'{metric}_ci'])} % at leak "
                f"{row['region_leak']:g}"
                for row in ends
            )
            text = f"- **{label}**, {name}: {least}, {most}; the best is {best}"
            if rows["region_leak"].nunique() > 1 < own[metric].nunique():
                rho, p = (float(x) for x in stats.spearmanr(own["region_leak"], own[metric]))
                text += f". Rank correlation with the leak: rho = {rho:+.2f}, {say_p(p)}"
            lines.append(f"{text}.")
    return "\n".join(lines)
