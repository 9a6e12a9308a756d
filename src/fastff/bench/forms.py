"""What is timed: every form of an operation is a function that builds one call."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fastff.bench.shape import CompulsoryWork, Shape
from fastff.kernels import functions, reference
from fastff.kernels.activations import ACTIVATIONS
from fastff.layers import Experts, LinearGate, MixtureExperts, NodeTree, RoutedLayer, TreeGate

LEAF_BYTES = 8  # of a leaf's index
MODULES: dict[str, Callable[[], nn.Module]] = {
    "relu": nn.ReLU,
    "gelu": nn.GELU,
    "selu": nn.SELU,
    "linear": nn.Identity,
}

Run = Callable[[Tensor], object]
Module = TypeVar("Module", bound=nn.Module)


class UnavailableError(Exception):
    """A form that can't be timed on this machine; the message says why."""


@dataclass(frozen=True)
class Call:
    """One call to time.

    Attributes:
        run: takes inputs (b, i).
        work: its compulsory work.
        shape: its sizes, where they are others than the point's.
        gradients: whether the inputs need a gradient.

    """

    run: Run
    work: CompulsoryWork
    shape: Shape
    gradients: bool = False


Build = Callable[[Shape, torch.dtype, torch.device], Call]


def _frozen(make: Callable[[], Module], dtype: torch.dtype, device: torch.device) -> Module:
    """Return a module made on a device, for inference only."""
    with device:
        return make().to(dtype).eval().requires_grad_(False)


def _experts(shape: Shape) -> MixtureExperts:
    return MixtureExperts(
        shape.n_experts, shape.in_features, shape.hidden_features, shape.out_features,
        activation=shape.activation,
    )  # fmt: skip


def _node_only(shape: Shape) -> NodeTree:
    return NodeTree(
        shape.in_features, shape.out_features, levels=shape.depth + 1, bias=False,
        activation=shape.activation,
    )  # fmt: skip


def _feed_forward(shape: Shape) -> nn.Module:
    """Return the feed-forward layer as torch has it, without biases."""
    return nn.Sequential(
        nn.Linear(shape.in_features, shape.hidden_features, bias=False),
        MODULES[shape.activation](),
        nn.Linear(shape.hidden_features, shape.out_features, bias=False),
    )


# Gates, from inputs to routing weights or to the leaf


def _soft_gate(form: str) -> Build:
    def build(shape: Shape, dtype: torch.dtype, device: torch.device) -> Call:
        gate = _frozen(lambda: TreeGate(shape.in_features, shape.depth, form=form), dtype, device)
        n, b = shape.n_experts, shape.batch
        flops = 2 * b * (n - 1) * shape.in_features
        if form == "transition":
            flops += 2 * b * n * 2 * (n - 1)
        return Call(gate.soft, _gate_work(shape, n - 1, flops), shape)

    return build


def _linear_gate(shape: Shape, dtype: torch.dtype, device: torch.device) -> Call:
    gate = _frozen(lambda: LinearGate(shape.in_features, shape.n_experts), dtype, device)
    work = _gate_work(shape, shape.n_experts, shape.of_linear_gate().flops)
    return Call(gate.soft, work, shape)


def _gate_work(shape: Shape, rows: int, flops: int) -> CompulsoryWork:
    """Return the work of moving inputs, `rows` weight rows and routing weights, and of `flops`."""
    moved = shape.batch * (shape.in_features + shape.n_experts) + rows * shape.in_features
    return CompulsoryWork(shape.itemsize * moved, flops)


def _descent(*, fused: bool) -> Build:
    def build(shape: Shape, dtype: torch.dtype, device: torch.device) -> Call:
        gate = _frozen(lambda: TreeGate(shape.in_features, shape.depth), dtype, device)
        moved = shape.batch * (shape.itemsize * shape.in_features + LEAF_BYTES)
        work = shape.of_descent(shape.depth) + CompulsoryWork(moved, 0)
        weight = gate.weight
        return Call(gate.leaf if fused else lambda x: reference.route(x, weight), work, shape)

    return build


# Experts alone: what computes those that were chosen for every input


@dataclass(frozen=True)
class Chosen:
    """Experts without biases, and a random choice of them for a batch.

    Attributes:
        experts: all of them.
        index: of the chosen ones, (b, k).
        scale: their routing weights (b, k); all 1 for a single choice.

    """

    experts: MixtureExperts
    index: Tensor
    scale: Tensor


def _choice(form: Callable[[Chosen], Run], *, computes_all: bool = False) -> Build:
    def build(shape: Shape, dtype: torch.dtype, device: torch.device) -> Call:
        experts = _frozen(lambda: _experts(shape), dtype, device)
        with device:
            if shape.top_k == shape.n_experts:
                index = torch.arange(shape.n_experts).repeat(shape.batch, 1)
                scale = torch.rand(shape.batch, shape.n_experts).softmax(-1)
            else:
                index = torch.randint(shape.n_experts, (shape.batch, shape.top_k))
                scale = torch.ones(shape.batch, shape.top_k)
        computed = replace(shape, top_k=shape.n_experts) if computes_all else shape
        run = form(Chosen(experts, index, scale.to(dtype)))
        return Call(run, computed.of_experts(), shape)

    return build


