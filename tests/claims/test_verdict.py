"""Five words: each rule at its edges."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastff.analysis.ledger import VERDICTS
from fastff.claims.file import Direction, Equivalence, Published, Speed
from fastff.claims.runs import Estimate
from fastff.claims.times import TimeEstimate
from fastff.claims.verdict import judge

NONE = float("nan")


def said(value: float | None) -> Published | None:
    """Return a published value to compare with."""
    return None if value is None else Published(text="a number", value=value, mark="P")


def runs(low, high, prediction=(-100.0, 100.0), best_effect=NONE) -> Estimate:
    return Estimate(
        effect=(low + high) / 2, low=low, high=high, prediction=prediction, p_value=0.5, n=10,
        unit="points", dataset="mnist", best_effect=best_effect, n_shapes=1, n_agree=1,
        exception="", over_shapes=(NONE, NONE),
    )  # fmt: skip


DEPTHS = tuple(map(float, range(1, 12)))
BATCHES = (32.0, 64.0, 128.0, 256.0)


def times(
    effect=10.0, low=9.0, high=11.0, n_overtaken=3, slower_first=True, places=DEPTHS, n_faster=None
) -> TimeEstimate:
    return TimeEstimate(
        effect=effect, low=low, high=high, n=3, unit="×", n_overtaken=n_overtaken,
        n_faster=n_overtaken if n_faster is None else n_faster,
        slower_first=slower_first, places=places, machine="A GPU", commit="0123abcd",
    )  # fmt: skip


HIGHER, LOWER = (Direction(kind=kind, margin=0.5) for kind in ("higher", "lower"))
EQUAL = Equivalence(kind="equal", margin=1.0)
FASTER, OVERTAKES, NEVER = (Speed(kind=kind) for kind in ("faster", "overtakes", "never_overtakes"))


@pytest.mark.parametrize(
    ("found", "expects", "published", "verdict"),
    [
        (runs(0.1, 2, (-1, 3)), HIGHER, 2.5, "replicates"),
        (runs(0.1, 2, (-1, 3)), HIGHER, 3.5, "same direction"),
        (runs(0.1, 2, (-1, 3)), HIGHER, None, "same direction"),
        (runs(0.01, 0.2), HIGHER, None, "contradicted"),  # beyond 0, but within the margin
        (runs(0.01, 0.2, (-1, 1)), HIGHER, 0.1, "contradicted"),
        (runs(-0.2, -0.01), LOWER, None, "contradicted"),
        (runs(0.4, 0.6), HIGHER, None, "same direction"),
        (runs(-0.1, 2), HIGHER, 1.0, "inconclusive"),
        (runs(-0.4, 0.4), HIGHER, 1.0, "contradicted"),
        (runs(-2, -0.1), HIGHER, 1.0, "contradicted"),
        (runs(-2, -0.1, (-3, 1)), LOWER, -2.5, "replicates"),
        (runs(-2, -0.1, (-3, 1)), LOWER, -3.5, "same direction"),
        (runs(0.1, 2), LOWER, -1.0, "contradicted"),
        (runs(-2, 0.1), LOWER, -1.0, "inconclusive"),
        (runs(-0.9, 0.9), EQUAL, None, "replicates"),
        (runs(-0.9, 1.1), EQUAL, None, "inconclusive"),
        (runs(1.1, 2), EQUAL, None, "contradicted"),
        (runs(-2, -1.1), EQUAL, None, "contradicted"),
        (times(), FASTER, 14.9, "replicates"),
        (times(), FASTER, 15.1, "same direction"),
        (times(), FASTER, 6.6, "same direction"),
        (times(), FASTER, None, "same direction"),
        (times(1.0, 0.9, 1.1), FASTER, None, "inconclusive"),
        (times(0.8, 0.7, 0.9), FASTER, None, "contradicted"),
        (times(0.8, 0.7, 0.9), FASTER, 1.1, "contradicted"),  # near, but slower
        (times(8), OVERTAKES, 9, "replicates"),
        (times(7), OVERTAKES, 9, "same direction"),
        (times(8), OVERTAKES, 8, "replicates"),
        (times(11), OVERTAKES, 12, "same direction"),  # where nothing was timed
        (times(64, places=BATCHES), OVERTAKES, 128, "replicates"),
        (times(64, places=BATCHES), OVERTAKES, 32, "replicates"),
        (times(64, places=BATCHES), OVERTAKES, 256, "same direction"),
        (times(64, places=BATCHES), OVERTAKES, 100, "replicates"),  # the next timed one is 64
        (times(64, places=BATCHES), OVERTAKES, 129, "same direction"),
        (times(96, places=BATCHES), OVERTAKES, 128, "replicates"),  # of 64 in one process of two
        (times(96, places=BATCHES), OVERTAKES, 32, "same direction"),
        (times(64), OVERTAKES, None, "same direction"),
        (times(1, slower_first=False), OVERTAKES, 1, "same direction"),
        (times(8, n_overtaken=2), OVERTAKES, 8, "inconclusive"),
        (times(NONE, n_overtaken=0), OVERTAKES, 8, "contradicted"),
        (times(NONE, n_overtaken=0), NEVER, None, "same direction"),
        (times(NONE, n_overtaken=0), NEVER, 8, "replicates"),
        (times(NONE, n_overtaken=0, n_faster=3), NEVER, None, "contradicted"),  # but not at the end
        (times(NONE, n_overtaken=0, n_faster=1), NEVER, None, "inconclusive"),
        (times(NONE, n_overtaken=0, n_faster=3), OVERTAKES, 8, "contradicted"),
        (times(8), NEVER, None, "contradicted"),
        (times(8, n_overtaken=1), NEVER, None, "inconclusive"),
    ],
)
def test_the_verdict(found, expects, published, verdict):
    word, why = judge(found, expects, said(published))
    assert word == verdict
    assert len(why) > 5


def test_a_statement_without_a_value_can_replicate_that_nothing_is_overtaken():
    statement = Published(text="never faster", mark="P")
    assert judge(times(NONE, n_overtaken=0), NEVER, statement)[0] == "replicates"
    assert judge(times(), FASTER, statement)[0] == "same direction"


@pytest.mark.parametrize(
    ("expects", "prediction", "published"), [(HIGHER, (-1, 3), 2.5), (LOWER, (-3, 1), -2.5)]
)
def test_a_value_in_an_interval_that_holds_0_is_hardly_tested(expects, prediction, published):
    low, high = sorted((0.6 * published / 2.5, 2 * published / 2.5))
    word, why = judge(runs(low, high, prediction), expects, said(published))
    assert word == "replicates"
    assert why.endswith(", an interval that holds 0 too, so that it hardly tests the value")
    beyond = runs(low, high, tuple(sorted((0.1 * published, 2 * published))))
    assert judge(beyond, expects, said(published))[0] == "replicates"
    assert "holds 0" not in judge(beyond, expects, said(published))[1]


@pytest.mark.parametrize(
    ("found", "expects", "end"),
    [
        (runs(1, 2, (0, 3), 1.25), HIGHER, "; the best of 10 runs of each side differ by +1.25"),
        (runs(1, 2, best_effect=0.9), EQUAL, "differ by +0.9, within the margin"),
        (runs(1, 2, best_effect=-1.1), EQUAL, "differ by -1.1, outside the margin"),
    ],
)
def test_the_best_runs_are_named_where_the_best_were_published(found, expects, end):
    why = judge(found, expects, said(2.0))[1]
    assert why.endswith(end)
    assert expects is EQUAL or "in the interval of the best run, 0 to 3" in why


@given(st.sets(st.integers(1, 10**6), min_size=1), st.data())
def test_beside_a_timed_place_are_its_neighbours(numbers, data):
    places = tuple(map(float, sorted(numbers)))
    here, there = (data.draw(st.integers(0, len(places) - 1)) for _ in range(2))
    word = judge(times(places[here], places=places), OVERTAKES, said(places[there]))[0]
    assert (word == "replicates") == (abs(here - there) <= 1)


@given(st.floats(-5, 5), st.floats(0.001, 5), st.floats(-5, 5), st.floats(0, 2))
def test_a_mirrored_effect_has_the_mirrored_claim_s_verdict(centre, half, published, margin):
    found = runs(centre - half, centre + half, (centre - 2 * half, centre + 2 * half))
    mirrored = replace(
        found, low=-found.high, high=-found.low, prediction=(-centre - 2 * half, -centre + 2 * half)
    )
    word = judge(found, Direction(kind="higher", margin=margin), said(published))[0]
    assert word == judge(mirrored, Direction(kind="lower", margin=margin), said(-published))[0]
    assert word in VERDICTS
