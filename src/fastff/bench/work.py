"""What a timed operation has to move and compute at least, and how long that takes at best."""

from __future__ import annotations

import time
from dataclasses import dataclass

import torch

from fastff.bench.precision import torch_dtype, with_tf32

COPIED = {"cpu": 2**28, "cuda": 2**31}  # bytes, far beyond any cache
SIDE = {"cpu": 1024, "cuda": 8192}  # of the square matrices that are multiplied


@dataclass(frozen=True)
class Work:
    """Compulsory work of one call.

    Attributes:
        bytes: every input, output and touched weight moved once.
        flops: additions and multiplications.

    """

    bytes: int
    flops: int

    def __add__(self, other: Work) -> Work:
        """Return the work of both, one after the other."""
        return Work(self.bytes + other.bytes, self.flops + other.flops)


@dataclass(frozen=True)
class Rates:
    """What a device does at most: bytes and floating-point operations per second."""

    bytes: float
    flops: float

    def roofline(self, work: Work) -> float:
        """Return the seconds that `work` takes at the rate that limits it."""
        return max(work.bytes / self.bytes, work.flops / self.flops)


def measure_rates(device: torch.device, dtype: str, *, repeats: int = 5) -> Rates:
    """Return the best rates over repeats: a copy in the device's memory, and a matrix product.

    Args:
        device: to measure, with as many threads as torch has now.
        dtype: of the product, "tf32" for float32 rounded to TF32.
        repeats: of each.

    """
    source = torch.empty(COPIED[device.type], dtype=torch.uint8, device=device).fill_(1)
    target = torch.empty_like(source)
    side = SIDE[device.type]
    a = torch.randn(side, side, device=device).to(torch_dtype(dtype))
    out = torch.empty_like(a)
    with with_tf32(dtype):
        product = min(_seconds(device, lambda: torch.mm(a, a, out=out)) for _ in range(repeats))
    copy = min(_seconds(device, lambda: target.copy_(source)) for _ in range(repeats))
    return Rates(2 * source.numel() / copy, 2 * side**3 / product)


def _seconds(device: torch.device, run: object) -> float:
    assert callable(run)
    run()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    start = time.perf_counter()
    run()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter() - start
