"""When a layer uses the kernels: the one place that decides.

In evaluation mode without gradients, for one model of plain shape, in a dtype and on a device
that there are kernels for. All else takes the layer's own dense form: training, many runs in one
stack, float64, transforms of torch.func.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from fastff.kernels import functions
from fastff.kernels.activations import CODES
from fastff.kernels.backends import has_kernels, kernels_for

MIN_EXPERTS_PER_CHOICE = 4  # with fewer, one dense product of all is about as fast


def applies(layer: nn.Module, x: Tensor, weight: Tensor, dims: int) -> bool:
    """Return whether `layer` uses the kernels for inputs `x`.

    Args:
        layer: the module.
        x: inputs (..., b, i).
        weight: one of its weights.
        dims: dimensions of `weight` in a single model: one more is a stack of runs.

    """
    if layer.training or torch.is_grad_enabled() or weight.dim() != dims:
        return False
    device = x.device
    if device != weight.device or not has_kernels(device.type, _dtype(x, weight)):
        return False
    if torch.compiler.is_compiling():
        return True
    is_transformed = torch._C._functorch.is_functorch_wrapped_tensor
    return kernels_for(x) is not None and not (is_transformed(x) or is_transformed(weight))


def route(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """Return the leaves (..., b) of inputs (..., b, i), as `functions.route`."""
    leaf: Tensor = functions.route(x.flatten(0, -2), weight, bias).unflatten(0, x.shape[:-1])
    return leaf


def node_tree(x: Tensor, w_in: Tensor, w_out: Tensor, activation: str) -> Tensor:
    """Return the outputs (..., b, o) of inputs (..., b, i), as `functions.node_tree`."""
    if x.dim() == 2:
        return functions.node_tree(x, w_in, w_out, activation)
    out = functions.node_tree(x.flatten(0, -2), w_in, w_out, activation)
    shaped: Tensor = out.unflatten(0, x.shape[:-1])
    return shaped


def pays(activation: str, n_experts: int, n_chosen: int) -> bool:
    """Return whether computing `n_chosen` of the experts alone beats computing all."""
    return activation in CODES and n_experts >= MIN_EXPERTS_PER_CHOICE * n_chosen


def chosen_experts(
    x: Tensor,
    expert: Tensor,
    scale: Tensor | None,
    w_in: Tensor,
    w_out: Tensor,
    activation: str,
    b_in: Tensor | None,
    b_out: Tensor | None,
) -> Tensor:
    """Return the outputs (..., b, o) of chosen experts (..., b, k), as the function of this name.

    Args:
        x: inputs (..., b, i).
        expert: indices, int64.
        scale: their weights (..., b, k); None is 1.
        w_in: (e, h, i).
        w_out: (e, h, o).
        activation: a key of ACTIVATIONS.
        b_in: (e, h).
        b_out: (e, o).

    """
    out = functions.chosen_experts(
        x.flatten(0, -2), expert.flatten(0, -2), w_in, w_out, activation,
        scale=None if scale is None else scale.flatten(0, -2), b_in=b_in, b_out=b_out,
    )  # fmt: skip
    shaped: Tensor = out.unflatten(0, x.shape[:-1])
    return shaped


def _dtype(x: Tensor, weight: Tensor) -> torch.dtype | None:
    """Return the dtype that both have, or get by autocast; None if they differ."""
    if torch.is_autocast_enabled(x.device.type):
        return torch.get_autocast_dtype(x.device.type)
    return x.dtype if x.dtype == weight.dtype else None
