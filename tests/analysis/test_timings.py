"""Times of single operations: ratios against hand-computed ones, figures, and what is refused."""

import pandas as pd
import pytest
from boxes import faults

from fastff.analysis import (
    TidyError,
    compare_times,
    describe_times,
    draw_expert_times,
    draw_gate_times,
    draw_layer_shapes,
    draw_layer_times,
    draw_tree_times,
    fastest_modes,
    load_timings,
    to_markdown,
)


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
    assert "fff against dense takes 4 times less (batch 32, width 8)" in said
    assert "to 16 times less (batch 32, width 32)" in said
    assert "| times less |" in " ".join(to_markdown(found).split())


def test_the_fastest_of_the_others_and_the_fastest_mode(write):
    rows = [
        row("fff", 2.0), row("slow", 40.0), row("slow", 30.0, mode="compiled"), row("quick", 5.0),
    ]  # fmt: skip
    timings = load_timings([write(rows)], [], "cpu")
    modes = fastest_modes(timings.rows)
    assert modes[modes["variant"] == "slow"]["mode"].tolist() == ["compiled"]
    (found,) = compare_times([timings], "fff", ["batch"]).to_dict("records")
    assert (found["baseline"], found["ratio"]) == ("quick", 2.5)


def test_figures_show_every_variant_and_nothing_overlaps(write):
    gates = [
        row(variant, 3.0 * depth, op="gate", depth=depth, batch=batch)
        for variant in ("linear", "descent_fused")
        for depth in (1, 4, 12)
        for batch in (32, 1024)
    ]
    experts = [
        row(variant, 3.0, op="experts", n_experts=n, top_k=k, hidden_features=h)
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
        "shapes": draw_layer_shapes(load[2], "Shapes", ["shapes"], ["width"]),
    }
    shapes = {name: len(figure.axes) for name, figure in figures.items()}
    assert shapes == {"gates": 4, "experts": 8, "trees": 3, "layers": 1, "shapes": 2}
    for name, figure in figures.items():
        assert faults(figure) == [], name
    named = [text.get_text() for text in figures["gates"].legends[0].get_texts()]
    assert named == ["linear", "descent fused", "roofline of: descent fused"]


def test_a_table_that_is_none_is_refused(write, tmp_path):
    with pytest.raises(TidyError, match=r"missing.csv: No such file"):
        load_timings([tmp_path / "missing.csv"], [], "cpu")
    lacking = write([{k: v for k, v in row("fff", 1.0).items() if k != "bytes"}])
    with pytest.raises(TidyError, match="missing columns: bytes"):
        load_timings([lacking], [], "cpu")
    with pytest.raises(TidyError, match="column median_us has 'fast'"):
        load_timings([write([row("fff", 1.0) | {"median_us": "fast"}])], [], "cpu")
