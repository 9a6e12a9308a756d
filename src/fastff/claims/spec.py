"""What a claims file says: the claims, what tests them, and the rules for their verdicts."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, model_validator

from fastff.claims.statistics import (
    CrossingSpec,
    Names,
    Quantity,
    SpeedupSpec,
    StatisticSpec,
)
from fastff.config.base import Name, Spec, unknown

Text = Annotated[str, Field(min_length=1, max_length=400)]


class Bound(Spec):
    """What a number must be above, below, or between; a number that there isn't meets no bound."""

    above: float | None = None
    below: float | None = None

    @model_validator(mode="after")
    def _check_given(self) -> Bound:
        if self.above is None and self.below is None:
            raise ValueError("neither above nor below is given; allowed is one of them, or both")
        return self

    def holds(self, value: float) -> bool:
        """Return whether a value meets the bound."""
        if self.above is not None and not value > self.above:
            return False
        return self.below is None or value < self.below


Conditions = Annotated[dict[Quantity, Bound], Field(min_length=1)]


def _as_alternatives(value: Any) -> Any:
    """Take one set of conditions as the only one of a list."""
    return (value,) if isinstance(value, dict) else value


Alternatives = Annotated[
    tuple[Conditions, ...], BeforeValidator(_as_alternatives), Field(min_length=1)
]


class Rule(Spec):
    """When a claim reproduces, when in part; otherwise it does not.

    Attributes:
        says: the rule in words.
        reproduces: conditions that must all hold, or a list of such sets, one of which must.
        in_part: likewise, asked where those of `reproduces` don't hold.

    """

    says: Text
    reproduces: Alternatives
    in_part: Alternatives

    def quantities(self) -> set[Quantity]:
        """Return the numbers that the rule asks for."""
        return {key for conditions in (*self.reproduces, *self.in_part) for key in conditions}


class Published(Spec):
    """What the source says.

    Attributes:
        text: the number with what it is of, or that none is given.
        value: the number in the unit of the statistic, where there is one.

    """

    text: Text
    value: float | None = None


class Claim(Spec):
    """A claim of a paper, and how a result here tests it.

    Attributes:
        source: a key of the file's `sources`.
        where: the place in the source.
        statement: the claim, in our words.
        published: what the source says.
        experiment: the experiment whose runs are read.
        benchmark: or the benchmark whose rows are read.
        device: whose rows of the benchmark.
        target: the figure or table of it that shows the claim; by default of the block's name.
        statistic: what is computed.
        rule: a key of the file's `rules`.

    """

    source: Name
    where: Text
    statement: Text
    published: Published
    experiment: Name | None = None
    benchmark: Name | None = None
    device: Literal["cpu", "cuda"] | None = None
    target: Name | None = None
    statistic: StatisticSpec
    rule: Name

    @model_validator(mode="after")
    def _check_reads(self) -> Claim:
        if (self.experiment is None) == (self.benchmark is None):
            raise ValueError("allowed is one of experiment and benchmark, and one must be given")
        timed = isinstance(self.statistic, SpeedupSpec | CrossingSpec)
        if timed != (self.benchmark is not None):
            needed = "a benchmark" if timed else "an experiment"
            raise ValueError(f"statistic.kind = {self.statistic.kind!r} needs {needed}")
        if timed != (self.device is not None):
            raise ValueError("device: a claim of a benchmark needs it, and no other may have it")
        return self

    @property
    def block(self) -> str:
        """The name of the experiment or benchmark."""
        return str(self.experiment or self.benchmark)


class BootstrapSpec(Spec):
    """The bootstrap of the intervals: how many resamples, from which seed, of which coverage."""

    resamples: int = Field(default=10_000, ge=100, le=1_000_000)
    seed: int = Field(default=0, ge=0, lt=2**32)
    level: float = Field(default=0.95, gt=0, lt=1)


class ClaimsFile(Spec):
    """All claims of a ledger.

    Attributes:
        experiments_of: a config file beside this one, whose experiments claims may name. One that
            the config in use hasn't makes a claim not testable; any other name is an error.
        benchmarks: the variants of each benchmark that claims may name.
        least_seeds: an experiment with fewer seeds tests nothing.
        bootstrap: of the intervals.
        sources: papers by key, as the ledger names them.
        rules: by name.
        claims: by name, in the order of the ledger.

    """

    experiments_of: str
    benchmarks: dict[Name, Names] = Field(default={})
    least_seeds: int = Field(default=3, ge=2, le=10_000)
    bootstrap: BootstrapSpec = BootstrapSpec()
    sources: dict[Name, Text] = Field(min_length=1)
    rules: dict[Name, Rule] = Field(min_length=1)
    claims: dict[Name, Claim] = Field(min_length=1)

    def faults(self) -> Iterator[str]:
        """Yield what is wrong with the names of sources, rules and benchmarks, a line each."""
        for name, claim in self.claims.items():
            for key, allowed in (
                ("source", list(self.sources)),
                ("rule", list(self.rules)),
                ("benchmark", list(self.benchmarks)),
            ):
                given = getattr(claim, key)
                if given is not None and given not in allowed:
                    what = unknown(f"{key} {given!r}", given, allowed)
                    yield f"claims.{name}.{key} = {given!r}: {what}"
            if claim.rule in self.rules:
                yield from _faults_of_rule(f"claims.{name}.rule", claim, self.rules[claim.rule])


def _faults_of_rule(key: str, claim: Claim, rule: Rule) -> Iterator[str]:
    """Yield what a rule asks for and the claim doesn't give."""
    allowed = claim.statistic.quantities()
    asked = rule.quantities()
    if lacking := sorted(asked - {*allowed}):
        yield (
            f"{key} = {claim.rule!r}: it asks for {' and '.join(lacking)}; statistic "
            f"{claim.statistic.kind!r} gives {', '.join(allowed)}"
        )
    if "share" in asked and not claim.published.value:
        yield f"{key} = {claim.rule!r}: it asks for share, but published.value is missing"
