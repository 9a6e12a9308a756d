"""Speed-ups and crossings: by hand, over processes, and what can't be tested."""

import numpy as np
import pandas as pd
import pytest
from made_up import crossing, speedup, timed
from scipy import stats

from fastff.claims.runs import NotTestedError
from fastff.claims.times import estimate_of_times


def table(fast, slow, **more) -> pd.DataFrame:
    return pd.DataFrame([*timed("fast", fast, **more), *timed("slow", slow)])


def estimate(rows, spec, device="cuda", least_processes=3):
    return estimate_of_times(rows, spec, device, least_processes)


def test_a_speed_up_is_the_geometric_mean_over_processes():
    found = estimate(table({3: 2.0}, {3: 10.0}, noise=(1.0, 1.1, 1.25)), speedup())
    ratios = 10.0 * np.array([1.0, 1.01, 0.99]) / (2.0 * np.array([1.0, 1.1, 1.25]))
    oracle = stats.ttest_1samp(np.log(ratios), 0).confidence_interval()
    assert found.effect == pytest.approx(stats.gmean(ratios))
    assert (found.low, found.high) == pytest.approx(tuple(np.exp(oracle)))
    assert (found.n, found.unit, found.machine) == (3, "×", "A GPU")
    assert found.commit == "0123abcd"


def test_of_several_machines_the_one_timed_in_the_most_processes_counts():
    of_one = {"device_name": "B", "commit": "4567cdef"}
    more = [*timed("fast", {3: 1.0}, **of_one), *timed("slow", {3: 9.0}, **of_one)]
    rows = pd.DataFrame(more).query("process < 2")
    for tables in ([table({3: 2.0}, {3: 10.0}), rows], [rows, table({3: 2.0}, {3: 10.0})]):
        found = estimate(pd.concat(tables), speedup())
        assert (found.machine, found.commit) == ("A GPU", "0123abcd")
        assert found.effect == pytest.approx(5.0)
    with pytest.raises(NotTestedError, match=r"rows of several machines \(B, A GPU\)"):
        estimate(pd.concat([pd.DataFrame(more), table({3: 2.0}, {3: 10.0})]), speedup())


def test_the_commits_of_both_sides_are_named():
    rows = table({3: 2.0}, {3: 10.0}, commit="4567cdef")
    other = pd.DataFrame(timed("other", {3: 2.0}, commit="another"))
    assert estimate(pd.concat([rows, other]), speedup()).commit == "4567cdef, 0123abcd"


def test_a_speed_up_over_several_points_is_their_geometric_mean():
    rows = table({1: 1.0, 2: 2.0, 3: 4.0}, {1: 2.0, 2: 16.0, 3: 100.0})
    assert estimate(rows, speedup(at=(1, 2))).effect == pytest.approx(4.0)


def test_a_crossing_is_from_where_on_it_is_faster():
    rows = table({1: 5.0, 2: 5.0, 3: 5.0, 4: 5.0}, {1: 1.0, 2: 9.0, 3: 4.0, 4: 9.0})
    found = estimate(rows, crossing())
    assert (found.effect, found.low, found.high) == (4.0, 4.0, 4.0)
    assert (found.n_overtaken, found.slower_first, found.unit) == (3, True, "depth")
    assert found.places == (1.0, 2.0, 3.0, 4.0)


def test_places_are_those_up_to_the_last_that_counts():
    rows = table({1: 5.0, 4: 1.0, 8: 1.0}, {1: 1.0, 4: 2.0, 16: 2.0})
    assert estimate(rows, crossing()).places == (1.0, 4.0)


def test_a_crossing_that_is_none_has_no_place():
    found = estimate(table({1: 5.0, 4: 5.0}, {1: 9.0, 4: 4.0}), crossing())
    assert np.isnan(found.effect)
    assert (found.n_overtaken, found.n_faster, found.slower_first) == (0, 3, False)


def test_it_is_faster_at_a_place_or_at_none():
    never = estimate(table({1: 5.0, 4: 5.0}, {1: 4.0, 4: 5.0}, noise=(1, 1.1, 1.2)), crossing())
    assert (never.n_overtaken, never.n_faster) == (0, 0)
    once = estimate(table({1: 5.0, 4: 5.0}, {1: 5.3, 4: 4.0}, noise=(1, 1.1, 1.2)), crossing())
    assert (once.n_overtaken, once.n_faster) == (0, 1)


def test_processes_may_disagree_on_a_crossing():
    rows = table({1: 5.0, 4: 5.0}, {1: 1.0, 4: 5.05}, noise=(1.0, 1.2, 0.9))
    found = estimate(rows, crossing())
    assert (found.n_overtaken, found.effect, found.low) == (2, 4.0, 4.0)
    assert np.isnan(found.high)


def test_one_side_may_have_a_shape_of_its_own():
    rows = pd.concat(
        [
            table({3: 2.0}, {3: 10.0}),
            pd.DataFrame(timed("fast", {3: 99.0}, hidden_features=7)),
        ]
    )
    with pytest.raises(NotTestedError, match=r"fast \(graph\) has several shapes at one depth"):
        estimate(rows, speedup())
    side = {"variant": "fast", "mode": "graph", "hidden_features": 0}
    assert estimate(rows, speedup(treatment=side)).effect == pytest.approx(5.0)


@pytest.mark.parametrize(
    ("rows", "spec", "message"),
    [
        (table({3: 1.0}, {3: 2.0}).query("process < 2"), speedup(), "timed in 2 processes; at le"),
        (table({3: 1.0}, {3: 2.0}).query("process < 1"), speedup(), "timed in 1 process; at leas"),
        (table({3: 1.0}, {3: 2.0}), speedup(at=(4,)), "not timed at depth 4, which"),
        (table({1: 1.0}, {3: 2.0}), speedup(), "not timed at the same depth"),
        (table({3: 1.0}, {3: 2.0}), crossing(last=5), "not timed at depth 5, which"),
        (table({3: 1.0}, {3: 2.0}, mode="eager"), speedup(), r"fast \(graph\) was not timed so"),
        (table({3: 1.0}, {3: 2.0}), speedup(where={"batch": 7}), "no row of .* has batch 7"),
        (table({3: 1.0}, {3: 2.0}, device_name="B"), speedup(), "rows of several machines"),
    ],
)  # fmt: skip
def test_what_cannot_be_tested_says_why(rows, spec, message):
    with pytest.raises(NotTestedError, match=message):
        estimate(rows, spec)


def test_the_rows_of_other_devices_do_not_count():
    with pytest.raises(NotTestedError, match="no row of the benchmark has device cpu"):
        estimate(table({3: 1.0}, {3: 2.0}), speedup(), "cpu")
