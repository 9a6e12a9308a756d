"""The kernels as operators of torch, which torch.compile, CUDA graphs and autograd see.

Each calls the kernels of its tensors' device and dtype. An operator's arguments are flat: those of
TreeArguments or ExpertArguments, in that order; `fastff.kernels` has the functions to call. A
gradient that is to be differentiated once more is that of the plain definition.

How many operations they take, for `torch.utils.flop_counter`, stands here too: those of what is
visited.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from types import ModuleType
from typing import Any

import torch
from torch import Tensor
from torch.library import custom_op
from torch.utils._python_dispatch import _get_current_dispatch_mode_stack

from fastff.kernels import reference
from fastff.kernels.check import check_chosen_experts, check_node_tree, check_route
from fastff.kernels.dispatch import autocasts, kernels_for
from fastff.kernels.reference import ExpertArguments, TreeArguments, contiguous, levels_of

TREE = "Tensor x, Tensor w_in, Tensor w_out, str activation, Tensor? b_in=None"
EXPERTS = (
    "Tensor x, Tensor expert, Tensor w_in, Tensor w_out, str activation, Tensor? scale, "
    "Tensor? b_in, Tensor? b_out"
)


def _kernels(*tensors: Tensor | None) -> ModuleType:
    """Return the kernels for the first of tensors; RuntimeError if one of them has no memory."""
    for tensor in tensors:
        if tensor is not None and tensor.numel() > 0 and tensor.data_ptr() == 0:
            raise reference.no_memory(tensor)
    x = tensors[0]
    assert x is not None
    return kernels_for(x.device.type, x.dtype)


@contextmanager
def _computing(x: Tensor) -> Iterator[None]:
    """Compute on the device of `x`, and in the dtypes that tensors have.

    What comes in has been cast. Autocast would cast on: a sum of half precision becomes float32, a
    product of float32 half precision.
    """
    device = x.device.type
    plain = torch.autocast(device, enabled=False) if autocasts(device) else nullcontext()
    with torch.cuda.device_of(x), plain:
        yield


def _differentiable(
    function: Callable[..., Tensor], tensors: Sequence[Tensor | None], grad: Tensor
) -> list[Tensor | None]:
    """Return the gradients of `function` of `tensors`, which can be differentiated themselves."""
    # views, since one of the tensors may have been computed from another
    tensors = [None if t is None else t.view_as(t) for t in tensors]
    needed = [t for t in tensors if t is not None and t.requires_grad]
    gradients = iter(torch.autograd.grad(function(*tensors), needed, grad, create_graph=True))
    return [next(gradients) if t is not None and t.requires_grad else None for t in tensors]


def _gradient_or_none(gradient: Tensor | None, of: Tensor | None) -> Tensor | None:
    """Return an operator's gradient, whose place is empty where there was no tensor."""
    return None if of is None else gradient


