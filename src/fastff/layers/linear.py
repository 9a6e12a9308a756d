"""What all layers are made of: the matrix product, how parameters start, random numbers.

Dimension letters, the same in every file: b batch, r run, i in_features, h hidden, o out_features,
e expert or leaf, n node, s side, k selected.

Every layer works over leading dimensions of its parameters: with weights (r, e, h, i) and inputs
(r, b, i), or (b, i) for all runs alike, it computes r independent models at once.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fastff.kernels.reference import at_least_float32


def linear(x: Tensor, weight: Tensor) -> Tensor:
    """Return `x @ weight.mT` for inputs (..., b, i) and weights (..., o, i): (..., b, o).

    For a batch it is written as the transpose of `weight @ x.mT`, since the gradient of a batched
    product's left factor comes out in the layout of the weight. The gradient of a transposed right
    factor does not: it is copied, a third of a stack's step on a CPU. For the same reason a product
    of what this returns is best taken with `linear` again: it keeps the layout of both gradients.
    """
    if weight.dim() == 2 and x.dim() != 2:
        return F.linear(x, weight)
    return (weight @ x.mT).mT


def nonzero_product(values: Tensor, reached: Tensor, weight: Tensor) -> Tensor:
    """Return `values @ weight` for values (..., k) and a weight (k, o), where many values are 0.

    A row of `weight` that isn't finite reaches only those outputs (..., o) whose `reached` (..., k)
    is true for it, which become NaN: 0 · inf would reach all.
    """
    finite = weight.isfinite()
    out = values @ weight.where(finite, 0)
    spoilt = reached.to(values.dtype) @ (~finite).to(values.dtype)
    return out.where(spoilt == 0, torch.nan)


def uniform_fan_in_(
    parameter: Tensor, fan_in: int, generator: torch.Generator | None = None
) -> None:
    """Fill a parameter with numbers uniform in ±1/sqrt(fan_in), drawn on the generator's device."""
    bound = 1 / math.sqrt(fan_in)
    with torch.no_grad():
        if generator is None or generator.device == parameter.device or parameter.is_meta:
            parameter.uniform_(-bound, bound, generator=None if parameter.is_meta else generator)
        else:
            drawn = torch.empty(parameter.shape, device=generator.device, dtype=parameter.dtype)
            parameter.copy_(drawn.uniform_(-bound, bound, generator=generator))


def wide(values: Tensor) -> Tensor:
    """Return values of half precision as float32: sums over a batch need it."""
    return values.to(at_least_float32(values.dtype))


def parameter(module: nn.Module, name: str) -> Any:
    """Return the parameter `name` of `module`, or what stands there (a parametrization, None).

    For the way of one input through a layer: `module.name` looks everywhere else first, and takes
    longer than several of the walk's steps.
    """
    parameters = module._parameters
    return parameters[name] if name in parameters else getattr(module, name)


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
