"""Forward and backward pass of a layer: gradients of its inputs and weights."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from fastff.bench.forms import Build, Call
from fastff.bench.shape import Shape
from fastff.bench.timed_experts import mixture
from fastff.bench.timed_layers import dense_shape, feed_forward, node_only
from fastff.bench.work import Work
from fastff.kernels import functions
from fastff.layers import TreeGate


def _step(
    forward: Callable[[Tensor], Tensor], weights: Sequence[Tensor], out: tuple[int, int]
) -> Callable[[Tensor], object]:
    """Return the pass: outputs of x, then the gradients of x and the weights for a given one."""
    grad = torch.randn(out, device=weights[0].device).to(weights[0].dtype)

    def run(x: Tensor) -> tuple[Tensor, ...]:
        with torch.enable_grad():
            return torch.autograd.grad(forward(x), [x, *weights], grad)

    return run


def _work(forward: Work, shape: Shape) -> Work:
    """Return the work of a step: three products for each of the forward pass.

    Read once: inputs, weights and the outputs' gradient; written once: the inputs' gradient and
    the weights' (of those that are touched).
    """
    moved = shape.itemsize * shape.moved
    weights = forward.bytes - moved
    return Work(2 * moved + 2 * weights, 3 * forward.flops)


def _dense(shape: Shape, dtype: torch.dtype, device: torch.device) -> Call:
    shape = dense_shape(shape)
    with device:
        layer = feed_forward(shape).to(dtype)
    run = _step(layer, list(layer.parameters()), (shape.batch, shape.out_features))
    return Call(run, _work(shape.of_experts(), shape), shape, gradients=True)


def _node_tree(shape: Shape, dtype: torch.dtype, device: torch.device) -> Call:
    shape = shape.as_node_tree()
    with device:
        layer = node_only(shape).to(dtype)

    def forward(x: Tensor) -> Tensor:
        return functions.node_tree(x, layer.w_in, layer.w_out, shape.activation)

    run = _step(forward, [layer.w_in, layer.w_out], (shape.batch, shape.out_features))
    return Call(run, _work(shape.of_node_tree(), shape), shape, gradients=True)


def _fff(shape: Shape, dtype: torch.dtype, device: torch.device) -> Call:
    with device:
        nodes = TreeGate(shape.in_features, shape.depth).to(dtype).weight.detach()
        leaves = mixture(shape).to(dtype)

    def forward(x: Tensor) -> Tensor:
        leaf = functions.route(x.detach(), nodes)[:, None]
        return functions.chosen_experts(x, leaf, leaves.w_in, leaves.w_out, shape.activation)

    run = _step(forward, [leaves.w_in, leaves.w_out], (shape.batch, shape.out_features))
    work = shape.of_descent(shape.depth) + _work(shape.of_experts(), shape)
    return Call(run, work, shape, gradients=True)


BUILDERS: dict[str, Build] = {"dense": _dense, "node_tree": _node_tree, "fff": _fff}
