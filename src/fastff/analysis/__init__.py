"""From tidy tables to statistics, tables and figures: all that the notebooks call."""

from fastff.analysis.curves import draw_epochs, draw_gradients, draw_node_gradients
from fastff.analysis.distribution import (
    distribution,
    draw_distribution,
    draw_entropy,
    runs_with_distribution,
    trend,
)
from fastff.analysis.findings import (
    describe_comparisons,
    describe_gradients,
    describe_leak,
    describe_ranking,
    describe_regions,
    describe_runs,
    describe_scores,
    describe_shares,
    describe_sizes,
    describe_trees,
    describe_trend,
)
from fastff.analysis.grids import draw_heat_maps, draw_leak, draw_panels
from fastff.analysis.ledger import (
    count_verdicts,
    describe_ledger,
    draw_ledger,
    load_ledger,
    shown_ledger,
    write_ledger,
)
from fastff.analysis.planes import draw_leak_projections, draw_projections
from fastff.analysis.regions import draw_regions, tree_regions
from fastff.analysis.shares import draw_shares, draw_trees
from fastff.analysis.sizes import draw_sizes, feed_forward, match_sizes, routed
from fastff.analysis.speed import (
    describe_speedups,
    draw_speedups,
    load_engine_benchmark,
    speedups,
)
from fastff.analysis.style import save_figure
from fastff.analysis.summary import compare, labels_of, mean_ci, rank, summarise
from fastff.analysis.timing_figures import (
    draw_expert_times,
    draw_gate_times,
    draw_layer_shapes,
    draw_layer_times,
    draw_tree_times,
)
from fastff.analysis.timings import (
    Timings,
    compare_times,
    describe_times,
    fastest_modes,
    load_timings,
)
from fastff.tables.format import to_latex, to_markdown, write_table
from fastff.tables.read import Tidy, TidyError, load_table, load_tidy

__all__ = [
    "Tidy",
    "TidyError",
    "Timings",
    "compare",
    "compare_times",
    "count_verdicts",
    "describe_comparisons",
    "describe_gradients",
    "describe_leak",
    "describe_ledger",
    "describe_ranking",
    "describe_regions",
    "describe_runs",
    "describe_scores",
    "describe_shares",
    "describe_sizes",
    "describe_speedups",
    "describe_times",
    "describe_trees",
    "describe_trend",
    "distribution",
    "draw_distribution",
    "draw_entropy",
    "draw_epochs",
    "draw_expert_times",
    "draw_gate_times",
    "draw_gradients",
    "draw_heat_maps",
    "draw_layer_shapes",
    "draw_layer_times",
    "draw_leak",
    "draw_leak_projections",
    "draw_ledger",
    "draw_node_gradients",
    "draw_panels",
    "draw_projections",
    "draw_regions",
    "draw_shares",
    "draw_sizes",
    "draw_speedups",
    "draw_tree_times",
    "draw_trees",
    "fastest_modes",
    "feed_forward",
    "labels_of",
    "load_engine_benchmark",
    "load_ledger",
    "load_table",
    "load_tidy",
    "load_timings",
    "match_sizes",
    "mean_ci",
    "rank",
    "routed",
    "runs_with_distribution",
    "save_figure",
    "shown_ledger",
    "speedups",
    "summarise",
    "to_latex",
    "to_markdown",
    "tree_regions",
    "trend",
    "write_ledger",
    "write_table",
]
