"""What region leak does to accuracy, and to how the samples spread over the leaves."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from fastff.analysis.distribution import runs_with_distribution
from fastff.analysis.failed import unless_all_failed
from fastff.analysis.lines import add_legend, draw_band
from fastff.analysis.looks import looks
from fastff.analysis.panels import heading
from fastff.analysis.style import theme, width_of, wrap
from fastff.analysis.summary import labels_of, require_one, summarise
from fastff.tables.format import COLUMNS
from fastff.tables.read import Tidy

PANEL_HEIGHT = 1.75  # inches
# By panel's title: the metrics of the hard and of the soft form.
ACCURACIES = {
    "test samples": ("accuracy_hard", "accuracy_soft"),
    "training samples": ("train_accuracy_hard", "train_accuracy_soft"),
}


@unless_all_failed
def draw_leak(tidy: Tidy, title: str) -> Figure:
    """Return accuracy on test and training samples, and entropy of the leaves, over the leak.

    The accuracy is that of the hard and of the soft form. Lines are means over seeds, bands their
    95 % t-intervals. The dashed line is the most that the entropy can be.

    Args:
        tidy: the tables of an experiment.
        title: what the figure shows; dataset and number of seeds are added.

    Raises:
        ValueError: for more than one depth or width.

    """
    runs = runs_with_distribution(tidy)
    for column in ("depth", "hidden_features"):
        require_one(runs, column)
    labels = labels_of(runs)
    hard = looks(list(labels))
    soft = {name: replace(look, dashes=(2.0, 1.0), marker="s") for name, look in hard.items()}
    metrics = [metric for pair in ACCURACIES.values() for metric in pair]
    summary = summarise(runs, [*metrics, "entropy"]).sort_values("region_leak", kind="stable")
    most = float(np.log2(runs["n_experts"].max()))
    with theme():
        figure = Figure(figsize=(width_of(3), 1.2 + PANEL_HEIGHT), layout="constrained")
        panels = figure.subplots(1, 3)
        panels[0].sharey(panels[1])
        for variant in labels:
            lines = summary[summary["variant"] == variant]
            for axes, pair in zip(panels, ACCURACIES.values(), strict=False):
                for metric, look in zip(pair, (hard[variant], soft[variant]), strict=True):
                    draw_band(axes, lines, "region_leak", metric, look)
            draw_band(panels[2], lines, "region_leak", "entropy", hard[variant])
        for axes, name in zip(panels, (*ACCURACIES, "leaves, hard form"), strict=True):
            axes.set_title(name)
            axes.set_xlabel("region leak")
            axes.xaxis.set_major_locator(MaxNLocator(6))
        panels[0].set_ylabel("accuracy (%)")
        panels[1].tick_params(labelleft=False)
        panels[2].set_ylabel(COLUMNS["entropy"].heading)
        panels[2].axhline(most, color="0.25", linewidth=0.7, linestyle=(0, (4, 2)))
        panels[2].set_ylim(0, 1.08 * most)
        figure.suptitle(wrap(heading(runs, title), figure.get_figwidth(), heading=True))
        forms, names = {}, {}
        for variant, label in labels.items():
            for form, styles in (("hard", hard), ("soft", soft)):
                forms[f"{variant}, {form}"] = styles[variant]
                names[f"{variant}, {form}"] = f"{label}, {form} form"
        add_legend(figure, forms, names, "; dashed: the most there can be", interval="bands")
    return figure
