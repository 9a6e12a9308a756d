"""What a claims file says: each claim, what was published, what tests it, and its rule."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, model_validator

from fastff.config.base import Line, Name, Spec
from fastff.tables.schema import (
    BITS_PER_BYTE,
    CHOICES,
    MEASURES,
    OTHER_SCORES,
    SCORES,
    SHAPE,
    SIZES,
    TIMED_SIZES,
    TIMINGS,
)

Text = Annotated[Line, Field(min_length=1, max_length=600)]
Commit = Annotated[str, Field(pattern=r"^[0-9a-f]{7,40}$")]
BEST = "best_accuracy_hard"  # of all epochs of a run
METRICS = (*SCORES, *OTHER_SCORES, *CHOICES, *MEASURES, *BITS_PER_BYTE, "best_epoch", BEST)
ALONG_TIMES = (*TIMED_SIZES, "training_width")


def _as_tuple(value: Any) -> Any:
    """Take a list inside a mapping, where YAML's lists are kept, as a tuple."""
    return tuple(value) if isinstance(value, list) else value


Names = Annotated[tuple[Name, ...], BeforeValidator(_as_tuple), Field(min_length=1)]


def _as_variant(value: Any) -> Any:
    """Take a variant's name alone for a side."""
    return {"variant": value} if isinstance(value, str) else value


Origin = tuple[str | None, int | None]  # an experiment, None for the claim's, and an epoch
RUN_ENDS: Origin = (None, None)


class Side(Spec):
    """The runs on one side of a comparison.

    Attributes:
        variant: its name.
        metric: where it is another than the statistic's, such as the other form's accuracy.
        experiment: where it is another than the claim's.
        epoch: after which the metric is read, in the table of epochs; by default that of the run.
        depth: of its shapes, only those; so are the next two.

    """

    variant: Name
    metric: Name | None = None
    experiment: Name | None = None
    epoch: int | None = Field(default=None, ge=1)
    depth: int | None = None
    hidden_features: int | None = None
    region_leak: float | None = None

    @property
    def origin(self) -> Origin:
        """What tells the table of its runs from those of other sides."""
        return self.experiment, self.epoch

    def shape(self) -> dict[str, float]:
        """Return what is fixed of the shape."""
        return self.model_dump(include=set(SHAPE), exclude_none=True)


SideOf = Annotated[Side, BeforeValidator(_as_variant)]


class Pair(Spec):
    """Two sides to compare.

    Attributes:
        treatment: what should differ.
        baseline: from what.
        minus: whether the mean over such pairs' shapes is taken from that over the others', so that
            a claim can be of a difference of gains.

    """

    treatment: SideOf
    baseline: SideOf
    minus: bool = False


class PairedSpec(Spec):
    """What treatments change over their baselines, shape by shape and seed by seed.

    Attributes:
        kind: "change" is relative to the baseline, in percent; "difference" is in the metric's
            unit.
        metric: a column of the runs table, or a measure of how samples spread over experts.
        pairs: several are pooled: their shapes count alike. Not all can be `minus`.
        match: the columns in which the shapes of both sides must agree, by default the shape.

    """

    kind: Literal["change", "difference"]
    metric: Name
    pairs: tuple[Pair, ...] = Field(min_length=1)
    match: tuple[Name, ...] | None = Field(default=None, min_length=1)

    @model_validator(mode="after")
    def _check_minus(self) -> PairedSpec:
        if all(pair.minus for pair in self.pairs):
            raise ValueError("pairs: one without minus is needed")
        return self

    def sides(self) -> list[Side]:
        """Return all sides, the treatment before its baseline."""
        return [side for pair in self.pairs for side in (pair.treatment, pair.baseline)]

    def metrics(self) -> list[str]:
        """Return the metrics of all sides, each once."""
        return list(dict.fromkeys(side.metric or self.metric for side in self.sides()))

    def origins(self) -> list[Origin]:
        """Return the origins of all sides, each once."""
        return list(dict.fromkeys(side.origin for side in self.sides()))

    def columns(self) -> Iterator[tuple[str, str, tuple[str, ...]]]:
        """Yield each key that names a column, the column, and those that are allowed."""
        yield "metric", self.metric, METRICS
        for side in self.sides():
            if side.metric is not None:
                yield "pairs.metric", side.metric, METRICS
            if side.epoch is not None:
                yield "pairs.epoch", side.metric or self.metric, SCORES
        for column in self.match or ():
            yield "match", column, (*SHAPE, *SIZES, "n_experts")


