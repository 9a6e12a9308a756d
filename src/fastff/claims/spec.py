"""What a claims file says: the claims, what tests them, and the rules for their verdicts."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, field_validator, model_validator

from fastff.config.base import Name, Spec, require_unique, unknown

# Numbers that a rule can ask for; all statistics have the first three.
Quantity = Literal["effect", "low", "high", "p_holm", "share", "slowest", "fastest", "last"]
BOUNDS: tuple[Quantity, ...] = ("effect", "low", "high", "share")


def _as_tuple(value: Any) -> Any:
    """Take a name alone as the only one of a list."""
    if isinstance(value, list):  # inside a mapping, where YAML's lists are kept
        return tuple(value)
    return (value,) if isinstance(value, str) else value


Names = Annotated[tuple[Name, ...], BeforeValidator(_as_tuple), Field(min_length=1)]


class Side(Spec):
    """The runs on one side of a comparison; of a shape, only those with the values given."""

    variant: Name
    depth: int | None = None
    hidden_features: int | None = None
    region_leak: float | None = None

    def shape(self) -> dict[str, float]:
        """Return what is fixed of the shape."""
        return self.model_dump(exclude={"variant"}, exclude_none=True)


def _as_side(value: Any) -> Any:
    return {"variant": value} if isinstance(value, str) else value


SideOf = Annotated[Side, BeforeValidator(_as_side)]


class Pair(Spec):
    """Two sides to compare: a variant's name, or a variant with some of its shape."""

    treatment: SideOf
    baseline: SideOf


class OfRuns(Spec):
    """A statistic of an experiment's runs.

    Attributes:
        metric: a column of the runs table, or of how the samples spread over the experts.
        over: what the test pairs and the bootstrap draws. "points": grid points, each by its mean
            over seeds, as the study did; the bootstrap draws points and seeds. "seeds": seeds,
            each by its mean over the grid points, where a grid is a single point.

    """

    metric: Name
    over: Literal["points", "seeds"] = "points"

    def quantities(self) -> tuple[Quantity, ...]:
        """Return the numbers that a rule can ask for."""
        return (*BOUNDS, "p_holm")


class PairedSpec(OfRuns):
    """What the treatments change over their baselines.

    Attributes:
        kind: "change" is relative to the baseline, in percent; "difference" is in the metric's
            unit.
        pairs: several are pooled: a grid point is a shape of a pair.
        match: the columns in which the points of both sides must agree, by default the shape. For
            every point of the treatment there must be one of the baseline.

    """

    kind: Literal["change", "difference"]
    pairs: tuple[Pair, ...] = Field(min_length=1)
    match: tuple[Name, ...] | None = Field(default=None, min_length=1)

    @field_validator("pairs")
    @classmethod
    def _check_unique(cls, value: tuple[Pair, ...]) -> tuple[Pair, ...]:
        return require_unique(value)

    def variants(self) -> list[str]:
        """Return the names of the variants that are compared."""
        return [side.variant for pair in self.pairs for side in (pair.treatment, pair.baseline)]

    def columns(self) -> dict[str, str]:
        """Return the columns that are read, by the key that names them."""
        return {"metric": self.metric} | {f"match[{i}]": m for i, m in enumerate(self.match or ())}


class SlopeSpec(OfRuns):
    """How a metric changes with a column: the least-squares slope, at every other point.

    Attributes:
        variant: whose runs.
        along: the column; a point is a shape without it.
        step: the slope is per doubling of the column, or per so much of it.

    """

    kind: Literal["slope"]
    variant: Name
    along: Literal["depth", "hidden_features", "region_leak"]
    step: Literal["doubling"] | Annotated[float, Field(gt=0)] = "doubling"

    def variants(self) -> list[str]:
        """Return the names of the variants that are read."""
        return [self.variant]

    def columns(self) -> dict[str, str]:
        """Return the columns that are read, by the key that names them."""
        return {"metric": self.metric, "along": self.along}


class OfBenchmark(Spec):
    """A statistic of a benchmark's rows.

    The time at a point is the least median of the rows there: each side in its fastest mode, and
    the fastest of several variants, unless `where` says otherwise.

    Attributes:
        treatment: variants whose time is compared.
        baseline: variants that it is compared with.
        along: the column that tells points apart; both sides must have the same value of it.
        where: the only value of some columns.
        least: of `along`, the least value that is looked at.
        most: the largest one.
        needs: of `along`, a value that both sides must have been timed at; without it, nothing is
            tested.

    """

    treatment: Names
    baseline: Names
    along: Name
    where: dict[Name, str | int | float] = Field(default={})
    least: float | None = None
    most: float | None = None
    needs: float | None = None

    @model_validator(mode="after")
    def _check_range(self) -> OfBenchmark:
        if self.least is not None and self.most is not None and self.least > self.most:
            raise ValueError(f"least = {self.least:g}: must be at most most = {self.most:g}")
        return self

    def variants(self) -> list[str]:
        """Return the names of the variants that are compared."""
        return [*self.treatment, *self.baseline]

    def columns(self) -> dict[str, str]:
        """Return the columns that are read, by the key that names them."""
        return {"along": self.along} | {f"where.{column}": column for column in self.where}


class SpeedupSpec(OfBenchmark):
    """How many times faster the treatment is than the baseline.

    Attributes:
        of: the largest ratio of all points, or their geometric mean.

    """

    kind: Literal["speedup"]
    of: Literal["largest", "mean"] = "largest"

    def quantities(self) -> tuple[Quantity, ...]:
        """Return the numbers that a rule can ask for."""
        return BOUNDS


class CrossingSpec(OfBenchmark):
    """From which point on the treatment is faster than the baseline, up to the last point.

    A rule can also ask for the least and the largest speed-up, and for that at the last point.
    """

    kind: Literal["crossing"]

    def quantities(self) -> tuple[Quantity, ...]:
        """Return the numbers that a rule can ask for."""
        return (*BOUNDS, "slowest", "fastest", "last")


RunStatistic = PairedSpec | SlopeSpec
BenchmarkStatistic = SpeedupSpec | CrossingSpec
StatisticSpec = Annotated[RunStatistic | BenchmarkStatistic, Field(discriminator="kind")]


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
