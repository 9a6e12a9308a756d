"""What a claim can ask of the tables: one statistic each, as a claims file says it."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, field_validator, model_validator

from fastff.config.base import Name, Spec, require_unique

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
