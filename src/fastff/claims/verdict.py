"""From numbers to one of five words, the same for every kind of claim."""

from __future__ import annotations

import math

from fastff.analysis.ledger import VERDICTS
from fastff.claims.file import Direction, Equivalence, Published, Speed
from fastff.claims.runs import Estimate
from fastff.claims.times import TimeEstimate

REPLICATES, SAME_DIRECTION, INCONCLUSIVE, CONTRADICTED, NOT_TESTED = VERDICTS
FACTOR = 1.5  # a speed-up within it of the published one replicates
Verdict = tuple[str, str]  # the word, and why


def judge_direction(found: Estimate, expects: Direction, published: float | None) -> Verdict:
    """Return the verdict on a claim that an effect is above or below 0.

    It is `contradicted` where the interval lies wholly inside the margin, whose effects count as
    none, or on the other side of 0; `replicates` where it lies on the claim's side and the
    published value in the interval of one run; has the `same direction` where only the former
    holds or no value was published; and is else `inconclusive`.
    """
    if max(abs(found.low), abs(found.high)) < expects.margin:
        return CONTRADICTED, f"the interval lies within {expects.margin:g} of 0"
    sign = 1 if expects.kind == "higher" else -1
    nearest, farthest = sorted((sign * found.low, sign * found.high))
    if nearest > 0:
        if published is None:
            return SAME_DIRECTION, "the interval lies on the claim's side; no value to compare"
        low, high = found.prediction
        of = "one run" if math.isnan(found.best_effect) else "the best run"
        where = f"{published:g} in the interval of {of}, {low:.3g} to {high:.3g}"
        if low <= published <= high:
            wide = ", an interval that holds 0 too, so that it hardly tests the value"
            return (
                REPLICATES,
                f"the interval lies on the claim's side, the published {where}"
                f"{wide if low <= 0 <= high else ''}",
            )
        return (
            SAME_DIRECTION,
            f"the interval lies on the claim's side, but not the published {where}",
        )
    if farthest < 0:
        return CONTRADICTED, "the interval lies on the other side of 0"
    return INCONCLUSIVE, "the interval holds 0"


def judge_equivalence(found: Estimate, expects: Equivalence) -> Verdict:
    """Return the verdict on a claim that an effect is as good as none: two one-sided tests."""
    margin = f"{expects.margin:g} of 0"
    if max(abs(found.low), abs(found.high)) < expects.margin:
        return REPLICATES, f"the 90 % interval lies within {margin}"
    if found.low > expects.margin or found.high < -expects.margin:
        return CONTRADICTED, f"the 90 % interval lies wholly farther than {margin}"
    return INCONCLUSIVE, f"the 90 % interval reaches farther than {margin}, but not wholly"


def judge_speed(found: TimeEstimate, expects: Speed, said: Published | None) -> Verdict:
    """Return the verdict on a claim of a speed-up or of where two curves cross.

    A speed-up is a direction, above 1, that `replicates` within a factor of 1.5 of the published. A
    crossing `replicates` at the published place or a timed one beside it; and that there is none,
    where the treatment is faster at no place of any process.
    """
    published = None if said is None else said.value
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
    n_overtaken = found.n_overtaken if overtakes else found.n_faster
    processes = f"{n_overtaken} of {found.n} processes"
    does = "overtakes" if overtakes else "is faster at some place"
    if 0 < n_overtaken < found.n:
        return INCONCLUSIVE, f"it {does} in {processes}"
    if (n_overtaken == found.n) != overtakes:
        return CONTRADICTED, f"it {does} in {processes}"
    if not overtakes:
        return SAME_DIRECTION if said is None else REPLICATES, "it is faster at no place"
    if not found.slower_first:
        return SAME_DIRECTION, "it overtakes, but isn't slower at the first place in every process"
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
    published: Published | None,
) -> Verdict:
    """Return the verdict on an estimate, and why.

    Args:
        found: the estimate.
        expects: what the claim says of it, and so the rule.
        published: what the estimate is compared with; None where it is of another model, data or
            form.

    """
    if isinstance(expects, Speed):
        assert isinstance(found, TimeEstimate)
        return judge_speed(found, expects, published)
    assert isinstance(found, Estimate) and math.isfinite(found.effect)
    if isinstance(expects, Equivalence):
        word, why = judge_equivalence(found, expects)
    else:
        word, why = judge_direction(found, expects, published.value if published else None)
    return word, why + _of_best(found, expects)


def _of_best(found: Estimate, expects: Direction | Equivalence) -> str:
    """Return what the best runs say, where the published number is of the best of several."""
    if math.isnan(found.best_effect):
        return ""
    said = f"; the best of {found.n} runs of each side differ by {found.best_effect:+.3g}"
    if isinstance(expects, Direction):
        return said
    inside = abs(found.best_effect) < expects.margin
    return f"{said}, {'within' if inside else 'outside'} the margin"
