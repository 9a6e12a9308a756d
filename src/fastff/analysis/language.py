"""Language models: loss against width, parameters, time and use of the layers."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from operator import itemgetter

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator

from fastff.analysis.lines import (
    LineStyle,
    draw_band,
    family_of,
    family_style,
    heading,
    label_ends,
    line_styles,
)
from fastff.analysis.style import (
    CENTRE,
    FONT_SIZE,
    LIMIT,
    TWO_COLUMNS,
    log_ticks,
    theme,
    wrap,
)
from fastff.analysis.summary import labels_of, mean_ci, summarise
from fastff.tables.read import LABEL, load_table, read_table
from fastff.tables.schema import LANGUAGE, LANGUAGE_TIMES, PRINTED, SHAPE

LOSS = "bits_per_byte"
NONE, DENSE = "none", "dense_"  # the models without, and with dense feed-forward layers
OTHER_STYLE = LineStyle("0.35", (), "*")
MODES = {"eager": "eager", "graph": "CUDA graph", "compiled": "compiled", "max_autotune": "tuned"}
OPS = {
    "train_step": "training step, per byte",
    "forward": "batch, per byte",
    "token": "one byte after another",
}
NEAR = 0.03  # share of a panel's width within which names of points are set below each other
ROOM = 0.1  # share of a panel's width that a name needs at the right of its point
PANEL = 2.9  # height of a panel with names, in inches
USED = {
    "ever_visited": "experts, leaves or nodes ever visited (%)",
    "entropy": "entropy of the shares at the end (bits)",
}


@dataclass(frozen=True)
class LanguageTables:
    """The tidy tables of a language model, and the times of its variants.

    Attributes:
        runs: a row per run.
        usage: a row per run, look and block of a layer that chooses.
        generated: a row per variant that wrote something.
        times: rows of LANGUAGE_TIMES with `us_per_byte`, a row per case, device, operation, mode
            and variant: medians over processes.

    """

    runs: pd.DataFrame
    usage: pd.DataFrame
    generated: pd.DataFrame
    times: pd.DataFrame


def load_language(
    folder: str | os.PathLike[str],
    times: Sequence[str | os.PathLike[str]],
    labels: Mapping[str, str],
) -> LanguageTables:
    """Read the tables of a language model.

    Args:
        folder: with its tidy tables.
        times: tables of its benchmark; of a device the first with rows counts.
        labels: of the variants.

    Raises:
        TidyError: for a file that can't be read, lacks a column or has text for a number.

    """
    runs = load_table(folder, "runs", labels, LANGUAGE)
    usage, generated = (
        load_table(folder, name, labels, LANGUAGE, may_be_empty=True)
        for name in ("usage", "generated")
    )
    return LanguageTables(runs, usage, generated, load_language_times(times))


def load_language_times(paths: Sequence[str | os.PathLike[str]]) -> pd.DataFrame:
    """Return the rows of the first table of each device, with `us_per_byte`."""
    found: list[pd.DataFrame] = []
    for path in paths:
        table = read_table(path, LANGUAGE_TIMES)
        seen = {device for rows in found for device in rows["device"]}
        found.append(table[~table["device"].isin(seen)])
    if not found:
        return pd.DataFrame(columns=[*LANGUAGE_TIMES.header, "us_per_byte"])
    rows = pd.concat(found, ignore_index=True)
    keys = ["case", "device", "device_name", "dtype", "op", "mode", "variant", LABEL, "batch"]
    medians = rows.groupby(keys, sort=False)[["median_us", "q25_us", "q75_us", "peak_bytes"]]
    table = medians.median().reset_index()
    return table.assign(us_per_byte=table["median_us"] / table["batch"])


def share_of_gap(runs: pd.DataFrame) -> pd.Series[float]:
    """Return by variant which share of the gap between none and the widest dense layer it closes.

    (L_none - L) / (L_none - L_dense), of mean losses; NaN where one of both is missing.
    """
    means = runs.groupby("variant", sort=False)[LOSS].mean()
    dense = _widest_dense(runs)
    if dense is None or NONE not in means:
        return means * np.nan
    return (means[NONE] - means) / (means[NONE] - means[dense])


def summarise_language(runs: pd.DataFrame) -> pd.DataFrame:
    """Return a row per variant: sizes, the loss of both forms, and the share of the gap."""
    table = summarise(runs, [LOSS, f"{LOSS}_soft"]).drop(columns=[*SHAPE, "n_experts"])
    active = runs.groupby("variant")["active_parameters"].first()
    place = list(table).index("n_parameters") + 1
    table.insert(place, "active_parameters", table["variant"].map(active))
    return table.assign(gap_share=table["variant"].map(share_of_gap(runs)))


def draw_language_width(runs: pd.DataFrame, title: str) -> Figure:
    """Return the loss over the units that a byte visits in a block, and over all parameters."""
    with theme():
        figure = Figure(figsize=(TWO_COLUMNS, 2 * PANEL + 0.9), layout="constrained")
        panels = figure.subplots(2, 1)
        widths = runs.groupby("variant")["inference_width"].first()
        sizes = runs.groupby("variant")["n_parameters"].first() / 1e6
        places = {
            "units that a byte visits in a block": widths[widths > 0],
            "parameters of the model (millions)": sizes,
        }
        for axes, (text, place) in zip(panels, places.items(), strict=True):
            _draw_losses(axes, runs, place)
            axes.set(xlabel=text, ylabel=PRINTED[LOSS].heading)
            _add_share(axes, runs)
        _finish(figure, runs, title)
    return figure


def draw_language_time(tables: LanguageTables, title: str) -> Figure:
    """Return the loss over the measured time of a byte: a panel per device and operation."""
    times = fastest(tables.times)
    times = times[times["op"].isin(["forward", "token"])]
    groups = [*times.groupby(["device", "op"], sort=False)]
    n_panels = max(1, len(groups))
    with theme():
        figure = Figure(figsize=(TWO_COLUMNS, n_panels * PANEL + 0.9), layout="constrained")
        panels = figure.subplots(n_panels, 1, squeeze=False)[:, 0]
        if not groups:
            panels[0].annotate("not measured", **CENTRE)
        for axes, ((_, op), rows) in zip(panels, groups, strict=False):
            _draw_losses(axes, tables.runs, rows.set_index("variant")["us_per_byte"])
            axes.set_title(f"{OPS[op]} · {rows['device_name'].iloc[0].split(',')[0]}")
            axes.set(xlabel="time of a byte (µs)", ylabel=PRINTED[LOSS].heading)
            _add_share(axes, tables.runs)
        _finish(figure, tables.runs, title)
    return figure


def draw_language_usage(tables: LanguageTables, title: str) -> Figure:
    """Return which share of a layer was ever visited, over the steps, and the entropy by block.

    A column per family of layers, and the two measures below each other.
    """
    usage, labels = tables.usage, labels_of(tables.usage)
    styles = line_styles([*dict.fromkeys(usage["variant"])])
    families = [*dict.fromkeys(map(family_of, styles))]
    last = usage[usage["step"] == usage["step"].max()]
    with theme():
        figure = Figure(figsize=(TWO_COLUMNS, 4.2), layout="constrained")
        grid = figure.subplots(2, max(1, len(families)), squeeze=False, sharey="row")
        for row, (metric, text) in zip(grid, USED.items(), strict=True):
            over, rows = ("step", usage) if metric == "ever_visited" else ("layer", last)
            scale = PRINTED[metric].scale
            for axes, family in zip(row, families, strict=True):
                ends = []
                for variant in (name for name in styles if family_of(name) == family):
                    line = _means(rows[rows["variant"] == variant], over, metric)
                    draw_band(axes, line, over, metric, styles[variant])
                    end = scale * float(line[f"{metric}_mean"].iloc[-1])
                    ends.append((end, _short(labels[variant]), styles[variant].colour))
                axes.set_xlabel("step" if over == "step" else "block")
                axes.set_ylim(bottom=0)
                if over == "layer":
                    axes.xaxis.set_major_locator(FixedLocator(sorted(last["layer"].unique())))
                else:
                    axes.set_title(str(family))
                label_ends(axes, ends, 1.4)
            row[0].set_ylabel(wrap(text, 1.6))
        figure.suptitle(wrap(heading(tables.runs, title), TWO_COLUMNS, heading=True))
        figure.supxlabel("mean over seeds; bands: 95 % t-interval", fontsize=FONT_SIZE)
    return figure


def _means(rows: pd.DataFrame, over: str, metric: str) -> pd.DataFrame:
    """Return means over seeds, of each the mean over blocks, with intervals, over a column."""
    of_seeds = rows.groupby(["seed", over])[metric].mean().reset_index()
    found = [(x, *mean_ci(group[metric])) for x, group in of_seeds.groupby(over, sort=True)]
    return pd.DataFrame(found, columns=[over, f"{metric}_mean", f"{metric}_ci"])


def draw_language_times(times: pd.DataFrame, title: str) -> Figure:
    """Return the time of each variant by its fastest mode: a panel per device and operation."""
    groups = [*fastest(times).groupby(["device", "op"], sort=False)]
    variants = [*dict.fromkeys(times["variant"])]
    labels = labels_of(times)
    with theme():
        n_rows = max(1, -(-len(groups) // 3))
        height = 0.9 + n_rows * (0.8 + 0.145 * len(variants))
        figure = Figure(figsize=(TWO_COLUMNS, height), layout="constrained")
        n_columns = min(3, max(1, len(groups)))
        panels = figure.subplots(n_rows, n_columns, squeeze=False, sharey=True)
        for axes in panels.flat[len(groups) :]:
            axes.set_axis_off()
        for axes, ((_, op), rows) in zip(panels.flat, groups, strict=False):
            for row in rows.itertuples():
                style, y = _style(row.variant), variants.index(row.variant)
                bars = [[row.median_us - row.q25_us], [row.q75_us - row.median_us]]
                scaled = np.array(bars) / row.batch
                axes.errorbar(row.us_per_byte, y, xerr=scaled, elinewidth=0.7, **style.line)
            axes.set_xscale("log")
            log_ticks(axes.xaxis)
            device = rows["device_name"].iloc[0].split(",")[0]
            axes.set_title(wrap(f"{OPS[op]}, {rows['dtype'].iloc[0]} · {device}", 2.2))
            axes.set_xlabel("µs")
            axes.set_yticks(range(len(variants)), [labels[variant] for variant in variants])
            axes.set_ylim(len(variants) - 0.5, -0.5)
            axes.grid(axis="x")
        figure.suptitle(wrap(title, TWO_COLUMNS, heading=True))
    return figure


def fastest(times: pd.DataFrame) -> pd.DataFrame:
    """Return of each device, operation and variant the row of its fastest mode.

    Only the modes count in which the most variants were timed: one that a few of them have beside
    would let these look faster than the rest.
    """
    of_mode = times.groupby(["device", "op", "mode"])["variant"].transform("nunique")
    most = of_mode.groupby([times["device"], times["op"]]).transform("max")
    times = times[of_mode == most]
    best = times.groupby(["device", "op", "variant"], sort=False)["us_per_byte"].idxmin()
    return times.loc[best].sort_index()


def language_times_table(times: pd.DataFrame) -> pd.DataFrame:
    """Return each variant's time, as `fastest`, and how many times less than the widest dense's."""
    rows = fastest(times)
    keys = ["device", "op"]
    widths = rows["variant"].str.extract(f"^{DENSE}([0-9]+)$", expand=False).astype(float)
    dense = rows.assign(width=widths).dropna(subset="width").sort_values("width")
    widest = dense.drop_duplicates(keys, keep="last").set_index(keys)["median_us"]
    ratio = [widest.get((row.device, row.op), np.nan) / row.median_us for row in rows.itertuples()]
    columns = [LABEL, "device", "dtype", "op", "batch", "mode", "median_us"]
    return rows[columns].assign(ratio=ratio, peak_mib=rows["peak_bytes"] / 2**20)


def describe_language(tables: LanguageTables) -> str:
    """Return what the runs show, in words: the best model without dense layers, and the gap."""
    table = summarise_language(tables.runs).set_index("variant")
    labels = labels_of(tables.runs)
    means = table[f"{LOSS}_mean"].dropna()
    chosen = best_hard(tables.runs)
    if chosen is None or means.empty:
        return "No model with a layer that chooses has a finite loss."
    text = (
        f"Of the layers that choose, {labels[chosen]} has the lowest loss by its hard form: "
        f"{means[chosen]:.4f} bits per byte"
    )
    dense = _widest_dense(tables.runs)
    if dense is not None and NONE in means and dense in means:
        text += (
            f", where {labels[dense]} has {means[dense]:.4f} and {labels[NONE]} has "
            f"{means[NONE]:.4f}: {100 * table.loc[chosen, 'gap_share']:.0f} % of the gap, with "
            f"{table.loc[chosen, 'inference_width']:,} of {table.loc[dense, 'inference_width']:,} "
            "units a byte"
        )
    return text + "."


def best_hard(runs: pd.DataFrame) -> str | None:
    """Return the variant with a layer that chooses whose hard form has the lowest mean loss."""
    means = runs.groupby("variant", sort=False)[LOSS].mean().dropna()
    chosen = means[[v for v in means.index if v != NONE and not v.startswith(DENSE)]]
    return None if chosen.empty else str(chosen.idxmin())


def written_by(tables: LanguageTables, variant: str) -> str:
    """Return what a variant's first seed has written; "" for nothing."""
    rows = tables.generated[tables.generated["variant"] == variant]
    return "" if rows.empty else str(json.loads(rows["text"].iloc[0]))


