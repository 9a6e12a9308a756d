"""From tidy tables to statistics, tables and figures: all that the notebooks call."""

from fastff.analysis.comparisons import compare, rank
from fastff.analysis.curves import draw_epochs, draw_gradients
from fastff.analysis.distribution import distribution, runs_with_distribution, trend
from fastff.analysis.distribution_figures import draw_distribution, draw_entropy
from fastff.analysis.findings import (
    describe_comparisons,
    describe_ranking,
    describe_runs,
    describe_scores,
    describe_trend,
)
from fastff.analysis.findings_sizes import describe_leak, describe_sizes
from fastff.analysis.findings_training import (
    describe_gradients,
    describe_regions,
    describe_shares,
    describe_trees,
)
from fastff.analysis.forms import draw_forms
from fastff.analysis.heat_maps import draw_heat_maps
from fastff.analysis.leak import draw_leak
from fastff.analysis.ledger import (
    count_verdicts,
    describe_ledger,
    load_ledger,
    shown_ledger,
    write_ledger,
)
from fastff.analysis.ledger_figure import draw_ledger
from fastff.analysis.node_gradients import draw_node_gradients
from fastff.analysis.panels import draw_panels
from fastff.analysis.planes import draw_leak_projections, draw_projections
from fastff.analysis.region_figures import draw_regions
from fastff.analysis.regions import tree_regions
from fastff.analysis.save import save_figure
from fastff.analysis.shares import draw_shares
from fastff.analysis.size_figures import draw_sizes
from fastff.analysis.sizes import feed_forward, match_sizes, routed
from fastff.analysis.speed import (
    describe_speedups,
    draw_speedups,
    load_engine_benchmark,
    speedups,
)
from fastff.analysis.summary import labels_of, mean_ci, summarise
from fastff.analysis.tables import to_latex, to_markdown, write_table
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
from fastff.analysis.tree_figures import draw_trees
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
    "draw_forms",
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
