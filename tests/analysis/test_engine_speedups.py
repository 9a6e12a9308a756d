"""Speed of the engine: ratios against hand-computed ones, the figure, and what is refused."""

import pandas as pd
import pytest
from boxes import faults

from fastff.analysis import (
    TidyError,
    describe_speedups,
    draw_speedups,
    load_engine_benchmark,
    speedups,
    to_markdown,
)


def row(side, seconds, depth=1, workers=0, peak=0):
    return {
        "variant": "moe_mixture", "label": "MoE", "depth": depth, "hidden_features": 8,
        "side": side, "workers": workers, "runs": 20 if side == "engine" else 1, "epochs": 3,
        "s_per_run_epoch": seconds, "s_q25": 0.9 * seconds, "s_q75": 1.2 * seconds,
        "peak_bytes": peak, "dataset": "mnist5k", "batch_size": 128, "device": "cpu",
        "device_name": "A machine, 2 cores", "driver": "", "torch": "2.14", "clock": "clock",
        "threads": 2, "commit": "0123abcd",
    }  # fmt: skip


@pytest.fixture
def table() -> pd.DataFrame:
    return pd.DataFrame(
        [
            row("plain", 0.3), row("plain", 0.9, workers=8), row("engine", 0.1, peak=2**21),
            row("plain", 0.5, depth=2), row("plain", 1.5, depth=2, workers=8),
            row("engine", 0.01, depth=2),
        ]
    )  # fmt: skip


def test_ratios_are_plain_over_engine(table):
    found = speedups(table)
    assert found["ratio"].tolist() == pytest.approx([3, 9, 50, 150])
    assert found["ratio_low"].iloc[0] == pytest.approx(0.27 / 0.12)
    assert found["ratio_high"].iloc[0] == pytest.approx(0.36 / 0.09)
    assert found["workers"].tolist() == [0, 8, 0, 8]
    assert found["engine_peak_mib"].iloc[0] == 2.0
    assert "| speed-up (×) |" in " ".join(to_markdown(found).split())


def test_findings_name_the_least_and_the_largest(table):
    said = describe_speedups(table)
    assert (
        "0 workers of a DataLoader, the engine is 3 times faster (depth 1, 8 hidden units) to 50"
        in said
    )
    assert (
        "8 workers of a DataLoader, the engine is 9 times faster (depth 1, 8 hidden units) to 150"
        in said
    )
    assert "A machine, 2 cores" in said


def test_the_figure_has_a_bar_for_each_part_of_the_gain(table):
    figure = draw_speedups(table, "A race")
    texts = [text.get_text() for text in figure.axes[0].texts]
    assert [text.strip() for text in texts] == [
        *("300 ms", "2000 ms (0.15× faster)", "100 ms (3× faster)"),
        *("500 ms", "200 ms (2.5× faster)", "10 ms (50× faster)"),
    ]
    widths = [bar.get_width() for bar in figure.axes[0].patches]
    assert widths == pytest.approx([300, 2000, 100, 500, 200, 10])
    assert [text.get_text() for text in figure.legends[0].get_texts()] == [
        *("plain loop, 1 run, 0 workers", "engine, 20 runs at once", "engine, per run")
    ]
    assert faults(figure) == []


def test_a_table_is_read_back(table, tmp_path):
    path = tmp_path / "race.csv"
    table.to_csv(path, index=False)
    pd.testing.assert_frame_equal(load_engine_benchmark(path), table)
    table.assign(peak_bytes="").to_csv(path, index=False)
    unmeasured = to_markdown(speedups(load_engine_benchmark(path)))
    assert "peak" not in unmeasured
    table.drop(columns="threads").to_csv(path, index=False)
    with pytest.raises(TidyError, match="missing columns: threads"):
        load_engine_benchmark(path)
    table[table["side"] == "plain"].to_csv(path, index=False)
    with pytest.raises(TidyError, match="must have plain and engine"):
        load_engine_benchmark(path)
    with pytest.raises(TidyError, match="No such file"):
        load_engine_benchmark(tmp_path / "none.csv")
