"""What a computation asks of a device, counted without computing it.

Tensors on torch's device "meta" have shapes and no content: the layers run on them as they are, and
every operator that would start is counted on its way, backward pass included. So any model that can
be trained can be counted, also one that was never measured.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import astuple, dataclass, replace
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import flop_registry

CONVOLUTIONS = (torch.ops.aten.convolution, torch.ops.aten.convolution_backward)


@dataclass(frozen=True)
class Work:
    """Operators that are called, what they compute, and what goes in and out of them.

    Attributes:
        calls: how many operators.
        flops: floating-point operations of matrix products.
        convolved: floating-point operations of convolutions, which take longer.
        bytes: of all operands and results.

    """

    calls: float = 0.0
    flops: float = 0.0
    convolved: float = 0.0
    bytes: float = 0.0

    def __add__(self, other: Work) -> Work:
        """Return the work of both."""
        return Work(*(one + two for one, two in zip(astuple(self), astuple(other), strict=True)))

    def __mul__(self, times: float) -> Work:
        """Return the work done so many times."""
        return Work(*(one * times for one in astuple(self)))

    def side_by_side(self, n: int) -> Work:
        """Return the work of `n` such computations that are called as one."""
        return replace(self * n, calls=self.calls)


class _Counter(TorchDispatchMode):
    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.work = Work()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        out = func(*args, **kwargs)
        if not func.is_view:
            packet = func.overloadpacket
            tensors = [x for x in tree_leaves((args, kwargs, out)) if isinstance(x, torch.Tensor)]
            formula = flop_registry.get(packet)
            flops = 0 if formula is None else formula(*args, **kwargs, out_val=out)
            is_convolution = packet in CONVOLUTIONS
            self.work += Work(
                calls=1,
                flops=0 if is_convolution else flops,
                convolved=flops if is_convolution else 0,
                bytes=sum(tensor.numel() * tensor.itemsize for tensor in tensors),
            )
        return out


def count(run: Callable[[], object]) -> Work:
    """Return the work of a call on meta tensors. Views of tensors are no work."""
    counter = _Counter()
    with counter:
        run()
    return counter.work