def _widest_dense(runs: pd.DataFrame) -> str | None:
    dense = runs[runs["variant"].str.startswith(DENSE)]
    return None if dense.empty else str(dense.loc[dense["inference_width"].idxmax(), "variant"])


def _short(label: str) -> str:
    """Return a label without the family, which the colour says."""
    return label.partition(", ")[2] or label


def _style(variant: str) -> LineStyle:
    return OTHER_STYLE if variant == NONE else family_style(family_of(variant))


def _draw_losses(axes: Axes, runs: pd.DataFrame, places: pd.Series[float]) -> None:
    """Draw the mean loss of every variant at its place on a log axis, with names beside them."""
    labels = labels_of(runs)
    points: list[tuple[float, float, str]] = []
    line: list[tuple[float, float]] = []
    for variant, group in runs.groupby("variant", sort=False):
        mean, ci = mean_ci(group[LOSS])
        if variant == NONE:
            axes.axhline(mean, **LIMIT)
        if variant not in places.index or not np.isfinite(mean):
            continue
        x = float(places[variant])
        style = _style(str(variant))
        axes.errorbar(x, mean, yerr=ci, elinewidth=0.7, **{**style.line, "linestyle": ""}, zorder=3)
        if str(variant).startswith(DENSE):
            line.append((x, mean))
        elif variant != NONE:
            points.append((x, mean, _short(labels[str(variant)])))
    dense = family_style("feed-forward")
    axes.plot(*np.array(sorted(line)).reshape(-1, 2).T, color=dense.colour, linewidth=0.8, zorder=0)
    axes.set_xscale("log")
    axes.margins(x=0.12, y=0.08)
    log_ticks(axes.xaxis)
    _name(axes, points)


