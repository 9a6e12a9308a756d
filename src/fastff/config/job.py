"""What a training job is: a model over a grid and seeds, a recipe, and what is written down."""

from __future__ import annotations

from typing import Annotated, Literal, NamedTuple

from pydantic import Field, model_validator

from fastff.config.base import Name, Spec, Unique
from fastff.config.model import BottleneckSpec, Grid, ModelSpec, Point, Variant
from fastff.config.recipe import Recipe

Seed = Annotated[int, Field(ge=0, lt=2**32)]
Seeds = Annotated[tuple[Seed, ...], Field(min_length=1, max_length=10_000), Unique]
Recording = Literal["gradients", "expert_counts", "nodes", "projections"]


class Run(NamedTuple):
    """A run to train: a model that leaves nothing open, and the seed of all that is random."""

    model: ModelSpec
    seed: int

    @property
    def shape(self) -> Point:
        """The point of the grid, as the model sees it."""
        return self.model.shape


class Sized(Spec):
    """Models that another one is to equal in size: a variant at the points of a grid."""

    variant: Variant
    grid: Grid


class TrainSpec(Spec):
    """One training job: a variant over a grid and a list of seeds.

    Attributes:
        dataset: its name; training compares it with that of the data.
        equal_to: the variant, a feed-forward layer, is trained at these models' sizes too: as
            many parameters, hidden units in training, and hidden units at inference.
        record: what is written down beside losses, accuracies and the last expert counts.
            "gradients": the smoothed mean absolute gradients of nodes and experts over the steps;
            "expert_counts": samples per expert and class, every few epochs;
            "nodes": visits, entropy and, on a plane, decision line of every node of a tree;
            "projections": where a bottleneck of 2 features puts the validation samples.
        record_every: so many epochs lie between two that are recorded; the first ("epoch 0",
            before training) and the last are, too.
        runs: numbers of the first and the last of the runs that are trained, of all that there
            are, counted from 0, point by point and at a point seed by seed; None is all.

    """

    experiment: Name
    dataset: Name
    variant: Variant
    grid: Grid
    seeds: Seeds
    recipe: Recipe
    equal_to: tuple[Sized, ...] = ()
    record: tuple[Recording, ...] = ()
    record_every: int = Field(default=1, ge=1, le=100_000)
    runs: tuple[Annotated[int, Field(ge=0)], Annotated[int, Field(ge=0)]] | None = None

    @model_validator(mode="after")
    def _check_models(self) -> TrainSpec:
        self.variant.check_models(self.grid)
        return self

    @model_validator(mode="after")
    def _check_runs(self) -> TrainSpec:
        if self.runs is not None and self.runs[0] > self.runs[1]:
            raise ValueError(f"runs = {list(self.runs)}: the first is behind the last")
        return self

    @model_validator(mode="after")
    def _check_equal_to(self) -> TrainSpec:
        model = self.variant.model
        if self.equal_to and (model.kind != "feed_forward" or model.hidden_features is not None):
            raise ValueError(
                f"equal_size = {self.variant.name!r}: allowed is a variant of kind 'feed_forward' "
                "whose hidden_features come from the grid"
            )
        return self

    @model_validator(mode="after")
    def _check_record(self) -> TrainSpec:
        model = self.variant.model
        if "projections" in self.record and not (
            isinstance(model, BottleneckSpec) and model.features == 2
        ):
            raise ValueError(
                f"variant {self.variant.name!r}: record 'projections' needs a model of kind "
                "'bottleneck' with features = 2"
            )
        return self
