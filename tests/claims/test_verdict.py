"""Five words: each rule at its edges."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastff.analysis.ledger import VERDICTS
from fastff.claims.file import Direction, Equivalence, Speed
from fastff.claims.runs import Estimate
from fastff.claims.times import TimeEstimate
from fastff.claims.verdict import judge

NONE = float("nan")


def runs(low, high, prediction=(-100.0, 100.0)) -> Estimate:
    return Estimate(
        effect=(low + high) / 2, low=low, high=high, prediction=prediction, p_value=0.5, n=10,
        unit="points", dataset="mnist", n_shapes=1, n_agree=1, exception="",
        over_shapes=(NONE, NONE),
    )  # fmt: skip


DEPTHS = tuple(map(float, range(1, 12)))
BATCHES = (32.0, 64.0, 128.0, 256.0)


def times(
    effect=10.0, low=9.0, high=11.0, n_overtaken=3, slower_first=True, places=DEPTHS
) -> TimeEstimate:
    return TimeEstimate(
        effect=effect, low=low, high=high, n=3, unit="×", n_overtaken=n_overtaken,
        slower_first=slower_first, places=places, machine="A GPU",
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
        (runs(0.01, 0.2), HIGHER, None, "same direction"),  # beyond 0, though within the margin
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
        (times(NONE, n_overtaken=0), NEVER, None, "replicates"),
        (times(8), NEVER, None, "contradicted"),
        (times(8, n_overtaken=1), NEVER, None, "inconclusive"),
    ],
)
def test_the_verdict(found, expects, published, verdict):
    word, why = judge(found, expects, published)
    assert word == verdict
    assert len(why) > 5


@given(st.sets(st.integers(1, 10**6), min_size=1), st.data())
def test_beside_a_timed_place_are_its_neighbours(numbers, data):
    places = tuple(map(float, sorted(numbers)))
    here, there = (data.draw(st.integers(0, len(places) - 1)) for _ in range(2))
    word = judge(times(places[here], places=places), OVERTAKES, places[there])[0]
    assert (word == "replicates") == (abs(here - there) <= 1)


@given(st.floats(-5, 5), st.floats(0.001, 5), st.floats(-5, 5), st.floats(0, 2))
def test_a_mirrored_effect_has_the_mirrored_claim_s_verdict(centre, half, published, margin):
    found = runs(centre - half, centre + half, (centre - 2 * half, centre + 2 * half))
    mirrored = replace(
        found, low=-found.high, high=-found.low, prediction=(-centre - 2 * half, -centre + 2 * half)
    )
    word = judge(found, Direction(kind="higher", margin=margin), published)[0]
    assert word == judge(mirrored, Direction(kind="lower", margin=margin), -published)[0]
    assert word in VERDICTS