@custom_op("fastff::route", mutates_args=())
def route(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """Return the leaves (b,) as `reference.route`."""
    check_route(x, weight, bias)
    with _computing(x):
        leaf: Tensor = _kernels(x, weight, bias).route(x, weight.contiguous(), contiguous(bias))
    return leaf


@route.register_fake
def _(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    check_route(x, weight, bias)
    return x.new_empty(x.shape[0], dtype=torch.int64)


@custom_op("fastff::node_tree", mutates_args=(), schema=f"({TREE}) -> (Tensor, Tensor, Tensor)")
def node_tree(*flat: Any) -> tuple[Tensor, Tensor, Tensor]:
    """Return outputs, logits (at least float32) and leaves, as `reference.node_tree_with_path`."""
    arguments = TreeArguments(*flat)
    check_node_tree(arguments)
    x, w_in, w_out, _, b_in = arguments
    with _computing(x):
        kernels = _kernels(x, w_in, w_out, b_in)
        out, logits, leaf = kernels.node_tree_with_path(arguments.contiguous())
    return out, logits.to(reference.at_least_float32(x.dtype)), leaf


@node_tree.register_fake
def _(*flat: Any) -> tuple[Tensor, Tensor, Tensor]:
    arguments = TreeArguments(*flat)
    check_node_tree(arguments)
    x, w_in, w_out, *_ = arguments
    n_trees, levels = w_in.shape[0], levels_of(w_in.shape[1])
    return (
        x.new_empty(x.shape[0], w_out.shape[-1]),
        x.new_empty(n_trees, x.shape[0], levels, dtype=reference.at_least_float32(x.dtype)),
        x.new_empty(n_trees, x.shape[0], dtype=torch.int64),
    )


@custom_op(
    "fastff::node_tree_backward",
    mutates_args=(),
    schema=f"(Tensor grad, Tensor logits, Tensor leaf, {TREE}) -> (Tensor, Tensor, Tensor, Tensor)",
)
def node_tree_backward(
    grad: Tensor, logits: Tensor, leaf: Tensor, *flat: Any
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return the gradients of x, w_in, w_out and b_in (empty without), as in `reference`."""
    arguments = TreeArguments(*flat)
    with _computing(grad):
        d_x, d_in, d_out, d_b = _kernels(arguments.x).node_tree_backward(
            grad, arguments.contiguous(), logits, leaf
        )
    return d_x, d_in, d_out, grad.new_empty(0) if d_b is None else d_b


@node_tree_backward.register_fake
def _(
    grad: Tensor, logits: Tensor, leaf: Tensor, *flat: Any
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    x, w_in, w_out, _, b_in = TreeArguments(*flat)
    d_x, d_in, d_out = (t.new_empty(t.shape) for t in (x, w_in, w_out))
    return d_x, d_in, d_out, x.new_empty(0 if b_in is None else b_in.shape)


def _keep_tree(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
    x, w_in, w_out, ctx.activation, b_in = inputs
    _, logits, leaf = output
    ctx.mark_non_differentiable(logits, leaf)
    ctx.save_for_backward(x, w_in, w_out, b_in, logits, leaf)


def _tree_gradients(ctx: Any, grad: Tensor, *_: Tensor) -> tuple[Tensor | None, ...]:
    x, w_in, w_out, b_in, logits, leaf = ctx.saved_tensors
    if torch.is_grad_enabled():

        def again(x: Tensor, w_in: Tensor, w_out: Tensor, b_in: Tensor | None) -> Tensor:
            arguments = TreeArguments(x, w_in, w_out, ctx.activation, b_in)
            return reference.node_tree_with_path(arguments)[0]

        d_x, d_in, d_out, d_b = _differentiable(again, (x, w_in, w_out, b_in), grad)
    else:
        d_x, d_in, d_out, d_b = node_tree_backward(
            grad, logits, leaf, x, w_in, w_out, ctx.activation, b_in
        )
    return d_x, d_in, d_out, None, _gradient_or_none(d_b, b_in)


node_tree.register_autograd(_tree_gradients, setup_context=_keep_tree)


@custom_op("fastff::chosen_experts", mutates_args=(), schema=f"({EXPERTS}) -> (Tensor, Tensor)")
def chosen_experts(*flat: Any) -> tuple[Tensor, Tensor]:
    """Return outputs and hidden units as `reference.chosen_experts_with_hidden`."""
    arguments = ExpertArguments(*flat)
    check_chosen_experts(arguments)
    x, expert, w_in, w_out, _, *optional = arguments
    with _computing(x):
        kernels = _kernels(x, expert, w_in, w_out, *optional)
        out, hidden = kernels.chosen_experts_with_hidden(arguments.contiguous())
    return out, hidden


@chosen_experts.register_fake
def _(*flat: Any) -> tuple[Tensor, Tensor]:
    arguments = ExpertArguments(*flat)
    check_chosen_experts(arguments)
    x, expert, w_in, w_out, *_ = arguments
    n_rows, top_k = expert.shape
    return x.new_empty(n_rows, w_out.shape[-1]), x.new_empty(n_rows, top_k, w_in.shape[1])


@custom_op(
    "fastff::chosen_experts_backward",
    mutates_args=(),
    schema=(
        f"(Tensor grad, Tensor hidden, {EXPERTS}) -> "
        "(Tensor, Tensor, Tensor, Tensor, Tensor, Tensor)"
    ),
)
def chosen_experts_backward(grad: Tensor, hidden: Tensor, *flat: Any) -> tuple[Tensor, ...]:
    """Return the gradients as `reference.chosen_experts_backward`, empty where there is none."""
    arguments = ExpertArguments(*flat)
    with _computing(grad):
        gradients = _kernels(arguments.x).chosen_experts_backward(
            grad, hidden, arguments.contiguous()
        )
    return tuple(grad.new_empty(0) if d is None else d for d in gradients)


@chosen_experts_backward.register_fake
def _(grad: Tensor, hidden: Tensor, *flat: Any) -> tuple[Tensor, ...]:
    x, _, w_in, w_out, _, *optional = ExpertArguments(*flat)
    return tuple(x.new_empty(0 if t is None else t.shape) for t in (x, w_in, w_out, *optional))


def _keep_experts(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
    x, expert, w_in, w_out, ctx.activation, scale, b_in, b_out = inputs
    ctx.mark_non_differentiable(output[1])
    ctx.save_for_backward(output[1], x, expert, w_in, w_out, scale, b_in, b_out)


def _experts_gradients(ctx: Any, grad: Tensor, _: Tensor) -> tuple[Tensor | None, ...]:
    hidden, x, expert, w_in, w_out, *optional = ctx.saved_tensors
    if torch.is_grad_enabled():

        def again(x: Tensor, w_in: Tensor, w_out: Tensor, *optional: Tensor | None) -> Tensor:
            arguments = ExpertArguments(x, expert, w_in, w_out, ctx.activation, *optional)
            return reference.chosen_experts_with_hidden(arguments)[0]

        gradients: Sequence[Any] = _differentiable(again, (x, w_in, w_out, *optional), grad)
    else:
        gradients = chosen_experts_backward(
            grad, hidden, x, expert, w_in, w_out, ctx.activation, *optional
        )
    d_x, d_in, d_out, *d_optional = gradients
    there = map(_gradient_or_none, d_optional, optional)
    return d_x, None, d_in, d_out, None, *there


chosen_experts.register_autograd(_experts_gradients, setup_context=_keep_experts)


def tell_counters() -> None:
    """Give the formulas to every FlopCounterMode that is on.

    The counter's own module loads Triton and complains where there is none, so it isn't imported:
    a counter is told when an operator first runs under it.
    """
    for mode in _get_current_dispatch_mode_stack():
        registry = getattr(getattr(mode, "counter", mode), "flop_registry", None)
        if registry is not None:
            for operator, formula in FORMULAS.items():
                registry.setdefault(operator, formula)


def _route(x: Tensor, weight: Tensor, *_: Any, **__: Any) -> int:
    return 2 * x.shape[0] * levels_of(weight.shape[0]) * x.shape[1]


def _node_tree(x: Tensor, w_in: Tensor, w_out: Tensor, *_: Any, **__: Any) -> int:
    n_visited = w_in.shape[0] * levels_of(w_in.shape[1])
    return 2 * x.shape[0] * n_visited * (w_in.shape[-1] + w_out.shape[-1])


def _chosen_experts(
    x: Tensor, expert: Tensor, w_in: Tensor, w_out: Tensor, *_: Any, **__: Any
) -> int:
    return 2 * expert.numel() * w_in.shape[1] * (w_in.shape[-1] + w_out.shape[-1])


def _backward(forward: Callable[..., int], n_before: int) -> Callable[..., int]:
    """Return twice the operations of `forward`, whose arguments follow `n_before` others."""

    def formula(*args: Any, **_: Any) -> int:
        return 2 * forward(*args[n_before:])

    return formula


FORMULAS: dict[Any, Callable[..., int]] = {
    torch.ops.fastff.route: _route,
    torch.ops.fastff.node_tree: _node_tree,
    torch.ops.fastff.node_tree_backward: _backward(_node_tree, 3),
    torch.ops.fastff.chosen_experts: _chosen_experts,
    torch.ops.fastff.chosen_experts_backward: _backward(_chosen_experts, 2),
}
