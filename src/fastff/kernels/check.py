"""What the kernels and operators take: the one validation, for real tensors and for fake ones.

A kernel reads raw memory: a wrong size, dtype or device would give wrong numbers or end the
process. Each function returns without a word, or raises one line that names the argument, what was
given and what is allowed. Values of indices are checked by the kernels, which read them anyway.
"""

from __future__ import annotations

from typing import NoReturn

import torch
from torch import Tensor

from fastff.kernels.activations import CODES
from fastff.kernels.dispatch import autocasts
from fastff.kernels.reference import ExpertArguments, TreeArguments, levels_of


def check_route(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> None:
    """Check the arguments of `functions.route`: x (..., i), weight (n, i), bias (n,)."""
    _same_kind(x, {"weight": weight, "bias": bias})
    check_route_shapes(x, weight, bias)


def check_route_shapes(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> None:
    """Check as `check_route` does what is known to be alike in all but its shape."""
    try:
        n_nodes, in_features = weight.shape
    except ValueError:
        _refuse_dimensions(("weight", weight, "n_nodes, in_features"))
    check_features(x, in_features)
    levels_of(n_nodes)
    if bias is not None and bias.shape != (n_nodes,):
        _refuse_shape("bias", bias, (n_nodes,))


def check_node_tree(arguments: TreeArguments) -> None:
    """Check those of `functions.node_tree`, whose inputs are (..., i)."""
    x, w_in, w_out, _, b_in = arguments
    _same_kind(x, {"w_in": w_in, "w_out": w_out, "b_in": b_in})
    check_node_tree_shapes(arguments)


def check_node_tree_shapes(arguments: TreeArguments) -> None:
    """Check as `check_node_tree` does what is known to be alike in all but its shape."""
    x, w_in, w_out, activation, b_in = arguments
    try:
        n_trees, n_nodes, in_features = w_in.shape
        trees, nodes, out_features = w_out.shape
    except ValueError:
        _refuse_dimensions(
            ("w_in", w_in, "n_trees, n_nodes, in_features"),
            ("w_out", w_out, "n_trees, n_nodes, out_features"),
        )
    check_features(x, in_features)
    levels_of(n_nodes)
    if trees != n_trees or nodes != n_nodes:
        _refuse_shape("w_out", w_out, (n_trees, n_nodes, out_features))
    if b_in is not None and b_in.shape != (n_trees, n_nodes):
        _refuse_shape("b_in", b_in, (n_trees, n_nodes))
    if not isinstance(activation, str) or activation not in CODES:
        _refuse_activation(activation)


def check_chosen_experts(arguments: ExpertArguments) -> None:
    """Check those of `functions.chosen_experts`, with rows (..., i), (..., k) of inputs."""
    x, expert, w_in, w_out, _, scale, b_in, b_out = arguments
    _same_kind(x, {"w_in": w_in, "w_out": w_out, "scale": scale, "b_in": b_in, "b_out": b_out})
    _check_index(expert, x.device)
    check_chosen_experts_shapes(arguments)


def check_chosen_experts_shapes(arguments: ExpertArguments) -> None:
    """Check as `check_chosen_experts` does what is known to be alike in all but its shape."""
    x, expert, w_in, w_out, activation, scale, b_in, b_out = arguments
    try:
        n_experts, hidden, in_features = w_in.shape
        experts, units, out_features = w_out.shape
    except ValueError:
        _refuse_dimensions(
            ("w_in", w_in, "n_experts, hidden, in_features"),
            ("w_out", w_out, "n_experts, hidden, out_features"),
        )
    shape, choices = tuple(x.shape), tuple(expert.shape)
    if shape[-1:] != (in_features,):
        _refuse_features(x, in_features)
    if experts != n_experts or units != hidden:
        _refuse_shape("w_out", w_out, (n_experts, hidden, out_features))
    if choices[:-1] != shape[:-1] or not choices or choices[-1] < 1:
        allowed = ", ".join(str(size) for size in (*shape[:-1], "k"))
        raise ValueError(
            f"expert has shape {choices}; allowed is ({allowed}) with k >= 1, "
            f"as many rows as x, which has shape {shape}"
        )
    if scale is not None and scale.shape != choices:
        raise ValueError(f"scale has shape {tuple(scale.shape)}; allowed is {choices}, as expert")
    if b_in is not None and b_in.shape != (n_experts, hidden):
        _refuse_shape("b_in", b_in, (n_experts, hidden))
    if b_out is not None and b_out.shape != (n_experts, out_features):
        _refuse_shape("b_out", b_out, (n_experts, out_features))
    if not isinstance(activation, str) or activation not in CODES:
        _refuse_activation(activation)


def check_features(x: Tensor, in_features: int) -> None:
    """Check that inputs x are (..., in_features)."""
    shape = x.shape
    if not shape or shape[-1] != in_features:
        _refuse_features(x, in_features)


def check_inputs(x: Tensor, weight: Tensor, in_features: int) -> None:
    """Check that a layer's inputs x are (..., in_features), and of the kind of its `weight`.

    That is its dtype, which autocast gives any float, and its device.
    """
    if not _is_strided(x):
        raise TypeError(f"x: {_kind(x)}; allowed is a strided tensor of {weight.dtype}")
    if not _is_of(x, weight.dtype):
        raise TypeError(f"x is of {x.dtype}; allowed is {weight.dtype}, as the layer's weights")
    if x.device != weight.device:
        raise ValueError(f"x is on {x.device}; allowed is {weight.device}, as the layer's weights")
    check_features(x, in_features)


def _same_kind(x: Tensor, others: dict[str, Tensor | None]) -> None:
    if not _is_strided(x) or not x.is_floating_point():
        raise TypeError(f"x: {_kind(x)}; allowed is a strided tensor of floating-point numbers")
    for name, tensor in others.items():
        if tensor is None:
            continue
        if not _is_strided(tensor):
            raise TypeError(f"{name}: {_kind(tensor)}; allowed is a strided tensor of {x.dtype}")
        if not _is_of(tensor, x.dtype):
            raise TypeError(f"{name} is of {tensor.dtype}; allowed is {x.dtype}, as x")
        if tensor.device != x.device:
            raise ValueError(f"{name} is on {tensor.device}; allowed is {x.device}, as x")


def _check_index(expert: Tensor, device: torch.device) -> None:
    if not _is_strided(expert) or expert.dtype is not torch.int64:
        raise TypeError(f"expert: {_kind(expert)}; allowed is a strided tensor of torch.int64")
    if expert.device != device:
        raise ValueError(f"expert is on {expert.device}, x on {device}: they must be on one")


def _is_strided(value: object) -> bool:
    """Return whether a value is a tensor of one shape, whose numbers lie as its strides say."""
    return isinstance(value, Tensor) and value.layout is torch.strided and not value.is_nested


def _is_of(tensor: Tensor, dtype: torch.dtype) -> bool:
    """Return whether a tensor has a dtype, or gets that of autocast as all floats do."""
    return tensor.dtype is dtype or (tensor.is_floating_point() and autocasts(tensor.device.type))


def _refuse_dimensions(*tensors: tuple[str, Tensor, str]) -> NoReturn:
    """Raise for the first of tensors, each with its name and dimensions, that has others."""
    name, tensor, dimensions = next(
        given for given in tensors if given[1].dim() != given[2].count(",") + 1
    )
    raise ValueError(f"{name} has shape {tuple(tensor.shape)}; allowed is ({dimensions})")


def _refuse_shape(name: str, tensor: Tensor, shape: tuple[int, ...]) -> NoReturn:
    raise ValueError(f"{name} has shape {tuple(tensor.shape)}; allowed is {shape}")


def _refuse_features(x: Tensor, in_features: int) -> NoReturn:
    n_given = x.shape[-1] if x.dim() > 0 else "no"
    raise ValueError(
        f"x has {n_given} features in its last dimension (shape {tuple(x.shape)}); "
        f"allowed is in_features = {in_features}"
    )


def _refuse_activation(activation: object) -> NoReturn:
    raise ValueError(f"activation = {activation!r}: allowed are {', '.join(CODES)}")


def _kind(value: object) -> str:
    if not isinstance(value, Tensor):
        return f"a {type(value).__name__}"
    if value.is_nested:
        return f"a nested tensor of {value.dtype}"
    layout = "" if value.layout is torch.strided else f" in the layout {value.layout}"
    return f"a tensor of {value.dtype}{layout}"
