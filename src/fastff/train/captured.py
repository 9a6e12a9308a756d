"""AdamW and SGD as Triton kernels, whose steps can be captured as a CUDA graph and replayed.

torch's own read the first beta or the momentum on the host, so that a captured step could not
follow a schedule that moves it. Here all that changes from step to step lies in a table on the
device, whose next row is counted there too.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor, nn

from fastff.config.recipe import AdamWSpec, SgdSpec

BLOCK = 1024


@triton.jit
def _adamw(p_ptr, g_ptr, m_ptr, v_ptr, table_ptr, next_ptr, scale_ptr, n, n_per_run,
           beta2, epsilon, weight_decay, has_scale: tl.constexpr, block: tl.constexpr):  # fmt: skip
    """Update a block of entries of a parameter p by its gradient g and moments m and v."""
    row = table_ptr + 4 * tl.load(next_ptr)
    rate, beta1 = tl.load(row), tl.load(row + 1)
    correction1, correction2 = tl.load(row + 2), tl.load(row + 3)
    place = tl.program_id(0).to(tl.int64) * block + tl.arange(0, block)
    inside = place < n
    if has_scale:
        rate = rate * tl.load(scale_ptr + place // n_per_run, mask=inside)
    p = tl.load(p_ptr + place, mask=inside)
    g = tl.load(g_ptr + place, mask=inside)
    m = tl.load(m_ptr + place, mask=inside)
    v = tl.load(v_ptr + place, mask=inside)
    m = m + (1 - beta1) * (g - m)
    v = beta2 * v + (1 - beta2) * g * g
    p = p - rate * weight_decay * p
    p = p - rate / correction1 * m / (tl.sqrt(v) / correction2 + epsilon)
    tl.store(p_ptr + place, p, mask=inside)
    tl.store(m_ptr + place, m, mask=inside)
    tl.store(v_ptr + place, v, mask=inside)


@triton.jit
def _sgd(p_ptr, g_ptr, m_ptr, table_ptr, next_ptr, scale_ptr, n, n_per_run,
         weight_decay, has_scale: tl.constexpr, block: tl.constexpr):  # fmt: skip
    """Update a block of entries of a parameter p by its gradient g and momentum buffer m."""
    row = table_ptr + 4 * tl.load(next_ptr)
    rate, momentum = tl.load(row), tl.load(row + 1)
    place = tl.program_id(0).to(tl.int64) * block + tl.arange(0, block)
    inside = place < n
    if has_scale:
        rate = rate * tl.load(scale_ptr + place // n_per_run, mask=inside)
    p = tl.load(p_ptr + place, mask=inside)
    g = tl.load(g_ptr + place, mask=inside)
    m = momentum * tl.load(m_ptr + place, mask=inside) + g + weight_decay * p
    tl.store(p_ptr + place, p - rate * m, mask=inside)
    tl.store(m_ptr + place, m, mask=inside)


class CapturedOptimiser:
    """AdamW (arXiv 1711.05101) or SGD with momentum over a table of steps, as torch has them.

    Every entry of a parameter is updated on its own, so that runs that share it stay apart.

    Args:
        parameters: contiguous float32, of a stack of r runs, on a CUDA device.
        spec: which optimiser.
        steps: learning rate and momentum (or first beta) of every step.
        scale: what a run's updates are multiplied with, (r,), or None.

    """

    is_capturable = True

    def __init__(
        self,
        parameters: Sequence[nn.Parameter],
        spec: AdamWSpec | SgdSpec,
        steps: Sequence[tuple[float, float]],
        scale: Tensor | None,
    ) -> None:
        self.parameters = parameters
        self.spec = spec
        self.scale = scale
        device = parameters[0].device
        self.table = torch.tensor(_table(spec, steps), dtype=torch.float32, device=device)
        self.next = torch.zeros(1, dtype=torch.long, device=device)
        n_moments = 2 if isinstance(spec, AdamWSpec) else 1
        self.moments = [
            [torch.zeros_like(parameter) for _ in range(n_moments)] for parameter in parameters
        ]

    def zero_grad(self) -> None:
        """Forget the gradients."""
        for parameter in self.parameters:
            parameter.grad = None

    @torch.no_grad()
    def step(self) -> None:
        """Take the schedule's next step; a parameter without a gradient stays as it is."""
        for parameter, moments in zip(self.parameters, self.moments, strict=True):
            if parameter.grad is not None:
                self._update(parameter, parameter.grad.contiguous(), moments)
        self.next += 1

    def state_dict(self) -> dict[str, Any]:
        """Return what `load_state_dict` takes."""
        return {"next": self.next, "moments": self.moments}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from where `state_dict` was."""
        self.next.copy_(state["next"])
        for moments, saved in zip(self.moments, state["moments"], strict=True):
            for moment, value in zip(moments, saved, strict=True):
                moment.copy_(value)

    def _update(self, parameter: nn.Parameter, gradient: Tensor, moments: list[Tensor]) -> None:
        n = parameter.numel()
        grid = (triton.cdiv(n, BLOCK),)
        pointers = (parameter, gradient, *moments, self.table, self.next)
        # a pointer that isn't read must be one all the same
        scale = self.table if self.scale is None else self.scale
        sizes = (scale, n, n // parameter.shape[0])
        constants = {"has_scale": self.scale is not None, "block": BLOCK}
        if isinstance(self.spec, AdamWSpec):
            rates = (self.spec.betas[1], self.spec.epsilon, self.spec.weight_decay)
            _adamw[grid](*pointers, *sizes, *rates, **constants)
        else:
            _sgd[grid](*pointers, *sizes, self.spec.weight_decay, **constants)


def _table(
    spec: AdamWSpec | SgdSpec, steps: Sequence[tuple[float, float]]
) -> list[tuple[float, float, float, float]]:
    """Return a row per step: rate, momentum, and AdamW's two bias corrections."""
    if not isinstance(spec, AdamWSpec):
        return [(rate, momentum, 1.0, 1.0) for rate, momentum in steps]
    return [
        (rate, beta1, 1 - beta1**place, (1 - spec.betas[1] ** place) ** 0.5)
        for place, (rate, beta1) in enumerate(steps, 1)
    ]
