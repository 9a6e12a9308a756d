"""Whole layers at inference, and the peers that they are compared with."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fastff.bench.forms import Build, Call, NotHereError, Run
from fastff.bench.shape import Shape
from fastff.bench.timed_experts import gather, mixture
from fastff.kernels import reference
from fastff.kernels.activations import ACTIVATIONS
from fastff.layers import LinearGate, NodeTree, RoutedLayer, TreeGate

MODULES: dict[str, Callable[[], nn.Module]] = {
    "relu": nn.ReLU,
    "gelu": nn.GELU,
    "selu": nn.SELU,
    "linear": nn.Identity,
}


def dense_shape(shape: Shape) -> Shape:
    """Return the feed-forward layer's sizes: all experts of the point as one."""
    return replace(shape, depth=0, top_k=1)


def feed_forward(shape: Shape) -> nn.Module:
    """Return the feed-forward layer as torch has it, without biases."""
    return nn.Sequential(
        nn.Linear(shape.in_features, shape.hidden_features, bias=False),
        MODULES[shape.activation](),
        nn.Linear(shape.hidden_features, shape.out_features, bias=False),
    )


def node_only(shape: Shape) -> NodeTree:
    """Return a node-only tree of these sizes, on torch's default device."""
    return NodeTree(
        shape.in_features,
        shape.out_features,
        levels=shape.depth + 1,
        bias=False,
        activation=shape.activation,
    )


def _dense(shape: Shape, dtype: torch.dtype, device: torch.device) -> Call:
    shape = dense_shape(shape)
    with device:
        layer = feed_forward(shape)
    return Call(layer.to(dtype).eval(), shape.of_experts(), shape)


def _routed(shape: Shape, dtype: torch.dtype, device: torch.device, *, tree: bool) -> RoutedLayer:
    with device:
        experts = mixture(shape)
        gate = (
            TreeGate(shape.in_features, shape.depth)
            if tree
            else LinearGate(shape.in_features, shape.n_experts)
        )
        layer = RoutedLayer(gate, experts)
    return layer.to(dtype).eval()


def _fff(form: Callable[[RoutedLayer], Run]) -> Build:
    def build(shape: Shape, dtype: torch.dtype, device: torch.device) -> Call:
        run = form(_routed(shape, dtype, device, tree=True))
        return Call(run, shape.of_descent(shape.depth) + shape.of_experts(), shape)

    return build


def _moe(form: Callable[[RoutedLayer], Run]) -> Build:
    def build(shape: Shape, dtype: torch.dtype, device: torch.device) -> Call:
        run = form(_routed(shape, dtype, device, tree=False))
        return Call(run, shape.of_linear_gate() + shape.of_experts(), shape)

    return build


def _fff_gathered(layer: RoutedLayer) -> Run:
    assert isinstance(layer.gate, TreeGate)
    nodes = layer.gate.weight.detach()
    return lambda x: _gather(layer, x, reference.route(x, nodes))


def _moe_gathered(layer: RoutedLayer) -> Run:
    gate = layer.gate
    assert isinstance(gate, LinearGate)
    return lambda x: _gather(layer, x, gate.logits(x).argmax(-1))


def _gather(layer: RoutedLayer, x: Tensor, expert: Tensor) -> Tensor:
    experts = layer.experts
    return gather(
        x, expert[:, None], None, experts.w_in.detach(), experts.w_out.detach(), experts.activation
    )


def _moe_grouped(layer: RoutedLayer) -> Run:
    """Return the MoE whose rows are sorted by expert and go through torch's grouped product."""
    gate, experts = layer.gate, layer.experts
    assert isinstance(gate, LinearGate)
    w_in, w_out = experts.w_in.detach().mT, experts.w_out.detach()
    activate = ACTIVATIONS[experts.activation]

    def run(x: Tensor) -> Tensor:
        expert, order = gate.logits(x).argmax(-1).sort()
        ends = torch.searchsorted(
            expert, torch.arange(1, experts.n_experts + 1, device=x.device), out_int32=True
        )
        hidden = activate(F.grouped_mm(x[order], w_in, offs=ends))
        y = F.grouped_mm(hidden, w_out, offs=ends)
        return torch.empty_like(y).index_copy_(0, order, y)

    if not hasattr(F, "grouped_mm"):
        raise NotHereError("this torch has no grouped product")
    try:
        with torch.inference_mode():
            run(w_in.new_ones(2, w_in.shape[1]))
    except RuntimeError as error:  # a dtype, a size or a device that it doesn't take
        raise NotHereError(f"torch's grouped product: {str(error).splitlines()[0]}") from None
    return run


def _fff_package(shape: Shape, dtype: torch.dtype, device: torch.device) -> Call:
    """Build the layer of the FFF paper's package (arXiv 2308.14711), which has biases."""
    try:
        package = importlib.import_module("fastfeedforward")
    except ImportError:
        raise NotHereError("the package fastfeedforward isn't installed") from None
    if dtype != torch.float32:
        raise NotHereError("the package fastfeedforward is float32 only")
    with device:
        layer = package.FFF(
            shape.in_features, shape.hidden_features, shape.out_features, shape.depth,
            activation=MODULES[shape.activation](),
        )  # fmt: skip
    return Call(layer.eval(), shape.of_descent(shape.depth) + shape.of_experts(), shape)


def _node_tree(form: Callable[[NodeTree], Run]) -> Build:
    def build(shape: Shape, dtype: torch.dtype, device: torch.device) -> Call:
        shape = shape.as_node_tree()
        with device:
            layer = node_only(shape)
        return Call(form(layer.to(dtype).eval()), shape.of_node_tree(), shape)

    return build


def _node_tree_gathered(layer: NodeTree) -> Run:
    w_in, w_out = layer.w_in.detach(), layer.w_out.detach()
    return lambda x: reference.node_tree_with_path(
        reference.TreeArguments(x, w_in, w_out, layer.activation)
    )[0]


BUILDERS: dict[str, Build] = {
    "dense": _dense,
    "moe_gathered": _moe(_moe_gathered),
    "moe_grouped": _moe(_moe_grouped),
    "moe_top1": _moe(lambda layer: layer),
    "fff_package": _fff_package,
    "fff_gathered": _fff(_fff_gathered),
    "fff": _fff(lambda layer: layer),
    "node_tree_gathered": _node_tree(_node_tree_gathered),
    "node_tree": _node_tree(lambda layer: layer),
}
