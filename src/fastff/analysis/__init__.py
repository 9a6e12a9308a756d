"""From tidy tables to statistics, tables and figures: all that the notebooks call."""

from fastff.analysis.comparisons import compare, rank
from fastff.analysis.curves import draw_epochs, draw_gradients
from fastff.analysis.distribution import distribution, runs_with_distribution, trend
from fastff.analysis.distribution_figures import draw_distribution, draw_entropy
from fastff.analysis.findings import (
    describe_comparisons,
    describe_ranking,
    describe_runs,
    describe_trend,
)
from fastff.analysis.panels import draw_panels
from fastff.analysis.save import save_figure
from fastff.analysis.summary import labels_of, mean_ci, summarise
from fastff.analysis.tables import to_latex, to_markdown, write_table
from fastff.analysis.tidy import Tidy, TidyError, load_table, load_tidy

__all__ = [
    "Tidy",
    "TidyError",
    "compare",
    "describe_comparisons",
    "describe_ranking",
    "describe_runs",
    "describe_trend",
    "distribution",
    "draw_distribution",
    "draw_entropy",
    "draw_epochs",
    "draw_gradients",
    "draw_panels",
    "labels_of",
    "load_table",
    "load_tidy",
    "mean_ci",
    "rank",
    "runs_with_distribution",
    "save_figure",
    "summarise",
    "to_latex",
    "to_markdown",
    "trend",
    "write_table",
]
