"""The kernels as operators of torch, which torch.compile, CUDA graphs and autograd see.

Each calls the kernels of its tensors' device and dtype, or the plain definition where there are
none. Weights are in the dtype of `x`; `fastff.kernels` has the functions to call.
"""

from __future__ import annotations

from types import ModuleType
from typing import Any

import torch
from torch import Tensor
from torch.library import custom_op

from fastff.kernels import reference
from fastff.kernels.backends import has_kernels, kernels_for


def _kernels(x: Tensor) -> ModuleType:
    device_type = x.device.type
    if not has_kernels(device_type, x.dtype):
        return reference
    return kernels_for(device_type) or reference


def _trainable(x: Tensor) -> ModuleType:
    """Return what computes gradients: the CPU kernels are for inference."""
    return _kernels(x) if x.is_cuda else reference


def _logit_dtype(x: Tensor) -> torch.dtype:
    return torch.float32 if x.dtype.itemsize < 4 else x.dtype


@custom_op("fastff::route", mutates_args=())
def route(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """Return the leaves (b,) as `reference.route`."""
    with torch.cuda.device_of(x):
        leaf: Tensor = _kernels(x).route(x, weight.contiguous(), bias)
    return leaf


@route.register_fake
def _(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    return x.new_empty(x.shape[0], dtype=torch.int64)


@custom_op("fastff::node_tree", mutates_args=())
def node_tree(
    x: Tensor, w_in: Tensor, w_out: Tensor, activation: str
) -> tuple[Tensor, Tensor, Tensor]:
    """Return outputs, logits (at least float32) and leaves, as `reference.node_tree_with_path`."""
    with torch.cuda.device_of(x):
        out, logits, leaf = _kernels(x).node_tree_with_path(
            x, w_in.contiguous(), w_out.contiguous(), activation
        )
    return out, logits.to(_logit_dtype(x)), leaf


@node_tree.register_fake
def _(x: Tensor, w_in: Tensor, w_out: Tensor, activation: str) -> tuple[Tensor, Tensor, Tensor]:
    n_trees, levels = w_in.shape[0], reference.levels_of(w_in.shape[1])
    return (
        x.new_empty(x.shape[0], w_out.shape[-1]),
        x.new_empty(n_trees, x.shape[0], levels, dtype=_logit_dtype(x)),
        x.new_empty(n_trees, x.shape[0], dtype=torch.int64),
    )


@custom_op("fastff::node_tree_backward", mutates_args=())
def node_tree_backward(
    grad: Tensor,
    x: Tensor,
    w_in: Tensor,
    w_out: Tensor,
    logits: Tensor,
    leaf: Tensor,
    activation: str,
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the gradients of x, w_in and w_out as `reference.node_tree_backward`."""
    with torch.cuda.device_of(x):
        d_x, d_in, d_out = _trainable(x).node_tree_backward(
            grad, x, w_in.contiguous(), w_out.contiguous(), logits, leaf, activation
        )
    return d_x, d_in, d_out


@node_tree_backward.register_fake
def _(
    grad: Tensor,
    x: Tensor,
    w_in: Tensor,
    w_out: Tensor,
    logits: Tensor,
    leaf: Tensor,
    activation: str,
) -> tuple[Tensor, Tensor, Tensor]:
    return x.new_empty(x.shape), w_in.new_empty(w_in.shape), w_out.new_empty(w_out.shape)


def _keep_tree(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
    x, w_in, w_out, ctx.activation = inputs
    _, logits, leaf = output
    ctx.mark_non_differentiable(logits, leaf)
    ctx.save_for_backward(x, w_in, w_out, logits, leaf)


def _tree_gradients(ctx: Any, grad: Tensor, *_: Tensor) -> tuple[Tensor | None, ...]:
    return (*node_tree_backward(grad, *ctx.saved_tensors, ctx.activation), None)


node_tree.register_autograd(_tree_gradients, setup_context=_keep_tree)


@custom_op("fastff::chosen_experts", mutates_args=())
def chosen_experts(
    x: Tensor,
    expert: Tensor,
    w_in: Tensor,
    w_out: Tensor,
    activation: str,
    scale: Tensor | None,
    b_in: Tensor | None,
    b_out: Tensor | None,
) -> tuple[Tensor, Tensor]:
    """Return outputs and hidden units as `reference.chosen_experts_with_hidden`."""
    with torch.cuda.device_of(x):
        out, hidden = _kernels(x).chosen_experts_with_hidden(
            x, expert, w_in.contiguous(), w_out.contiguous(), activation, scale,
            None if b_in is None else b_in.contiguous(),
            None if b_out is None else b_out.contiguous(),
        )  # fmt: skip
    return out, hidden


@chosen_experts.register_fake
def _(
    x: Tensor,
    expert: Tensor,
    w_in: Tensor,
    w_out: Tensor,
    activation: str,
    scale: Tensor | None,
    b_in: Tensor | None,
    b_out: Tensor | None,
) -> tuple[Tensor, Tensor]:
    n_rows, top_k = expert.shape
    return x.new_empty(n_rows, w_out.shape[-1]), x.new_empty(n_rows, top_k, w_in.shape[1])


@custom_op("fastff::chosen_experts_backward", mutates_args=())
def chosen_experts_backward(
    grad: Tensor,
    hidden: Tensor,
    x: Tensor,
    expert: Tensor,
    w_in: Tensor,
    w_out: Tensor,
    activation: str,
    scale: Tensor | None,
    b_in: Tensor | None,
    b_out: Tensor | None,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Return the gradients as `reference.chosen_experts_backward`, empty where there is none."""
    with torch.cuda.device_of(x):
        gradients = _trainable(x).chosen_experts_backward(
            grad, hidden, x, expert, w_in.contiguous(), w_out.contiguous(), activation, scale,
            b_in, b_out,
        )  # fmt: skip
    d_x, d_in, d_out, *optional = gradients
    d_scale, d_b_in, d_b_out = (x.new_empty(0) if d is None else d for d in optional)
    return d_x, d_in, d_out, d_scale, d_b_in, d_b_out


@chosen_experts_backward.register_fake
def _(
    grad: Tensor,
    hidden: Tensor,
    x: Tensor,
    expert: Tensor,
    w_in: Tensor,
    w_out: Tensor,
    activation: str,
    scale: Tensor | None,
    b_in: Tensor | None,
    b_out: Tensor | None,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
    required = [w.new_empty(w.shape) for w in (x, w_in, w_out)]
    optional = [x.new_empty(0 if w is None else w.shape) for w in (scale, b_in, b_out)]
    return (required[0], required[1], required[2], optional[0], optional[1], optional[2])


def _keep_experts(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
    x, expert, w_in, w_out, ctx.activation, scale, b_in, b_out = inputs
    ctx.mark_non_differentiable(output[1])
    ctx.save_for_backward(output[1], x, expert, w_in, w_out, scale, b_in, b_out)


def _experts_gradients(ctx: Any, grad: Tensor, _: Tensor) -> tuple[Tensor | None, ...]:
    *required, scale, b_in, b_out = ctx.saved_tensors
    d_x, d_in, d_out, *optional = chosen_experts_backward(
        grad, *required, ctx.activation, scale, b_in, b_out
    )
    d_scale, d_b_in, d_b_out = (
        None if w is None else d for w, d in zip((scale, b_in, b_out), optional, strict=True)
    )
    return d_x, None, d_in, d_out, None, d_scale, d_b_in, d_b_out


chosen_experts.register_autograd(_experts_gradients, setup_context=_keep_experts)
