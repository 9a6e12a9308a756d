"""Where a layer's random numbers come from."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from fastff.kernels.reference import at_least_float32


class Random:
    """Random numbers for training: from torch's global generator, or one generator per run.

    With generators, the first dimension of what is drawn is the run dimension, and every run's
    numbers come from its own generator alone, whatever the others draw.

    Args:
        generators: one per run, on the device to draw on or on the CPU; None draws from torch's
            global generator.

    """

    def __init__(self, generators: Sequence[torch.Generator] | None = None) -> None:
        self.generators = generators

    def uniform(self, like: Tensor) -> Tensor:
        """Return numbers uniform in [0, 1), of the shape and device of `like`, at least float32.

        Half precision has too few numbers to be compared with a small probability.
        """
        return self._draw(torch.rand, like, at_least_float32(like.dtype))

    def normal(self, like: Tensor) -> Tensor:
        """Return standard normal numbers, of the shape, dtype and device of `like`."""
        return self._draw(torch.randn, like, like.dtype)

    def _draw(self, function: Callable[..., Tensor], like: Tensor, dtype: torch.dtype) -> Tensor:
        if self.generators is None:
            return function(like.shape, dtype=dtype, device=like.device)
        if len(self.generators) != like.shape[0]:
            raise ValueError(
                f"{len(self.generators)} generators for {like.shape[0]} runs: one each is needed"
            )
        shape = like.shape[1:]
        parts = [
            function(shape, generator=generator, dtype=dtype, device=generator.device)
            for generator in self.generators
        ]
        return torch.stack(parts).to(like.device)
