"""Random changes of training images, step by step."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from fastff.config.recipe import AugmentationSpec
from fastff.layers.linear import Random


class Augmentation:
    """Flips, turns, scales and moves images, each by numbers of its own.

    Args:
        spec: what is done, and how much at most.
        image_shape: channels, height and width of an input, which is flattened in this order.
        random: with a generator per run.

    """

    def __init__(
        self, spec: AugmentationSpec, image_shape: tuple[int, int, int], random: Random
    ) -> None:
        self.spec = spec
        self.image_shape = image_shape
        self.random = random

    def __call__(self, x: Tensor) -> Tensor:
        """Return changed inputs (r, b, i) of inputs (r, b, i), with 0 where no image was."""
        spec = self.spec
        _, height, width = self.image_shape
        drawn = 2 * self.random.uniform(x.new_empty(*x.shape[:2], 6)) - 1  # in [-1, 1)
        angle, scale, right, down, *mirrored = drawn.flatten(0, 1).unbind(-1)
        angle = math.radians(spec.rotate) * angle
        scale = 1 + spec.scale * scale
        signs = [
            torch.where(sign < 0, -1.0, 1.0) if name in spec.flips else torch.ones_like(sign)
            for name, sign in zip(("horizontal", "vertical"), mirrored, strict=True)
        ]
        # where an output's pixel comes from, in units of half the sides
        cos, sin = angle.cos() / scale, angle.sin() / scale
        across = torch.stack([signs[0] * cos, signs[0] * sin * height / width, right], -1)
        along = torch.stack([-signs[1] * sin * width / height, signs[1] * cos, down], -1)
        across[:, 2] *= 2 * spec.translate
        along[:, 2] *= 2 * spec.translate
        images = x.flatten(0, 1).unflatten(-1, self.image_shape)
        places = F.affine_grid(
            torch.stack([across, along], 1), list(images.shape), align_corners=False
        )
        changed = F.grid_sample(images, places, align_corners=False)
        return changed.flatten(1).view(x.shape)
