"""What a job trains: its runs, among them feed-forward layers of the size of other models."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from fastff.config.job import Run, Sized, TrainSpec
from fastff.config.model import ModelSpec, Point, Variant
from fastff.data.dataset import Dataset
from fastff.layers import Layer
from fastff.train.build import Sizes, build_model, count_parameters


def runs(spec: TrainSpec, data: Dataset) -> list[Run]:
    """Return the runs of a job, model by model and of a model seed by seed.

    Raises:
        ValueError: where `spec.runs` has one that there isn't.

    """
    found = [Run(model, seed) for model in models(spec, data) for seed in spec.seeds]
    if spec.runs is None:
        return found
    first, last = spec.runs
    if last >= len(found):
        raise ValueError(
            f"{spec.experiment} {spec.variant.name}, runs = {first}-{last}: allowed are runs "
            f"0-{len(found) - 1}"
        )
    return found[first : last + 1]


def models(spec: TrainSpec, data: Dataset) -> list[ModelSpec]:
    """Return the models of a job: its grid's, then those that equal other models in size."""
    found = {model.shape: model for model in spec.variant.models(spec.grid)}
    for width in equal_widths(spec.variant, spec.equal_to, data) if spec.equal_to else []:
        model = spec.variant.model.resolved(Point(0, width))
        found.setdefault(model.shape, model)
    return list(found.values())


def equal_widths(variant: Variant, equal_to: Sequence[Sized], data: Dataset) -> list[int]:
    """Return the widths at which a feed-forward variant equals other models, ascending.

    Three for every model: the width that comes closest to its number of parameters, its hidden
    units in training, and its hidden units at inference.
    """
    sizes = Sizes.of(data)

    def build(model: ModelSpec) -> Layer:
        with torch.device("meta"):
            return build_model(model, sizes)

    narrow, wide = (variant.model.resolved(Point(0, width)) for width in (1, 2))
    one, two = count_parameters(build(narrow)), count_parameters(build(wide))
    per_unit, fixed = two - one, 2 * one - two
    widths: set[int] = set()
    for sized in equal_to:
        for model in sized.variant.models(sized.grid):
            layer = build(model)
            equal = round((count_parameters(layer) - fixed) / per_unit)
            widths |= {max(1, equal), layer.training_width, layer.inference_width}
    return sorted(widths)
