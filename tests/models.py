"""Small models of the presets."""

import torch

from fastff.config.model import GridPoint, Variant
from fastff.layers import Layer
from fastff.train.build import Sizes, build_model


def small_model(
    variant: Variant,
    *,
    in_features: int = 24,
    out_features: int = 4,
    depth: int = 3,
    hidden_features: int = 6,
    region_leak: float | None = None,
    generator: torch.Generator | None = None,
) -> Layer:
    """Return a variant's model at a point of a grid; its inputs are images of four rows."""
    model = variant.model.resolved(GridPoint(depth, hidden_features, region_leak))
    sizes = Sizes(in_features, out_features, image_shape=(1, 4, in_features // 4))
    return build_model(model, sizes, generator=generator)
