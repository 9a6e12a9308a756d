"""From numbers to a verdict, by the rule that the claims file gives."""

from __future__ import annotations

import math
from collections.abc import Mapping

from fastff.analysis.ledger import VERDICTS
from fastff.claims.spec import Alternatives, Bound, Rule

REPRODUCES, IN_PART, DOES_NOT, NOT_TESTABLE = VERDICTS

NAMES = {
    "effect": "the effect",
    "low": "the interval's lower end",
    "high": "the interval's upper end",
    "p_holm": "Holm's p",
    "share": "the share of the published value",
    "slowest": "the least speed-up",
    "fastest": "the largest speed-up",
    "last": "the speed-up at the last point",
}


def judge(rule: Rule, numbers: Mapping[str, float]) -> tuple[str, str]:
    """Return the verdict, and why: the conditions that hold, or those that fail.

    Args:
        rule: of the claim.
        numbers: at least those that the rule asks for; NaN where there is none.

    """
    if holds(rule.reproduces, numbers):
        return REPRODUCES, _describe(rule.reproduces, numbers, met=True)
    if holds(rule.in_part, numbers):
        return IN_PART, _describe(rule.reproduces, numbers, met=False)
    return DOES_NOT, _describe(rule.in_part, numbers, met=False)


def holds(alternatives: Alternatives, numbers: Mapping[str, float]) -> bool:
    """Return whether all conditions of one of the alternatives hold."""
    return any(
        all(bound.holds(numbers[key]) for key, bound in conditions.items())
        for conditions in alternatives
    )


def _describe(alternatives: Alternatives, numbers: Mapping[str, float], *, met: bool) -> str:
    """Return the conditions of the first alternative that holds, or what fails in each."""
    said = []
    for conditions in alternatives:
        whole = holds((conditions,), numbers)
        if met and not whole:
            continue
        said.append(
            ", ".join(
                _say(key, bound, numbers[key], met=met)
                for key, bound in conditions.items()
                if bound.holds(numbers[key]) == met
            )
        )
        if met:
            break
    return "; ".join(said)


def _say(key: str, bound: Bound, value: float, *, met: bool) -> str:
    limits = [f"above {bound.above:g}"] if bound.above is not None else []
    limits += [f"below {bound.below:g}"] if bound.below is not None else []
    number = "missing" if math.isnan(value) else f"{value:.3g}"
    return f"{NAMES[key]} is {number}, {'' if met else 'not '}{' and '.join(limits)}"
