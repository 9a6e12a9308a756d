"""How evenly the samples spread over the experts, and whether that changes with their width."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.ticker import FixedFormatter, FixedLocator, MaxNLocator, NullLocator
from numpy.typing import NDArray
from scipy import special, stats

from fastff.analysis.failed import draw_nothing, unless_all_failed
from fastff.analysis.lines import add_legend, draw_lines, heading, line_styles
from fastff.analysis.style import class_colours, theme, width_of, wrap
from fastff.analysis.summary import labels_of, mean_ci, require_one, summarise
from fastff.tables.format import COLUMNS
from fastff.tables.read import HEAD, RUN, Tidy, failed
from fastff.tables.schema import MEASURES


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


BARS_HEIGHT, LINES_HEIGHT = 1.3, 1.75  # inches of a panel
HEADROOM = 1.3  # of the highest bar, for the panel's note
DRAWN_MEASURES = ("entropy", "used_experts")


@unless_all_failed
def draw_distribution(tidy: Tidy, variant: str, title: str) -> Figure:
    """Return the stacked bars of one variant: a row per depth, a column per width.

    In each run the experts are sorted by their number of validation samples, the fullest first;
    then the shares of each place are averaged over seeds, class by class. (An expert has no
    number that means the same in two runs.) The dashed line is the even share.

    Args:
        tidy: the tables of an experiment.
        variant: which one to draw.
        title: what the figure shows; label, dataset and number of seeds are added.

    Raises:
        ValueError: for a variant without runs, or with more than one region leak.

    """
    runs = tidy.runs[tidy.runs["variant"] == variant]
    if runs.empty:
        found = ", ".join(labels_of(tidy.runs))
        raise ValueError(f"no runs of variant {variant!r}; there are runs of {found}")
    require_one(runs, "region_leak")
    if failed(runs).all():
        return draw_nothing(f"{title}: {runs['label'].iloc[0]}")
    counts = last_epoch(tidy.expert_counts[tidy.expert_counts["variant"] == variant])
    entropies = distribution(counts)
    depths = sorted(counts["depth"].unique())
    widths = sorted(counts["hidden_features"].unique())
    classes = sorted(counts["class"].unique())
    colours = class_colours(len(classes))

    with theme():
        size = (width_of(len(widths)), 1.1 + BARS_HEIGHT * len(depths))
        figure = Figure(figsize=size, layout="constrained")
        grid = figure.subplots(len(depths), len(widths), sharex="row", sharey="row", squeeze=False)
        for row, depth in zip(grid, depths, strict=True):
            row[0].set_ylabel(f"depth {depth}")
            highest = 0.0
            for axes, width in zip(row, widths, strict=True):
                shape = (counts["depth"] == depth) & (counts["hidden_features"] == width)
                if not shape.any():
                    axes.set_axis_off()
                    continue
                shares = 100 * ranked_shares(counts[shape])
                highest = max(highest, shares.sum(axis=1).max())
                _draw_bars(axes, shares, colours)
                same = (entropies["depth"] == depth) & (entropies["hidden_features"] == width)
                entropy, _ = mean_ci(entropies.loc[same, "entropy"])
                most = np.log2(len(shares))
                unit = "bit" if most == 1 else "bits"
                axes.set_title(f"{entropy:.2f} of {most:g} {unit}", y=0.82, loc="right")
            row[0].set_ylim(0, HEADROOM * highest)
        for axes in grid[-1]:
            axes.set_xlabel("experts, fullest first")
        for axes, width in zip(grid[0], widths, strict=True):
            axes.annotate(
                f"{width} hidden units",
                xy=(0.5, 1),
                xytext=(0, 6),
                xycoords="axes fraction",
                textcoords="offset points",
                ha="center",
            )
        label = f"{title}: {runs['label'].iloc[0]}"
        figure.suptitle(wrap(heading(runs, label), figure.get_figwidth(), heading=True))
        figure.supylabel("share of validation samples (%)")
        figure.legend(
            handles=[Patch(color=c, label=str(k)) for k, c in zip(classes, colours, strict=True)],
            title=wrap(
                "class (mean over seeds; top right: mean entropy; dashed: even share)",
                figure.get_figwidth(),
            ),
            loc="outside lower center",
            ncols=min(len(classes), int(figure.get_figwidth() / 0.6)),
            handlelength=1.0,
        )
    return figure


def ranked_shares(counts: pd.DataFrame) -> NDArray[np.float64]:
    """Return mean shares, of shape (n_experts, n_classes), for the runs of one shape.

    Row r is the mean over runs (and over the parallel trees of each) of the expert with the r-th
    most samples; all sum to 1.
    """
    keys = ["seed", "tree"]
    table = counts.pivot(index=[*keys, "expert"], columns="class", values="count").fillna(0)
    per_run = []
    for _, run in table.groupby(keys):
        samples = run.to_numpy(dtype=float)
        fullest_first = np.argsort(-samples.sum(axis=1), kind="stable")
        per_run.append(samples[fullest_first] / samples.sum())
    mean: NDArray[np.float64] = np.mean(per_run, axis=0)
    return mean


def _draw_bars(axes: Axes, shares: NDArray[np.float64], colours: list[str]) -> None:
    """Stack the classes of `shares`, (n_experts, n_classes) in percent."""
    n_experts = len(shares)
    places = np.arange(1, n_experts + 1)
    bottom = np.zeros(n_experts)
    for share, colour in zip(shares.T, colours, strict=True):
        axes.bar(places, share, bottom=bottom, color=colour, width=0.86, linewidth=0)
        bottom = bottom + share
    axes.axhline(100 / n_experts, color="0.25", linewidth=0.7, linestyle=(0, (4, 2)))
    middle = [n_experts // 2] if n_experts > 2 else []
    axes.xaxis.set_major_locator(FixedLocator([1, *middle, n_experts]))
    axes.yaxis.set_major_locator(MaxNLocator(3))
    axes.set_xlim(0.3, n_experts + 0.7)


@unless_all_failed
def draw_entropy(tidy: Tidy, title: str) -> Figure:
    """Return the figure of entropy and number of used experts over the experts' width.

    A column per depth, a line per variant: means over seeds, bars their 95 % t-intervals. The
    dashed lines are the most there can be: log2(n_experts) bits, and all experts.

    Args:
        tidy: the tables of an experiment.
        title: what the figure shows; dataset and number of seeds are added.

    Raises:
        ValueError: for more than one region leak.

    """
    require_one(tidy.runs, "region_leak")
    runs = runs_with_distribution(tidy)
    summary = summarise(runs, DRAWN_MEASURES)
    labels = labels_of(runs)
    styles = line_styles(list(labels))
    depths = sorted(summary["depth"].unique())
    widths = sorted(summary["hidden_features"].unique())
    with theme():
        size = (width_of(len(depths)), 0.9 + LINES_HEIGHT * len(DRAWN_MEASURES))
        figure = Figure(figsize=size, layout="constrained")
        grid = figure.subplots(len(DRAWN_MEASURES), len(depths), sharex=True, squeeze=False)
        for column, depth in zip(grid.T, depths, strict=True):
            panel = summary[summary["depth"] == depth]
            n_experts = panel["n_experts"].iloc[0]
            column[0].set_title(f"depth {depth}, {n_experts} experts")
            most = {"entropy": float(np.log2(n_experts)), "used_experts": float(n_experts)}
            for axes, metric in zip(column, DRAWN_MEASURES, strict=True):
                axes.axhline(most[metric], color="0.25", linewidth=0.7, linestyle=(0, (4, 2)))
                draw_lines(axes, panel, "hidden_features", metric, styles, spread=0.16, log=True)
                axes.set_ylim(0, 1.08 * most[metric])
            step = max(1, n_experts // 4)
            column[1].yaxis.set_major_locator(FixedLocator(range(0, n_experts + 1, step)))
            column[-1].set_xlabel("hidden units")
            column[-1].set_xscale("log", base=2)
            column[-1].xaxis.set_major_locator(FixedLocator(widths))
            column[-1].xaxis.set_major_formatter(FixedFormatter([str(w) for w in widths]))
            column[-1].xaxis.set_minor_locator(NullLocator())
        for axes, measure in zip(grid[:, 0], DRAWN_MEASURES, strict=True):
            axes.set_ylabel(COLUMNS[measure].heading)
        figure.align_ylabels(grid[:, 0])
        figure.suptitle(wrap(heading(runs, title), figure.get_figwidth(), heading=True))
        add_legend(figure, styles, labels, "; dashed: the most there can be")
    return figure
