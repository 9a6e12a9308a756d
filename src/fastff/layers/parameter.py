"""A parameter of a module, found without nn.Module's attribute look-up."""

from __future__ import annotations

from torch import Tensor, nn


def parameter(module: nn.Module, name: str) -> Tensor:
    """Return the parameter `name` of `module`, or what stands in its place (a parametrization).

    For the way of one input through a layer: `module.name` looks everywhere else first, and takes
    longer than several of the walk's steps.
    """
    found = module._parameters.get(name)
    if found is None:
        other: Tensor = getattr(module, name)
        return other
    return found