def _name(axes: Axes, points: Sequence[tuple[float, float, str]], height: float = PANEL) -> None:
    """Write names beside points (x, y, name), moved apart where those of near points would meet.

    They stand at the right, or at the left where there is more room.
    """
    to_axes = axes.transData + axes.transAxes.inverted()
    step = 1.25 * FONT_SIZE / 72 / height
    places = []
    for *point, name in points:
        x, y = to_axes.transform(point)
        places.append((float(x), float(y), str(name)))
    groups: list[list[tuple[float, float, str]]] = []
    for place in sorted(places):
        if not groups or place[0] - groups[-1][0][0] > NEAR:
            groups.append([])
        groups[-1].append(place)
    at = [-1.0, *(group[0][0] for group in groups), 2.0]
    for group, before, here, behind in zip(groups, at, at[1:], at[2:], strict=False):
        is_left = behind - here < min(ROOM, here - before)
        last = -np.inf
        for x, y, name in sorted(group, key=itemgetter(1)):
            last = max(y, last + step)
            side = here - 0.014 if is_left else group[-1][0] + 0.014
            axes.annotate(
                name,
                (x, y),
                xytext=(side, last),
                xycoords="axes fraction",
                textcoords="axes fraction",
                ha="right" if is_left else "left",
                va="center",
                fontsize=FONT_SIZE,
                annotation_clip=False,
                zorder=1,  # below points and their bars
                bbox={"facecolor": "white", "alpha": 0.8, "edgecolor": "none", "pad": 0.3},
                arrowprops={"arrowstyle": "-", "linewidth": 0.3, "color": "0.6", "shrinkB": 2},
            )


