"""What sizes and settings an experiment goes through."""

from __future__ import annotations

from typing import Annotated, NamedTuple

from pydantic import Field, field_validator

from fastff.config.base import Spec, require_unique

MAX_DEPTH = 20

Depth = Annotated[int, Field(ge=1, le=MAX_DEPTH)]
Width = Annotated[int, Field(ge=1, le=1_000_000)]
Rate = Annotated[float, Field(ge=0, le=1)]


class Point(NamedTuple):
    """A point of a grid: 2**depth experts of `hidden_features` units each, and a region leak.

    As a model sees it, what the model doesn't have is 0: the depth of a feed-forward layer, the
    hidden units of a convolutional network, the region leak of a layer without a tree.
    """

    depth: int
    hidden_features: int
    region_leak: float = 0.0


class GridPoint(NamedTuple):
    """A point as the grid says it: without `region_leak`, every tree keeps its own."""

    depth: int
    hidden_features: int
    region_leak: float | None = None


class Grid(Spec):
    """Every depth with every number of hidden units, and with every region leak if there are any.

    A layer of depth d has 2**d experts, whichever its gate.
    """

    depth: tuple[Depth, ...] = Field(min_length=1)
    hidden_features: tuple[Width, ...] = Field(min_length=1)
    region_leak: tuple[Rate, ...] | None = Field(default=None, min_length=1)

    @field_validator("depth", "hidden_features", "region_leak")
    @classmethod
    def _check_unique(cls, value: tuple[float, ...] | None) -> tuple[float, ...] | None:
        return value if value is None else require_unique(value)

    def points(self) -> list[GridPoint]:
        """Return every point, depth first."""
        return [
            GridPoint(depth, hidden_features, leak)
            for depth in self.depth
            for hidden_features in self.hidden_features
            for leak in self.region_leak or (None,)
        ]


class GridChange(Spec):
    """What a single variant's grid has in place of the experiment's."""

    depth: tuple[Depth, ...] | None = Field(default=None, min_length=1)
    hidden_features: tuple[Width, ...] | None = Field(default=None, min_length=1)
    region_leak: tuple[Rate, ...] | None = Field(default=None, min_length=1)

    def applied(self, grid: Grid) -> Grid:
        """Return the grid with these values in place of its own."""
        return Grid(**(grid.model_dump() | self.model_dump(exclude_none=True)))
