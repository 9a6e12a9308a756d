"""What testing a claim gives: an effect with its interval, or why there is none."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


class NotTestableError(Exception):
    """The data at hand can't test a claim; the message says why."""


@dataclass(frozen=True)
class Estimate:
    """An effect, and how sure it is.

    Attributes:
        effect: in `unit`; NaN where there is none, as of a crossing that isn't.
        low: end of the interval.
        high: the other end.
        p_value: of the test against no effect; NaN where there is no test.
        n: how many pairs or points there are.
        unit: of effect and interval.
        detail: on what it was found.
        more: further numbers that a rule can ask for.

    """

    effect: float
    low: float
    high: float
    p_value: float
    n: int
    unit: str
    detail: str
    more: Mapping[str, float] = field(default_factory=dict)
