"""What all kernels share: activation functions, and where a node lies in its tree."""

from __future__ import annotations

import torch
import triton
import triton.language as tl

from fastff.kernels.activations import CODES, SELU_ALPHA, SELU_SCALE

RELU = tl.constexpr(CODES["relu"])
GELU = tl.constexpr(CODES["gelu"])
SELU = tl.constexpr(CODES["selu"])
ALPHA = tl.constexpr(SELU_ALPHA)
SCALE = tl.constexpr(SELU_SCALE)

# float32 products on tensor cores in three TF32 passes, as exact as float32 arithmetic
PRECISION = tl.constexpr("tf32x3")


@triton.jit
def activate(z, ACTIVATION: tl.constexpr):
    """Return the activation function of `z`, float32; of NaN it is NaN, as torch's."""
    if ACTIVATION == RELU:
        z = tl.where(z <= 0, 0.0, z)
    elif ACTIVATION == GELU:
        z = 0.5 * z * (1 + tl.erf(z * 0.7071067811865476))
    elif ACTIVATION == SELU:
        z = SCALE * tl.where(z > 0, z, ALPHA * (tl.exp(tl.where(z > 0, 0.0, z)) - 1))
    return z


@triton.jit
def activation_slope(z, ACTIVATION: tl.constexpr):
    """Return the derivative of the activation function at `z`, float32."""
    slope = tl.full(z.shape, 1.0, tl.float32)
    if ACTIVATION == RELU:
        slope = tl.where(z <= 0, 0.0, 1.0)
    elif ACTIVATION == GELU:
        density = 0.3989422804014327 * tl.exp(-0.5 * z * z)
        slope = 0.5 * (1 + tl.erf(z * 0.7071067811865476)) + z * density
    elif ACTIVATION == SELU:
        slope = SCALE * tl.where(z > 0, 1.0, ALPHA * tl.exp(tl.where(z > 0, 0.0, z)))
    return slope


@triton.jit
def level_of(node, LEVELS: tl.constexpr):
    """Return the level of a `node` in heap order, in a tree of `LEVELS` levels: 0 for the root."""
    level = tl.zeros_like(node)
    for deeper in tl.static_range(1, LEVELS):
        level += (node + 1 >= (1 << deeper)).to(level.dtype)
    return level


def block_of(features: int, largest: int, smallest: int = 16) -> int:
    """Return the power of two that covers `features`, between `smallest` and `largest`."""
    power: int = triton.next_power_of_2(features)
    return max(smallest, min(largest, power))


def rows_contiguous(x: torch.Tensor) -> torch.Tensor:
    """Return `x` (b, i), copied if the values of a row don't lie side by side."""
    return x if x.stride(-1) == 1 else x.contiguous()
