"""A parameter of a module, found without nn.Module's attribute look-up."""

from __future__ import annotations

from typing import Any

from torch import nn


def parameter(module: nn.Module, name: str) -> Any:
    """Return the parameter `name` of `module`, or what stands there (a parametrization, None).

    For the way of one input through a layer: `module.name` looks everywhere else first, and takes
    longer than several of the walk's steps.
    """
    parameters = module._parameters
    return parameters[name] if name in parameters else getattr(module, name)
