"""Times of single operations: ratios against hand-computed ones, figures, and what is refused."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from boxes import faults
from hypothesis import given
from hypothesis import strategies as st

from fastff.analysis import (
    TidyError,
    compare_times,
    describe_times,
    draw_expert_times,
    draw_gate_times,
    draw_layer_batches,
    draw_layer_times,
    draw_leaf_sizes,
    draw_tree_times,
    fastest_modes,
    load_timings,
    to_markdown,
)
from fastff.analysis.timings import read_times

REFERENCE = Path(__file__).parents[2] / "results" / "reference"


def row(variant, median, *, op="layer", case="width", mode="eager", device="cpu", **more):
    values = {
        "case": case, "op": op, "variant": variant, "label": variant.replace("_", " "),
        "device": device, "dtype": "float32", "batch": 32, "in_features": 8, "hidden_features": 4,
        "out_features": 8, "depth": 2, "n_experts": 4, "top_k": 1, "mode": mode,
        "median_us": median, "q25_us": 0.9 * median, "q75_us": 1.2 * median, "bytes": 1000,
        "flops": 100, "roofline_us": 0.5, "peak_bytes": 2**20, "device_name": f"A {device}",
        "driver": "", "torch": "2.14", "clock": "perf_counter", "threads": 1, "commit": "0123",
    }  # fmt: skip
    return values | more


def dense(median, width, **more):
    return row("dense", median, depth=0, n_experts=1, hidden_features=width, **more)


def layers(device="cpu"):
    return [
        line
        for depth in (1, 2, 3)
        for line in (
            row("fff", 2.0, depth=depth, n_experts=2**depth, device=device),
            dense(4.0 * 2**depth, 4 * 2**depth, device=device),
        )
    ]


@pytest.fixture
def write(tmp_path):
    def table(rows, name="table.csv"):
        path = tmp_path / name
        pd.DataFrame(rows).to_csv(path, index=False)
        return path

    return table


def test_what_this_run_measured_comes_first(write):
    here, there = write([row("fff", 1.0)]), write([row("fff", 9.0)], "other.csv")
    timings = load_timings([here], [there], "cpu")
    assert timings.rows["median_us"].tolist() == [1.0]
    assert timings.heading("Layers") == "Layers · A cpu, 1 thread used"


def test_a_reference_is_named_as_one(write):
    here = write([row("fff", 1.0)])
    there = write([row("fff", 9.0, device="cuda")], "other.csv")
    timings = load_timings([here], [there], "cuda")
    assert timings.rows["median_us"].tolist() == [9.0]
    assert timings.heading("Layers") == "Layers · A cuda · reference result"


def test_nothing_measured_anywhere_is_said_so(write):
    timings = load_timings([write([row("fff", 1.0)])], [], "cuda")
    assert timings.rows.empty
    figure = draw_layer_times(timings, "Layers", ["width"])
    assert [text.get_text() for text in figure.axes[0].texts] == ["not measured"]
    assert figure.get_suptitle() == "Layers · CUDA device"
    assert compare_times([timings], "fff", ["width"]).empty


def test_ratios_at_equal_width(write):
    timings = load_timings([write(layers())], [], "cpu")
    on = ["dtype", "batch", "width"]
    found = compare_times([timings], "fff", on, baselines=["dense"], cases=["width"])
    assert found["ratio"].tolist() == pytest.approx([4, 8, 16])
    assert found["ratio_low"].tolist() == pytest.approx([4 * 0.75, 8 * 0.75, 16 * 0.75])
    assert found["over_roofline"].tolist() == pytest.approx([4, 4, 4])
    said = describe_times(found, on)
    assert "FFF, kernel against feed-forward is 4 times faster (batch 32, width 8)" in said
    assert "to 16 times faster (batch 32, width 32)" in said
    assert "| speed-up (×) |" in " ".join(to_markdown(found).split())


def test_the_fastest_of_the_others_and_the_fastest_mode(write):
    rows = [
        row("fff", 2.0), row("slow", 40.0), row("slow", 30.0, mode="compiled"), row("quick", 5.0),
    ]  # fmt: skip
    timings = load_timings([write(rows)], [], "cpu")
    modes = fastest_modes(timings.rows)
    assert modes[modes["variant"] == "slow"]["mode"].tolist() == ["compiled"]
    (found,) = compare_times([timings], "fff", ["batch"]).to_dict("records")
    assert (found["baseline"], found["ratio"]) == ("quick", 2.5)


def in_processes(*times):
    """Return rows of `fff` and `dense` at one place, a pair of times for each process."""
    return [
        row(variant, time, process=process)
        for process, pair in enumerate(times)
        for variant, time in zip(("fff", "dense"), pair, strict=True)
    ]


def test_of_several_processes_the_median_is_shown_from_the_least_to_the_most(write):
    timings = load_timings([write(in_processes((4.0, 9.0), (1.0, 7.0), (2.0, 8.0)))], [], "cpu")
    assert timings.n_processes == 3
    assert timings.rows["variant"].tolist() == ["fff", "dense"]
    fff = timings.rows.iloc[0]
    assert (fff["median_us"], fff["q25_us"], fff["q75_us"]) == (2.0, 1.0, 4.0)
    assert fff["over_roofline"] == 4.0
    note = draw_tree_times(timings, "Trees")._supxlabel.get_text()
    assert note.startswith("Medians of one call, over 3 processes; bars: least and most;")


def test_ratios_are_of_times_within_a_process(write):
    timings = load_timings([write(in_processes((4.0, 9.0), (1.0, 7.0), (2.0, 8.0)))], [], "cpu")
    (found,) = compare_times([timings], "fff", ["batch"]).to_dict("records")
    # not 8 / 2 µs, nor from 7 / 4 to 9 / 1
    assert (found["ratio"], found["ratio_low"], found["ratio_high"]) == (4.0, 2.25, 7.0)
    assert (found["treatment_us"], found["baseline_us"]) == (2.0, 8.0)


def test_one_mode_counts_in_all_processes(write):
    """That of the least median over processes, though another is faster in one of them."""
    rows = in_processes((2.0, 9.0), (2.0, 7.0), (2.0, 8.0))
    rows += [
        row("fff", time, mode="compiled", process=process)
        for process, time in enumerate((1.0, 3.0, 3.0))
    ]
    timings = load_timings([write(rows)], [], "cpu")
    (found,) = compare_times([timings], "fff", ["batch"]).to_dict("records")
    assert (found["ratio"], found["ratio_low"], found["ratio_high"]) == (4.0, 3.5, 4.5)


def test_a_pair_that_no_process_has_is_left_out(write):
    rows = in_processes((2.0, 8.0), (2.0, 8.0), (2.0, 8.0))
    rows += [row("fff", 2.0, batch=64, process=0), row("dense", 8.0, batch=64, process=2)]
    rows += [row("fff", 2.0, batch=128, process=1), row("dense", 6.0, batch=128, process=1)]
    found = compare_times([load_timings([write(rows)], [], "cpu")], "fff", ["batch"])
    assert found[["batch", "ratio"]].values.tolist() == [[32, 4.0], [128, 3.0]]


TIMES = st.floats(0.1, 1e4)


@given(st.lists(st.tuples(TIMES, TIMES), min_size=1, max_size=6))
def test_over_any_processes_as_by_hand(tmp_path_factory, times):
    path = tmp_path_factory.mktemp("times") / "table.csv"
    rows = in_processes(*times)
    pd.DataFrame([*rows, *rows[:1]]).to_csv(path, index=False)  # one shape at two points
    (found,) = compare_times([load_timings([path], [], "cpu")], "fff", ["batch"]).to_dict("records")
    fff, other = np.array(times).T
    assert found["treatment_us"] == pytest.approx(np.median(fff))
    assert found["baseline_us"] == pytest.approx(np.median(other))
    assert found["ratio"] == pytest.approx(np.median(other / fff))
    # of one process those of the quartiles
    low, high = (0.9 / 1.2, 1.2 / 0.9) if len(times) == 1 else (1.0, 1.0)
    assert found["ratio_low"] == pytest.approx(low * np.min(other / fff))
    assert found["ratio_high"] == pytest.approx(high * np.max(other / fff))


def test_an_earlier_table_is_of_one_process(write):
    earlier = write(layers())
    assert set(read_times(earlier)["process"]) == {0}
    now = write([line | {"process": 0} for line in layers()], "now.csv")
    first, second = (load_timings([path], [], "cpu") for path in (earlier, now))
    assert first.n_processes == second.n_processes == 1
    on = ["dtype", "batch", "width"]
    texts = [compare_times([one], "fff", on).to_csv() for one in (first, second)]
    assert texts[0] == texts[1]
    note = draw_tree_times(first, "Trees")._supxlabel.get_text()
    assert note.startswith("Medians of one call; bars: quartiles;")


@pytest.mark.parametrize(
    ("name", "treatment", "on", "more"),
    [
        ("expert_benchmark_ratios", "experts_fused",
         ["dtype", "batch", "top_k", "n_experts", "hidden_features"], {}),
        ("gate_benchmark_ratios", "descent_fused", ["dtype", "batch", "depth"], {}),
        ("node_tree_benchmark_ratios", "node_tree", ["dtype", "batch", "depth"],
         {"baselines": ["fff_gathered", "fff", "node_tree_gathered"]}),
        ("layer_benchmark_ratios", "fff", ["dtype", "batch", "width"],
         {"baselines": ["dense", "moe_top1", "fff_package"], "cases": ["width", "width_cpu"]}),
    ],
)  # fmt: skip
def test_the_committed_ratios_are_those_of_the_committed_times(name, treatment, on, more):
    """To the byte, as the notebooks compute them."""
    table = f"benchmarks/{name.removesuffix('_ratios')}.csv"
    timings = [
        load_timings([], [REFERENCE / "epyc" / table, REFERENCE / "h100" / table], device)
        for device in ("cpu", "cuda")
    ]
    found = compare_times(timings, treatment, on, **more)
    committed = (REFERENCE / "benchmarks" / f"{name}.csv").read_text(encoding="utf-8")
    assert found.to_csv(index=False) == committed


def test_figures_show_every_variant_and_nothing_overlaps(write):
    gates = [
        row(variant, 3.0 * depth, op="gate", depth=depth, batch=batch)
        for variant in ("linear", "descent_fused")
        for depth in (1, 4, 12)
        for batch in (32, 1024)
    ]
    experts = [
        row(variant, 3.0, op="experts", depth=n, n_experts=n, top_k=k, hidden_features=h)
        for variant in ("experts_dense", "experts_fused")
        for n in (2, 8)
        for k in (1, n)
        for h in (1, 16)
    ]
    trees = [row("node_tree", 2.0, case="shapes", batch=batch, depth=11) for batch in (1, 256)]
    load = [load_timings([write(rows)], [], "cpu") for rows in (gates, experts, layers() + trees)]
    figures = {
        "gates": draw_gate_times(load[0], "Gates"),
        "experts": draw_expert_times(load[1], "Experts"),
        "trees": draw_tree_times(load[2], "Trees"),
        "layers": draw_layer_times(load[2], "Layers", ["width"]),
        "memory": draw_expert_times(load[1], "Memory", y="peak_mib"),
        "batches": draw_layer_batches(load[2], "Batches", ["shapes"]),
        "leaves": draw_leaf_sizes(load[2], "Leaves", ["width"]),
    }
    shapes = {name: len(figure.axes) for name, figure in figures.items()}
    assert shapes == {
        **{"gates": 2, "experts": 4, "trees": 3, "layers": 2},
        **{"memory": 4, "batches": 1, "leaves": 1},
    }
    for name, figure in figures.items():
        assert faults(figure) == [], name
    named = [text.get_text() for text in figures["gates"].axes[-1].texts]
    assert sorted(named) == ["hard descent, kernel", "linear (MoE)", "roofline"]


def test_ratios_are_drawn_below_the_times_with_the_crossing(write):
    """The feed-forward layer takes 4 µs a unit, the kernel 10 µs: from 4 units on it is slower."""
    rows = [
        line
        for depth, width in enumerate((2, 4, 8), start=1)
        for line in (
            row("fff", 10.0, depth=depth, n_experts=2**depth, hidden_features=1),
            dense(4.0 * width, width),
        )
    ]
    figure = draw_layer_times(load_timings([write(rows)], [], "cpu"), "Layers", ["width"])
    times, ratios = figure.axes
    assert times.get_yscale() == ratios.get_yscale() == "log"
    (container,) = [c for c in ratios.containers if len(c.lines[0].get_xdata())]
    assert container.lines[0].get_ydata() == pytest.approx([0.8, 1.6, 3.2])
    assert [text.get_text() for text in ratios.texts] == ["4", "feed-forward"]
    assert ratios.get_title() == "widest feed-forward:\n3.2× the kernel's time"


def test_a_table_that_is_none_is_refused(write, tmp_path):
    with pytest.raises(TidyError, match=r"missing.csv: No such file"):
        load_timings([tmp_path / "missing.csv"], [], "cpu")
    lacking = write([{k: v for k, v in row("fff", 1.0).items() if k != "bytes"}])
    with pytest.raises(TidyError, match="missing columns: bytes"):
        load_timings([lacking], [], "cpu")
    for process, fault in (("first", "has 'first'"), (None, "is empty in row 2")):
        rows = in_processes((1.0, 2.0))
        rows[1]["process"] = process
        with pytest.raises(TidyError, match=f"column process {fault}; allowed are numbers"):
            load_timings([write(rows)], [], "cpu")
    with pytest.raises(TidyError, match="column median_us has 'fast'"):
        load_timings([write([row("fff", 1.0) | {"median_us": "fast"}])], [], "cpu")