def _sequential(chosen: Chosen) -> Run:
    """Return the loop over experts: each takes the rows that chose it."""
    activate = ACTIVATIONS[chosen.experts.activation]
    w_in, w_out = chosen.experts.w_in, chosen.experts.w_out

    def run(x: Tensor) -> Tensor:
        out = x.new_zeros(len(x), w_out.shape[-1])
        for e in range(len(w_in)):
            rows, k = (chosen.index == e).nonzero(as_tuple=True)
            y = activate(x[rows] @ w_in[e].mT) @ w_out[e]
            out.index_add_(0, rows, chosen.scale[rows, k, None] * y)
        return out

    return run


def _gather(experts: Experts) -> Callable[[Tensor, Tensor, Tensor | None], Tensor]:
    """Return Σ s_k E_k(x) (b, o) with every input's weights copied together: (b, k, h, i)."""
    w_in, w_out, activate = experts.w_in, experts.w_out, ACTIVATIONS[experts.activation]

    def run(x: Tensor, index: Tensor, scale: Tensor | None) -> Tensor:
        z = (w_in[index] @ x[:, None, :, None]).squeeze(-1)  # (b, k, h)
        hidden = activate(z)
        if scale is not None:
            hidden = hidden * scale.unsqueeze(-1)
        return (hidden.unsqueeze(-2) @ w_out[index]).squeeze(-2).sum(1)

    return run


def _gathered(chosen: Chosen) -> Run:
    gather = _gather(chosen.experts)
    return lambda x: gather(x, chosen.index, chosen.scale)


def _weighted(chosen: Chosen) -> Run:
    n = chosen.experts.n_experts
    weights = chosen.scale.new_zeros(len(chosen.index), n).scatter(-1, chosen.index, chosen.scale)
    return lambda x: chosen.experts(x, weights)


def _fused(chosen: Chosen) -> Run:
    w_in, w_out = chosen.experts.w_in, chosen.experts.w_out
    activation, scale = chosen.experts.activation, chosen.scale
    return lambda x: functions.chosen_experts(x, chosen.index, w_in, w_out, activation, scale=scale)


# Whole layers at inference, and the peers that they are compared with


def _itself(layer: nn.Module) -> Run:
    return layer


def _dense(shape: Shape, dtype: torch.dtype, device: torch.device) -> Call:
    shape = shape.as_dense()
    layer = _frozen(lambda: _feed_forward(shape), dtype, device)
    return Call(layer, shape.of_experts(), shape)


def _moe(form: Callable[[RoutedLayer], Run]) -> Build:
    def build(shape: Shape, dtype: torch.dtype, device: torch.device) -> Call:
        def make() -> RoutedLayer:
            experts = _experts(shape)
            return RoutedLayer(LinearGate(shape.in_features, shape.n_experts), experts)

        run = form(_frozen(make, dtype, device))
        return Call(run, shape.of_linear_gate() + shape.of_experts(), shape)

    return build


def _moe_gathered(layer: RoutedLayer) -> Run:
    gate, gather = layer.gate, _gather(layer.experts)
    assert isinstance(gate, LinearGate)
    return lambda x: gather(x, gate.logits(x).argmax(-1)[:, None], None)


def _moe_grouped(layer: RoutedLayer) -> Run:
    """Return the MoE whose rows are sorted by expert and go through torch's grouped product."""
    gate, experts = layer.gate, layer.experts
    assert isinstance(gate, LinearGate)
    w_in, w_out = experts.w_in.mT, experts.w_out
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
        raise UnavailableError("this torch has no grouped product")
    try:
        with torch.inference_mode():
            run(w_in.new_ones(2, w_in.shape[1]))
    except RuntimeError as error:  # a dtype, a size or a device that it doesn't take
        raise UnavailableError(f"torch's grouped product: {str(error).splitlines()[0]}") from None
    return run


def _fff(form: Callable[[RoutedLayer], Run]) -> Build:
    def build(shape: Shape, dtype: torch.dtype, device: torch.device) -> Call:
        def make() -> RoutedLayer:
            experts = _experts(shape)
            return RoutedLayer(TreeGate(shape.in_features, shape.depth), experts)

        return Call(form(_frozen(make, dtype, device)), _fff_work(shape), shape)

    return build


def _fff_work(shape: Shape) -> CompulsoryWork:
    return shape.of_descent(shape.depth) + shape.of_experts()


def _fff_gathered(layer: RoutedLayer) -> Run:
    gate, gather = layer.gate, _gather(layer.experts)
    assert isinstance(gate, TreeGate)
    weight = gate.weight
    return lambda x: gather(x, reference.route(x, weight)[:, None], None)


