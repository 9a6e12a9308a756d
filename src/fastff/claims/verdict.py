"""From numbers to one of five words, the same for every kind of claim."""

from __future__ import annotations

import math

from fastff.analysis.ledger import VERDICTS
from fastff.claims.file import Direction, Equivalence, Speed
from fastff.claims.runs import Estimate
from fastff.claims.times import TimeEstimate

REPLICATES, SAME_DIRECTION, INCONCLUSIVE, CONTRADICTED, NOT_TESTED = VERDICTS
FACTOR = 1.5  # a speed-up within it of the published one replicates
Verdict = tuple[str, str]  # the word, and why


def judge_direction(found: Estimate, expects: Direction, published: float | None) -> Verdict:
    """Return the verdict on a claim that an effect is above or below 0.

    It `replicates` where the interval lies beyond 0 on the claim's side and the published value in
    the interval of one run, has the `same direction` where only the first holds or no value was
    published, is `contradicted` where the interval lies on the other side of 0 or wholly inside the
    margin, and is else `inconclusive`.
    """
    sign = 1 if expects.kind == "higher" else -1
    nearest, farthest = sorted((sign * found.low, sign * found.high))
    if nearest > 0:
        if published is None:
            return SAME_DIRECTION, "the interval lies on the claim's side; no value to compare"
        low, high = found.prediction
        where = f"{published:g} in the interval of one run, {low:.3g} to {high:.3g}"
        if low <= published <= high:
            return REPLICATES, f"the interval lies on the claim's side, the published {where}"
        return (
            SAME_DIRECTION,
            f"the interval lies on the claim's side, but not the published {where}",
        )
    if farthest < 0:
        return CONTRADICTED, "the interval lies on the other side of 0"
    if max(abs(found.low), abs(found.high)) < expects.margin:
        return CONTRADICTED, f"the interval lies within {expects.margin:g} of 0"
    return INCONCLUSIVE, "the interval holds 0"


def judge_equivalence(found: Estimate, expects: Equivalence) -> Verdict:
    """Return the verdict on a claim that an effect is as good as none: two one-sided tests."""
    margin = f"{expects.margin:g} of 0"
    if max(abs(found.low), abs(found.high)) < expects.margin:
        return REPLICATES, f"the 90 % interval lies within {margin}"
    if found.low > expects.margin or found.high < -expects.margin:
        return CONTRADICTED, f"the 90 % interval lies wholly farther than {margin}"
    return INCONCLUSIVE, f"the 90 % interval reaches farther than {margin}, but not wholly"


def judge_speed(found: TimeEstimate, expects: Speed, published: float | None) -> Verdict:
    """Return the verdict on a claim of a speed-up or of where two curves cross.

    A speed-up is a direction, above 1, that `replicates` within a factor of 1.5 of the published. A
    crossing `replicates` at the published place or a timed one beside it; and that there is none,
    where no process has one.
    """
    processes = f"{found.n_overtaken} of {found.n} processes"
    if expects.kind == "faster":
        if found.high < 1:
            return CONTRADICTED, "the interval lies below 1: slower"
        if found.low <= 1:
            return INCONCLUSIVE, "the interval holds 1"
        if published is None:
            return SAME_DIRECTION, "faster; no value to compare"
        if max(found.effect / published, published / found.effect) <= FACTOR:
            return (
                REPLICATES,
                f"faster, within a factor of {FACTOR:g} of the published {published:g}",
            )
        return SAME_DIRECTION, f"faster, not within a factor of {FACTOR:g} of {published:g}"
    overtakes = expects.kind == "overtakes"
    if 0 < found.n_overtaken < found.n:
        return INCONCLUSIVE, f"it overtakes in {processes}"
    if (found.n_overtaken == found.n) != overtakes:
        return CONTRADICTED, f"it overtakes in {processes}"
    if not overtakes:
        return REPLICATES, "it never overtakes"
    if not found.slower_first:
        return SAME_DIRECTION, "it is faster, but from the first point on"
    if published is not None and _is_beside(found, published):
        return REPLICATES, f"it overtakes beside the published place, {published:g}"
    more = "" if published is None else f", not beside the published place, {published:g}"
    return SAME_DIRECTION, f"it overtakes{more}"


def _is_beside(found: TimeEstimate, published: float) -> bool:
    """Return whether no timed place lies between a crossing and the published place.

    A place outside of the timed ones is beside none.
    """
    within = found.places[0] <= published <= found.places[-1]
    low, high = sorted((found.effect, published))
    return within and not any(low < place < high for place in found.places)


def judge(
    found: Estimate | TimeEstimate,
    expects: Direction | Equivalence | Speed,
    published: float | None,
) -> Verdict:
    """Return the verdict on an estimate, and why, by what the claim expects."""
    if isinstance(expects, Speed):
        assert isinstance(found, TimeEstimate)
        return judge_speed(found, expects, published)
    assert isinstance(found, Estimate) and math.isfinite(found.effect)
    if isinstance(expects, Equivalence):
        return judge_equivalence(found, expects)
    return judge_direction(found, expects, published)
