"""When a layer uses the kernels: the one place that decides.

In evaluation mode without gradients, for one model of plain shape, in a dtype and on a device
that there are kernels for. All else takes the layer's own dense form: training, many runs in one
stack, float64, transforms of torch.func.
"""

from __future__ import annotations

from types import ModuleType

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
    device, dtype = x.device, x.dtype
    device_type = device.type
    if torch.is_autocast_enabled(device_type):
        dtype = torch.get_autocast_dtype(device_type)
    elif weight.dtype != dtype:
        return False
    if weight.device != device or not has_kernels(device_type, dtype):
        return False
    if torch.compiler.is_compiling():
        return True
    is_transformed = torch._C._functorch.is_functorch_wrapped_tensor
    return kernels_for(device_type) is not None and not (
        is_transformed(x) or is_transformed(weight)
    )


def pays(activation: str, n_experts: int, n_chosen: int) -> bool:
    """Return whether computing `n_chosen` of the experts alone beats computing all."""
    return activation in CODES and n_experts >= MIN_EXPERTS_PER_CHOICE * n_chosen


def route(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """Return the leaves (..., b) of inputs (..., b, i), as `functions.route`."""
    leaf: Tensor = _kernels(x).route(_flat(x), weight, bias)
    return leaf if x.dim() == 2 else leaf.view(x.shape[:-1])


def node_tree(x: Tensor, w_in: Tensor, w_out: Tensor, activation: str) -> Tensor:
    """Return the outputs (..., b, o) of inputs (..., b, i), as `functions.node_tree`."""
    out: Tensor = _kernels(x).node_tree(_flat(x), w_in, w_out, activation)
    return out if x.dim() == 2 else out.view(*x.shape[:-1], out.shape[-1])


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
    """Return the outputs (..., b, o) of chosen experts, as `functions.chosen_experts`.

    Args:
        x: inputs (..., b, i).
        expert: indices (..., b, k), int64.
        scale: their weights (..., b, k); None is 1.
        w_in: (e, h, i).
        w_out: (e, h, o).
        activation: a key of ACTIVATIONS.
        b_in: (e, h).
        b_out: (e, o).

    """
    out: Tensor = _kernels(x).chosen_experts(
        _flat(x), _flat(expert), w_in, w_out, activation,
        scale=None if scale is None else _flat(scale), b_in=b_in, b_out=b_out,
    )  # fmt: skip
    return out if x.dim() == 2 else out.view(*x.shape[:-1], out.shape[-1])


def _flat(x: Tensor) -> Tensor:
    """Return `x` with one leading dimension; what has it already is not touched, to save time."""
    return x if x.dim() == 2 else x.flatten(0, -2)


def _kernels(x: Tensor) -> ModuleType:
    """Return what to call where kernels apply: those of the CPU at once, else the operators."""
    if not x.is_cpu or torch.compiler.is_compiling():
        return functions
    return kernels_for("cpu") or functions