class SlopeSpec(Spec):
    """How a metric changes with a column: the least-squares slope, at every other shape.

    Attributes:
        metric: as of `PairedSpec`.
        variant: whose runs.
        along: the column; a shape is one without it.
        step: the slope is per doubling of the column, or per so much of it.
        where: the only value of some other columns of the shape.

    """

    kind: Literal["slope"]
    metric: Name
    variant: Name
    along: Literal["depth", "hidden_features", "region_leak"]
    step: Literal["doubling"] | Annotated[float, Field(gt=0)] = "doubling"
    where: dict[Name, float] = Field(default={})

    def variants(self) -> list[str]:
        """Return the name of the variant that is read."""
        return [self.variant]

    def metrics(self) -> list[str]:
        """Return the metric."""
        return [self.metric]

    def origins(self) -> list[Origin]:
        """Return the only origin."""
        return [RUN_ENDS]

    def columns(self) -> Iterator[tuple[str, str, tuple[str, ...]]]:
        """Yield each key that names a column, the column, and those that are allowed."""
        yield "metric", self.metric, METRICS
        for column in self.where:
            yield "where", column, SHAPE


class Timed(Spec):
    """What was timed on one side: one variant in one mode, never the best of several.

    Where a variant has several shapes at one place, `depth` or `hidden_features` says which.
    """

    variant: Name
    mode: Literal["eager", "compiled", "graph"]
    depth: int | None = None
    hidden_features: int | None = None

    def values(self) -> dict[str, str | int]:
        """Return the values of the columns that tell the side's rows from all others."""
        return self.model_dump(exclude_none=True)


class TimedSpec(Spec):
    """A statistic of a benchmark's rows, by the ratio of the two sides' times.

    Attributes:
        treatment: what should be faster.
        baseline: what it is compared with.
        along: the column that tells points apart.
        where: the only value of some columns: case, dtype, batch, and what else is needed.

    """

    treatment: Timed
    baseline: Timed
    along: Name
    where: dict[Name, str | int | float] = Field(min_length=1)

    def variants(self) -> list[str]:
        """Return the names of the variants that are compared."""
        return [self.treatment.variant, self.baseline.variant]

    def columns(self) -> Iterator[tuple[str, str, tuple[str, ...]]]:
        """Yield each key that names a column, the column, and those that are allowed."""
        yield "along", self.along, ALONG_TIMES
        for column in self.where:
            yield f"where.{column}", column, (*TIMINGS.texts, *TIMED_SIZES)


class SpeedupSpec(TimedSpec):
    """How many times faster the treatment is: the geometric mean over the points `at`."""

    kind: Literal["speedup"]
    at: tuple[float, ...] = Field(min_length=1)


class CrossingSpec(TimedSpec):
    """From which point on the treatment is faster than the baseline, up to the last one.

    Attributes:
        last: the last point that counts; without measurements up to there nothing is tested.

    """

    kind: Literal["crossing"]
    last: float


RunStatistic = PairedSpec | SlopeSpec
Statistic = Annotated[RunStatistic | SpeedupSpec | CrossingSpec, Field(discriminator="kind")]


class Direction(Spec):
    """The effect is above 0, or below.

    Attributes:
        kind: the claim's side of 0.
        margin: effects nearer to 0 than this count as none.
        sided: of the test and its interval: "two", or "one" where the claim was made before.

    """

    kind: Literal["higher", "lower"]
    margin: float = Field(default=0.0, ge=0)
    sided: Literal["one", "two"] = "two"


class Equivalence(Spec):
    """The effect lies within a margin around 0: two one-sided tests."""

    kind: Literal["equal"]
    margin: float = Field(gt=0)


class Speed(Spec):
    """The treatment is faster, at one size ("faster") or from some size on ("overtakes")."""

    kind: Literal["faster", "overtakes", "never_overtakes"]


Expectation = Annotated[Direction | Equivalence | Speed, Field(discriminator="kind")]


class Published(Spec):
    """What the source says.

    Attributes:
        text: the number with what it is of, or that none is given.
        value: the number in the unit of the statistic, where there is one.
        best_of: where the number is of the best of so many runs, by an accuracy; else it is of
            one run.
        mark: how the number is known: S read in the source's stored output or code, H in an older
            commit, F read off a figure, C computed from these, P the paper's text, A its abstract,
            G an issue or model card, 2 a secondary page.
        dataset: that it is of; None for times, and for data that are no dataset here.

    """

    text: Text
    value: float | None = None
    best_of: int | None = Field(default=None, ge=2, le=1000)
    mark: Literal["S", "H", "F", "C", "P", "A", "G", "2"]
    dataset: Name | None = None


