"""The kernels as operators of torch, which torch.compile, CUDA graphs and autograd see.

Each calls the kernels of its tensors' device and dtype. Weights are in the dtype of `x`;
`fastff.kernels` has the functions to call. A gradient that is to be differentiated once more is
that of the plain definition.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from types import ModuleType
from typing import Any

import torch
from torch import Tensor
from torch.library import custom_op

from fastff.kernels import reference
from fastff.kernels.backends import kernels_for
from fastff.kernels.check import check_chosen_experts, check_node_tree, check_route


def _kernels(x: Tensor, *others: Tensor | None) -> ModuleType:
    """Return the kernels for `x`; RuntimeError if it or one of the others has no memory."""
    for tensor in (x, *others):
        if tensor is not None and tensor.numel() > 0 and tensor.data_ptr() == 0:
            raise reference.no_memory(tensor)
    return kernels_for(x.device.type, x.dtype)


def contiguous(tensor: Tensor | None) -> Tensor | None:
    """Return a tensor as one block of memory, None for None."""
    return None if tensor is None else tensor.contiguous()


def _differentiable(
    function: Callable[..., Tensor], tensors: Sequence[Tensor | None], grad: Tensor
) -> list[Tensor | None]:
    """Return the gradients of `function` of `tensors`, which can be differentiated themselves."""
    # views, since one of the tensors may have been computed from another
    tensors = [None if t is None else t.view_as(t) for t in tensors]
    needed = [t for t in tensors if t is not None and t.requires_grad]
    gradients = iter(torch.autograd.grad(function(*tensors), needed, grad, create_graph=True))
    return [next(gradients) if t is not None and t.requires_grad else None for t in tensors]


@custom_op("fastff::route", mutates_args=())
def route(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """Return the leaves (b,) as `reference.route`."""
    check_route(x, weight, bias)
    with torch.cuda.device_of(x):
        leaf: Tensor = _kernels(x, weight, bias).route(x, weight.contiguous(), contiguous(bias))
    return leaf


@route.register_fake
def _(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    check_route(x, weight, bias)
    return x.new_empty(x.shape[0], dtype=torch.int64)


@custom_op("fastff::node_tree", mutates_args=())
def node_tree(
    x: Tensor, w_in: Tensor, w_out: Tensor, activation: str, b_in: Tensor | None = None
) -> tuple[Tensor, Tensor, Tensor]:
    """Return outputs, logits (at least float32) and leaves, as `reference.node_tree_with_path`."""
    check_node_tree(x, w_in, w_out, activation, b_in)
    with torch.cuda.device_of(x):
        out, logits, leaf = _kernels(x, w_in, w_out, b_in).node_tree_with_path(
            x, w_in.contiguous(), w_out.contiguous(), activation, contiguous(b_in)
        )
    return out, logits.to(reference.at_least_float32(x.dtype)), leaf


@node_tree.register_fake
def _(
    x: Tensor, w_in: Tensor, w_out: Tensor, activation: str, b_in: Tensor | None = None
) -> tuple[Tensor, Tensor, Tensor]:
    check_node_tree(x, w_in, w_out, activation, b_in)
    n_trees, levels = w_in.shape[0], reference.levels_of(w_in.shape[1])
    return (
        x.new_empty(x.shape[0], w_out.shape[-1]),
        x.new_empty(n_trees, x.shape[0], levels, dtype=reference.at_least_float32(x.dtype)),
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
    bias: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return the gradients of x, w_in, w_out and b_in (empty without `bias`), as in `reference`."""
    with torch.cuda.device_of(x):
        d_x, d_in, d_out, d_b = _kernels(x).node_tree_backward(
            grad, x, w_in.contiguous(), w_out.contiguous(), logits, leaf, activation, bias=bias
        )
    return d_x, d_in, d_out, x.new_empty(0) if d_b is None else d_b


@node_tree_backward.register_fake
def _(
    grad: Tensor,
    x: Tensor,
    w_in: Tensor,
    w_out: Tensor,
    logits: Tensor,
    leaf: Tensor,
    activation: str,
    bias: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    d_b = x.new_empty(w_in.shape[:2] if bias else 0)
    return x.new_empty(x.shape), w_in.new_empty(w_in.shape), w_out.new_empty(w_out.shape), d_b


def _keep_tree(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
    x, w_in, w_out, ctx.activation, b_in = inputs
    _, logits, leaf = output
    ctx.mark_non_differentiable(logits, leaf)
    ctx.save_for_backward(x, w_in, w_out, b_in, logits, leaf)


def _tree_gradients(ctx: Any, grad: Tensor, *_: Tensor) -> tuple[Tensor | None, ...]:
    x, w_in, w_out, b_in, logits, leaf = ctx.saved_tensors
    if torch.is_grad_enabled():

        def again(*tensors: Any) -> Tensor:
            x, w_in, w_out, b_in = tensors
            return reference.node_tree_with_path(x, w_in, w_out, ctx.activation, b_in)[0]

        d_x, d_in, d_out, d_b = _differentiable(again, (x, w_in, w_out, b_in), grad)
        return d_x, d_in, d_out, None, d_b
    has_bias = b_in is not None
    d_x, d_in, d_out, d_b = node_tree_backward(
        grad, x, w_in, w_out, logits, leaf, ctx.activation, has_bias
    )
    return d_x, d_in, d_out, None, d_b if has_bias else None


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
    check_chosen_experts(x, expert, w_in, w_out, activation, scale, b_in, b_out)
    with torch.cuda.device_of(x):
        kernels = _kernels(x, expert, w_in, w_out, scale, b_in, b_out)
        out, hidden = kernels.chosen_experts_with_hidden(
            x, expert, w_in.contiguous(), w_out.contiguous(), activation, contiguous(scale),
            contiguous(b_in), contiguous(b_out),
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
    check_chosen_experts(x, expert, w_in, w_out, activation, scale, b_in, b_out)
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
        gradients = _kernels(x).chosen_experts_backward(
            grad, hidden, x, expert, w_in.contiguous(), w_out.contiguous(), activation,
            contiguous(scale), contiguous(b_in), contiguous(b_out),
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
    hidden, x, expert, w_in, w_out, *optional = ctx.saved_tensors
    if torch.is_grad_enabled():

        def again(*tensors: Any) -> Tensor:
            x, w_in, w_out, *optional = tensors
            return reference.chosen_experts_with_hidden(
                x, expert, w_in, w_out, ctx.activation, *optional
            )[0]

        d_x, d_in, d_out, *d_optional = _differentiable(again, (x, w_in, w_out, *optional), grad)
        return d_x, None, d_in, d_out, None, *d_optional
    d_x, d_in, d_out, *d_optional = chosen_experts_backward(
        grad, hidden, x, expert, w_in, w_out, ctx.activation, *optional
    )
    there = (None if w is None else d for w, d in zip(optional, d_optional, strict=True))
    return d_x, None, d_in, d_out, None, *there


chosen_experts.register_autograd(_experts_gradients, setup_context=_keep_experts)
