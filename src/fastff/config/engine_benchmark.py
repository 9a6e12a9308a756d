"""What a benchmark measures."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from fastff.config.base import Spec
from fastff.config.grid import Grid
from fastff.config.model import Variant
from fastff.config.recipe import Recipe
from fastff.data.names import DATASET_NAMES


class EngineBenchmarkSpec(Spec):
    """The training engine against the plain way: time of one run and epoch, and peak memory.

    Attributes:
        variants: what is trained, at every point of `grid`.
        recipe: its `epochs` are the engine's; the plain way trains one.
        runs: how many runs the engine trains at once, on every core or in every stream.
        workers: how many processes load the plain way's samples; one measurement for each.
        repeats: how often each side is measured, in turn.

    """

    kind: Literal["engine"] = "engine"
    dataset: Literal[DATASET_NAMES]  # type: ignore[valid-type]
    variants: tuple[Variant, ...] = Field(min_length=1)
    grid: Grid
    recipe: Recipe
    runs: int = Field(default=10, ge=1, le=10_000)
    workers: tuple[int, ...] = Field(default=(0, 8), min_length=1)
    repeats: int = Field(default=5, ge=1, le=1000)

    @model_validator(mode="after")
    def _check_workers(self) -> EngineBenchmarkSpec:
        for workers in self.workers:
            if not 0 <= workers <= 256:
                raise ValueError(f"workers = {workers}: must be between 0 and 256")
        return self
