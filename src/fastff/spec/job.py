"""What a training job is: a layer over a grid of shapes and seeds, and a recipe."""

from __future__ import annotations

from typing import Annotated, Literal, NamedTuple

from pydantic import Field, field_validator, model_validator

from fastff.data.names import DATASET_NAMES
from fastff.spec.base import Name, Spec, require_unique
from fastff.spec.layer import NoisyTopKGateSpec, Variant

MAX_DEPTH = 20

Seeds = Annotated[tuple[Annotated[int, Field(ge=0, lt=2**32)], ...], Field(min_length=1)]


class Recipe(Spec):
    """How a run is trained: AdamW under a one-cycle schedule (the study's recipe).

    Attributes:
        epochs: passes over the training data.
        batch_size: samples per step. The last, incomplete batch of an epoch is left out; the
            order changes every epoch, so no sample is left out for good.
        learning_rate: the peak of the schedule.
        betas: AdamW's decay rates. The first is overwritten by the momentum cycle.
        warm_up: share of the steps in which the rate rises.
        start_divisor: the first rate is `learning_rate / start_divisor`.
        end_divisor: the last rate is `learning_rate / end_divisor`.
        momentum: highest and lowest first beta; it falls while the rate rises.

    """

    epochs: int = Field(ge=1, le=10_000)
    batch_size: int = Field(ge=1, le=1_000_000)
    learning_rate: float = Field(gt=0, le=10)
    betas: tuple[float, float] = (0.9, 0.99)
    epsilon: float = Field(default=1e-5, gt=0)
    weight_decay: float = Field(default=0.01, ge=0)
    warm_up: float = Field(default=0.25, gt=0, lt=1)
    start_divisor: float = Field(default=25.0, ge=1)
    end_divisor: float = Field(default=1e5, ge=1)
    momentum: tuple[float, float] = (0.95, 0.85)

    @field_validator("betas", "momentum")
    @classmethod
    def _check_rates(cls, value: tuple[float, float]) -> tuple[float, float]:
        if not all(0 <= rate < 1 for rate in value):
            raise ValueError("both numbers must be at least 0 and below 1")
        return value


class Shape(NamedTuple):
    """The size of a layer: 2**depth experts of `hidden_features` units each."""

    depth: int
    hidden_features: int


class Grid(Spec):
    """The shapes of an experiment: every depth with every number of hidden units.

    A layer of depth d has 2**d experts, whichever its gate.
    """

    depth: tuple[Annotated[int, Field(ge=1, le=MAX_DEPTH)], ...] = Field(min_length=1)
    hidden_features: tuple[Annotated[int, Field(ge=1, le=1_000_000)], ...] = Field(min_length=1)

    @field_validator("depth", "hidden_features")
    @classmethod
    def _check_unique(cls, value: tuple[int, ...]) -> tuple[int, ...]:
        return require_unique(value)

    def shapes(self) -> list[Shape]:
        """Return every shape, depth first."""
        return [Shape(d, h) for d in self.depth for h in self.hidden_features]


Recording = Literal["gradients"]


class TrainSpec(Spec):
    """One training job: a variant over a grid of shapes and a list of seeds.

    `record` names what is written down beside losses, accuracies and expert counts: "gradients",
    the smoothed mean absolute gradient of every node (or logit) and expert over the steps.
    """

    experiment: Name
    dataset: Literal[DATASET_NAMES]  # type: ignore[valid-type]
    variant: Variant
    grid: Grid
    seeds: Seeds
    recipe: Recipe
    record: tuple[Recording, ...] = ()

    @model_validator(mode="after")
    def _check_top_k(self) -> TrainSpec:
        gate, fewest = self.variant.gate, 2 ** min(self.grid.depth)
        where = f"depth {min(self.grid.depth)} has only {fewest} experts"
        if gate.top_k is not None and gate.top_k > fewest:
            raise ValueError(f"variant {self.variant.name!r} has top_k = {gate.top_k}, but {where}")
        if isinstance(gate, NoisyTopKGateSpec) and gate.load_weight > 0 and gate.top_k == fewest:
            raise ValueError(
                f"variant {self.variant.name!r}: load_weight > 0 needs an expert that is left "
                f"out, but top_k = {gate.top_k} and {where}"
            )
        return self
