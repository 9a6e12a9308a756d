"""The gates, from inputs to routing weights or to the leaf."""

from __future__ import annotations

import torch

from fastff.bench.forms import Build, Call
from fastff.bench.shape import Shape
from fastff.bench.work import Work
from fastff.kernels import reference
from fastff.layers import LinearGate, TreeGate

LEAF = 8  # bytes of a leaf's index


def _soft(form: str) -> Build:
    def build(shape: Shape, dtype: torch.dtype, device: torch.device) -> Call:
        with device:
            gate = TreeGate(shape.in_features, shape.depth, form=form)
        gate = gate.to(dtype).eval()
        n, b = shape.n_experts, shape.batch
        flops = 2 * b * (n - 1) * shape.in_features
        if form == "transition":
            flops += 2 * b * n * 2 * (n - 1)
        return Call(gate.soft, Work(shape.itemsize * _moved(shape, n - 1), flops), shape)

    return build


def _linear(shape: Shape, dtype: torch.dtype, device: torch.device) -> Call:
    with device:
        gate = LinearGate(shape.in_features, shape.n_experts)
    gate = gate.to(dtype).eval()
    moved = shape.itemsize * _moved(shape, shape.n_experts)
    return Call(gate.soft, Work(moved, shape.of_linear_gate().flops), shape)


def _descent(*, fused: bool) -> Build:
    def build(shape: Shape, dtype: torch.dtype, device: torch.device) -> Call:
        with device:
            gate = TreeGate(shape.in_features, shape.depth)
        gate = gate.to(dtype).eval()
        weight = gate.weight.detach()
        moved = shape.itemsize * shape.batch * shape.in_features + LEAF * shape.batch
        work = shape.of_descent(shape.depth) + Work(moved, 0)
        return Call(gate.leaf if fused else lambda x: reference.route(x, weight), work, shape)

    return build


def _moved(shape: Shape, rows: int) -> int:
    """Return the numbers of inputs, `rows` weight rows and routing weights."""
    return shape.batch * (shape.in_features + shape.n_experts) + rows * shape.in_features


BUILDERS: dict[str, Build] = {
    "product": _soft("product"),
    "log": _soft("log"),
    "transition": _soft("transition"),
    "descent": _descent(fused=False),
    "descent_fused": _descent(fused=True),
    "linear": _linear,
}
