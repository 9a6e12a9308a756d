"""Statistics of benchmarks: ratios and crossings by hand, and tables that can't be read."""

import math

import pandas as pd
import pytest
from made_up import crossing, speedup, timed

from fastff.claims.estimate import NotTestableError
from fastff.claims.speed import estimate_of_times, load_times
from fastff.tables.read import TidyError

FAST = timed("fast", {1: 10, 2: 10, 3: 10, 4: 10}, spread=0.1)
SLOW = timed("slow", {1: 5, 2: 20, 3: 40, 4: 30}, spread=0.2)


@pytest.fixture
def table(tmp_path):
    """Write rows as a benchmark's table, and read them."""

    def read(*rows):
        path = tmp_path / "race.csv"
        pd.DataFrame([row for some in rows for row in some]).to_csv(path, index=False)
        return load_times([path])

    return read


def test_the_largest_ratio_with_the_quartiles_range(table):
    found = estimate_of_times(table(FAST, SLOW), speedup(), "cuda")
    assert (found.effect, found.n, found.unit) == (4.0, 4, "×")
    assert found.low == pytest.approx(40 * 0.8 / (10 * 1.1))
    assert found.high == pytest.approx(40 * 1.2 / (10 * 0.9))
    assert math.isnan(found.p_value)
    assert found.detail == ("A GPU, largest at depth 3: fast (graph) 10 µs, slow (graph) 40 µs")


def test_the_mean_ratio_is_geometric_and_of_the_range_asked_for(table):
    found = estimate_of_times(table(FAST, SLOW), speedup(of="mean", least=2, most=3), "cuda")
    assert found.effect == pytest.approx(math.sqrt(2 * 4))
    assert found.n == 2


def test_a_side_is_as_fast_as_its_fastest_variant_and_mode(table):
    other = timed("slow", {3: 25}, mode="compiled")
    third = timed("third", {4: 15})
    rows = table(FAST, SLOW, other, third)
    assert estimate_of_times(rows, speedup(), "cuda").effect == 3.0
    assert estimate_of_times(rows, speedup(baseline=["slow", "third"]), "cuda").effect == 2.5
    only = speedup(where={"mode": "graph", "batch": 32})
    assert estimate_of_times(rows, only, "cuda").effect == 4.0


def test_widths_match_whichever_way_they_come_about(table):
    """Eight experts of 32 units, and a dense layer of 256."""
    fff = timed("fast", {3: 2.0}, hidden_features=32)
    dense = timed("slow", {0: 9.0}, hidden_features=256)
    found = estimate_of_times(table(fff, dense), speedup(along="training_width"), "cuda")
    assert found.effect == 4.5


@pytest.mark.parametrize(
    ("slow", "effect"),
    [
        ({1: 5, 2: 5, 3: 40, 4: 40}, 3),
        ({1: 40, 2: 40, 3: 40, 4: 40}, 1),
        ({1: 40, 2: 5, 3: 40, 4: 40}, 3),  # faster for good, not for once
        ({1: 5, 2: 10, 3: 10, 4: 11}, 4),  # a tie is no win
    ],
)
def test_a_crossing_is_where_it_is_faster_from(slow, effect, table):
    found = estimate_of_times(table(FAST, timed("slow", slow)), crossing(), "cuda")
    assert found.effect == effect
    ratios = [time / 10 for time in slow.values()]
    assert found.more == {"slowest": min(ratios), "fastest": max(ratios), "last": ratios[-1]}
    assert found.unit == "depth"


def test_no_crossing_is_no_effect(table):
    found = estimate_of_times(table(FAST, timed("slow", {1: 40, 2: 40, 4: 9})), crossing(), "cuda")
    assert math.isnan(found.effect)
    assert found.more == {"slowest": 0.9, "fastest": 4.0, "last": 0.9}


def test_the_quartiles_bound_a_crossing(table):
    slow = timed("slow", {1: 5, 2: 9.5, 3: 10.5, 4: 40}, spread=0.1)
    found = estimate_of_times(table(timed("fast", dict.fromkeys((1, 2, 3, 4), 10)), slow),
                              crossing(), "cuda")  # fmt: skip
    assert (found.low, found.effect, found.high) == (2, 3, 4)


@pytest.mark.parametrize(
    ("spec", "device", "message"),
    [
        (speedup(), "cpu", "no row of the benchmark has device cpu"),
        (speedup(where={"batch": 7}), "cuda", "no row of the benchmark has batch 7"),
        (speedup(baseline="none"), "cuda", "none was not timed on cuda at these sizes"),
        (speedup(needs=4), "cuda", "not timed at depth 4, which the claim needs"),
        (speedup(least=3), "cuda", "the two sides were not timed at the same depth"),
    ],
)
def test_what_was_not_measured_is_not_testable(spec, device, message, table):
    with pytest.raises(NotTestableError, match=message):
        estimate_of_times(table(timed("fast", {1: 1.0, 3: 1.0}), timed("slow", {1: 1.0, 4: 2.0})),
                          spec, device)  # fmt: skip


def test_tables_of_two_machines_are_one(tmp_path):
    for name, device in (("h100", "cuda"), ("epyc", "cpu")):
        rows = [*timed("fast", {1: 1.0}, device=device), *timed("slow", {1: 3.0}, device=device)]
        pd.DataFrame(rows).to_csv(tmp_path / f"{name}.csv", index=False)
    times = load_times([tmp_path / "h100.csv", tmp_path / "epyc.csv"])
    assert estimate_of_times(times, speedup(), "cpu").n == 1
    with pytest.raises(TidyError, match="No such file"):
        load_times([tmp_path / "none.csv"])
    times.drop(columns=["mode", "q25_us"]).to_csv(tmp_path / "h100.csv", index=False)
    with pytest.raises(TidyError, match=r"h100\.csv: missing columns: mode, q25_us"):
        load_times([tmp_path / "h100.csv"])


def test_two_machines_of_one_device_are_not_compared(table):
    rows = table(FAST, timed("slow", {1: 5.0}, device_name="Another GPU"))
    with pytest.raises(NotTestableError, match=r"several machines \(A GPU, Another GPU\)"):
        estimate_of_times(rows, speedup(), "cuda")
