"""From tidy tables to statistics, tables and figures: all that the notebooks call."""

from fastff.analysis.curves import draw_epochs, draw_gradients
from fastff.analysis.distribution import distribution, runs_with_distribution, trend
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
from fastff.analysis.forms import draw_forms
from fastff.analysis.grids import draw_changes, draw_heat_maps, draw_leak
from fastff.analysis.language import (
    best_hard,
    describe_language,
    draw_language_time,
    draw_language_times,
    draw_language_usage,
    draw_language_width,
    language_times_table,
    load_language,
    load_language_times,
    summarise_language,
    written_by,
)
from fastff.analysis.ledger import (
    count_verdicts,
    describe_ledger,
    load_ledger,
    shown_ledger,
    write_ledger,
)
from fastff.analysis.ledger_figure import draw_ledger, draw_ledger_times
from fastff.analysis.planes import draw_leak_projections, draw_projections
from fastff.analysis.regions import draw_regions, tree_regions
from fastff.analysis.shares import draw_distribution, draw_entropy, draw_shares, draw_trees
from fastff.analysis.sizes import draw_sizes, feed_forward, match_sizes, routed
from fastff.analysis.speedups import (
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
    draw_layer_batches,
    draw_layer_times,
    draw_leaf_sizes,
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
