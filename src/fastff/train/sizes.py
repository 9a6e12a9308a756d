"""What a job trains: points and seeds, and feed-forward layers of the size of other models."""

from __future__ import annotations

from collections.abc import Sequence

from fastff.config.job import Sized, TrainSpec
from fastff.config.model import Point, Variant
from fastff.data.dataset import Dataset
from fastff.layers import Layer
from fastff.train.build import Sizes, build_model

Run = tuple[Point, int]


def runs(spec: TrainSpec, data: Dataset) -> list[Run]:
    """Return the runs of a job, point by point and at a point seed by seed.

    Raises:
        ValueError: where `spec.runs` has one that there isn't.

    """
    found = [(point, seed) for point in points(spec, data) for seed in spec.seeds]
    if spec.runs is None:
        return found
    first, last = spec.runs
    if last >= len(found):
        raise ValueError(
            f"{spec.experiment} {spec.variant.name}, runs = {first}-{last}: allowed are runs "
            f"0-{len(found) - 1}"
        )
    return found[first : last + 1]


def points(spec: TrainSpec, data: Dataset) -> list[Point]:
    """Return the points of a job: its grid's, then those that equal other models in size."""
    found = spec.variant.points(spec.grid)
    widths = equal_widths(spec.variant, spec.equal_to, data) if spec.equal_to else []
    return list(dict.fromkeys([*found, *(Point(0, width) for width in widths)]))


def equal_widths(variant: Variant, equal_to: Sequence[Sized], data: Dataset) -> list[int]:
    """Return the widths at which a feed-forward variant equals other models, ascending.

    Three for every model: the width that comes closest to its number of parameters, its hidden
    units in training, and its hidden units at inference.
    """

    def build(one: Variant, point: Point) -> Layer:
        return build_model(one, Sizes(data.in_features, data.n_classes, point, data.image_shape))

    def n_parameters(layer: Layer) -> int:
        return sum(parameter.numel() for parameter in layer.parameters())

    one, two = (n_parameters(build(variant, Point(0, width))) for width in (1, 2))
    per_unit, fixed = two - one, 2 * one - two
    widths: set[int] = set()
    for sized in equal_to:
        for point in sized.variant.points(sized.grid):
            layer = build(sized.variant, point)
            equal = round((n_parameters(layer) - fixed) / per_unit)
            widths |= {max(1, equal), layer.training_width, layer.inference_width}
    return sorted(widths)