def _add_share(axes: Axes, runs: pd.DataFrame) -> None:
    """Give a panel a second axis: the share of the gap that is closed."""
    dense, means = _widest_dense(runs), runs.groupby("variant")[LOSS].mean()
    if dense is None or NONE not in means or not np.isfinite(means[NONE] - means[dense]):
        return
    none, gap = means[NONE], means[NONE] - means[dense]
    if gap == 0:
        return
    axis = axes.secondary_yaxis(
        "right",
        functions=(lambda loss: 100 * (none - loss) / gap, lambda share: none - share * gap / 100),
    )
    axis.set_ylabel("share of the gap closed (%)")


def _finish(figure: Figure, runs: pd.DataFrame, title: str) -> None:
    """Add title and legend: families by colour and marker."""
    figure.suptitle(wrap(heading(runs, title), figure.get_figwidth(), heading=True))
    families = dict.fromkeys(family_of(name) for name in runs["variant"].unique() if name != NONE)
    handles = [
        Line2D([], [], label=name, **{**family_style(name).line, "linestyle": ""})
        for name in families
    ]
    handles.append(Line2D([], [], label="no feed-forward layer", **LIMIT))
    figure.legend(
        handles=handles,
        loc="outside lower center",
        ncols=len(handles),
        title="mean over seeds of the hard form; bars: 95 % t-interval; line: dense layers",
    )