class Claim(Spec):
    """A claim, and how a result here tests it.

    Attributes:
        kind: "replication": the published model, data, recipe, form and metric; "generalisation":
            the same question on other data or in another form; "ours": what nobody published.
        source: a key of the file's `sources`.
        where: the place in the source.
        short: the claim in a few words, for the figure; by default its key's.
        statement: the claim, in our words.
        published: what the source says; None for ours.
        model: what is compared, and in what it differs from the published model.
        experiment: the experiment, or language model, whose runs are read.
        benchmark: or the benchmark whose rows are read.
        device: whose rows of the benchmark.
        target: the figure or table that shows the claim; by default of the block's name.
        statistic: what is computed.
        expects: what the claim says of it, and so the rule.
        decided: "after" where statistic, rule or margin were chosen with results at hand.
        registered: the commit that has this claim's rule, where it is not the file's.
        not_tested: why nothing here tests the claim; in place of all that would.

    """

    kind: Literal["replication", "generalisation", "ours"]
    source: Name
    where: Text
    short: Annotated[str, Field(min_length=1, max_length=52)] | None = None
    statement: Text
    published: Published | None = None
    model: Text
    experiment: Name | None = None
    benchmark: Name | None = None
    device: Literal["cpu", "cuda"] | None = None
    target: Name | None = None
    statistic: Statistic | None = None
    expects: Expectation | None = None
    decided: Literal["before", "after"] = "before"
    registered: Commit | None = None
    not_tested: Text | None = None

    @model_validator(mode="after")
    def _check_published(self) -> Claim:
        if (self.published is None) != (self.kind == "ours"):
            raise ValueError("published: a claim of ours has none, and every other one needs it")
        return self

    @model_validator(mode="after")
    def _check_tested(self) -> Claim:
        keys = ("experiment", "benchmark", "device", "target", "statistic", "expects")
        given = [key for key in keys if getattr(self, key) is not None]
        if self.not_tested is not None:
            if given:
                raise ValueError(f"{given[0]}: a claim that is not_tested can't have it")
            return self
        if self.statistic is None or self.expects is None:
            raise ValueError("statistic and expects are missing; or say why it is not_tested")
        if (self.experiment is None) == (self.benchmark is None):
            raise ValueError("allowed is one of experiment and benchmark, and one must be given")
        timed = isinstance(self.statistic, TimedSpec)
        if timed != (self.benchmark is not None):
            needed = "a benchmark" if timed else "an experiment"
            raise ValueError(f"statistic.kind = {self.statistic.kind!r} needs {needed}")
        if timed != (self.device is not None):
            raise ValueError("device: a claim of a benchmark needs it, and no other may have it")
        allowed = {"speedup": ("faster",), "crossing": ("overtakes", "never_overtakes")}
        kinds = allowed.get(self.statistic.kind, ("higher", "lower", "equal"))
        if self.expects.kind not in kinds:
            raise ValueError(
                f"expects.kind = {self.expects.kind!r}: statistic {self.statistic.kind!r} allows "
                f"{', '.join(kinds)}"
            )
        return self

    @model_validator(mode="after")
    def _check_best_of(self) -> Claim:
        spec = self.statistic
        if spec is None or self.published is None or self.published.best_of is None:
            return self
        if not isinstance(spec, PairedSpec) or spec.kind != "difference":
            raise ValueError(f"published.best_of: statistic {spec.kind!r} can't have it")
        if any(pair.minus for pair in spec.pairs):
            raise ValueError("published.best_of: pairs with minus can't have it")
        for metric in spec.metrics():
            if "accuracy" not in metric:
                raise ValueError(
                    f"published.best_of: the best run is that of the highest accuracy, and metric "
                    f"{metric!r} is none"
                )
        return self

    @property
    def block(self) -> str:
        """The name of the experiment or benchmark; "" where nothing tests the claim."""
        return self.experiment or self.benchmark or ""

    def variants(self) -> dict[str, list[str]]:
        """Return the variants that are read, by their experiment or benchmark."""
        found: dict[str, list[str]] = {self.block: []} if self.block else {}
        if isinstance(self.statistic, PairedSpec):
            for side in self.statistic.sides():
                found.setdefault(side.experiment or self.block, []).append(side.variant)
        elif self.statistic is not None:
            found[self.block] += self.statistic.variants()
        return found

    @property
    def rule(self) -> dict[str, Any]:
        """What a verdict depends on, beside the results."""
        return self.model_dump(include={"statistic", "expects"})


class ClaimsFile(Spec):
    """All claims of a ledger.

    Attributes:
        configs: files beside this one, whose experiments claims may name. One that the config in
            use hasn't leaves a claim not tested; any other name is an error.
        benchmarks: the variants of each benchmark that claims may name.
        registered: the commit that has the rules of all claims but those decided after, and those
            that name their own.
        least_seeds: fewer don't test anything.
        least_processes: likewise of times.
        sources: papers by key, as the ledger names them.
        claims: by name, in the order of the ledger.

    """

    configs: tuple[str, ...] = Field(min_length=1)
    benchmarks: dict[Name, Names] = Field(default={})
    registered: Commit | None = None
    least_seeds: int = Field(default=3, ge=2, le=10_000)
    least_processes: int = Field(default=3, ge=2, le=100)
    sources: dict[Name, Text] = Field(min_length=1)
    claims: dict[Name, Claim] = Field(min_length=1)

    def registered_of(self, claim: Claim) -> str:
        """Return the commit that has a claim's rule from before its runs; "" for none."""
        if claim.decided == "after":
            return ""
        return claim.registered or self.registered or ""