def _fff_package(shape: Shape, dtype: torch.dtype, device: torch.device) -> Call:
    """Build the layer of the FFF paper's package (arXiv 2308.14711), which has biases."""
    try:
        package = importlib.import_module("fastfeedforward")
    except ImportError:
        raise UnavailableError("the package fastfeedforward isn't installed") from None
    if dtype != torch.float32:
        raise UnavailableError("the package fastfeedforward is float32 only")
    with device:
        layer = package.FFF(
            shape.in_features, shape.hidden_features, shape.out_features, shape.depth,
            activation=MODULES[shape.activation](),
        )  # fmt: skip
    return Call(layer.eval(), _fff_work(shape), shape)


def _node_tree(form: Callable[[NodeTree], Run]) -> Build:
    def build(shape: Shape, dtype: torch.dtype, device: torch.device) -> Call:
        shape = shape.as_node_tree()
        layer = _frozen(lambda: _node_only(shape), dtype, device)
        return Call(form(layer), shape.of_node_tree(), shape)

    return build


def _node_tree_gathered(layer: NodeTree) -> Run:
    w_in, w_out, activation = layer.w_in, layer.w_out, layer.activation
    return lambda x: reference.node_tree_with_path(
        reference.TreeArguments(x, w_in, w_out, activation)
    )[0]


# Forward and backward pass of a layer: gradients of its inputs and weights


def _step(
    forward: Callable[[Tensor], Tensor],
    weights: Sequence[Tensor],
    work: CompulsoryWork,
    shape: Shape,
) -> Call:
    """Return the call: outputs of x, then the gradients of x and the weights for a given one."""
    out = torch.randn(shape.batch, shape.out_features, device=weights[0].device)
    grad = out.to(weights[0].dtype)

    def run(x: Tensor) -> tuple[Tensor, ...]:
        with torch.enable_grad():
            return torch.autograd.grad(forward(x), [x, *weights], grad)

    return Call(run, work, shape, gradients=True)


def _step_work(forward: CompulsoryWork, shape: Shape) -> CompulsoryWork:
    """Return the work of a step: three products for each of the forward pass.

    Read once: inputs, weights and the outputs' gradient; written once: the inputs' gradient and
    the weights' (of those that are touched).
    """
    moved = shape.itemsize * shape.moved
    weights = forward.bytes - moved
    return CompulsoryWork(2 * moved + 2 * weights, 3 * forward.flops)


def _dense_step(shape: Shape, dtype: torch.dtype, device: torch.device) -> Call:
    shape = shape.as_dense()
    with device:
        layer = _feed_forward(shape).to(dtype)
    return _step(layer, list(layer.parameters()), _step_work(shape.of_experts(), shape), shape)


def _node_tree_step(shape: Shape, dtype: torch.dtype, device: torch.device) -> Call:
    shape = shape.as_node_tree()
    with device:
        layer = _node_only(shape).to(dtype)

    def forward(x: Tensor) -> Tensor:
        return functions.node_tree(x, layer.w_in, layer.w_out, shape.activation)

    return _step(forward, [layer.w_in, layer.w_out], _step_work(shape.of_node_tree(), shape), shape)


def _fff_step(shape: Shape, dtype: torch.dtype, device: torch.device) -> Call:
    with device:
        nodes = TreeGate(shape.in_features, shape.depth).to(dtype).weight.detach()
        leaves = _experts(shape).to(dtype)

    def forward(x: Tensor) -> Tensor:
        leaf = functions.route(x.detach(), nodes)[:, None]
        return functions.chosen_experts(x, leaf, leaves.w_in, leaves.w_out, shape.activation)

    work = shape.of_descent(shape.depth) + _step_work(shape.of_experts(), shape)
    return _step(forward, [leaves.w_in, leaves.w_out], work, shape)


# By operation and name, as `fastff.config.timed_forms.TIMED_FORMS` lists them.
BUILDERS: Mapping[str, dict[str, Build]] = {
    "gate": {
        "product": _soft_gate("product"),
        "log": _soft_gate("log"),
        "transition": _soft_gate("transition"),
        "descent": _descent(fused=False),
        "descent_fused": _descent(fused=True),
        "linear": _linear_gate,
    },
    "experts": {
        "experts_sequential": _choice(_sequential),
        "experts_gathered": _choice(_gathered),
        "experts_dense": _choice(_weighted, computes_all=True),
        "experts_fused": _choice(_fused),
    },
    "layer": {
        "dense": _dense,
        "moe_gathered": _moe(_moe_gathered),
        "moe_grouped": _moe(_moe_grouped),
        "moe_top1": _moe(_itself),
        "fff_package": _fff_package,
        "fff_gathered": _fff(_fff_gathered),
        "fff": _fff(_itself),
        "node_tree_gathered": _node_tree(_node_tree_gathered),
        "node_tree": _node_tree(_itself),
    },
    "train_step": {
        "dense": _dense_step,
        "node_tree": _node_tree_step,
        "fff": _fff_step,
    },
}
