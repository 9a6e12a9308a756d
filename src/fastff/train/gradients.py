"""How large the gradients of a gate's units and of its experts are, over the steps."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from fastff.layers import Layer

N_WINDOWS = 100  # points of a curve


@dataclass(frozen=True)
class Gradients:
    """Smoothed mean absolute gradients: by part, a list per window of a number per unit."""

    last_steps: list[int]
    parts: dict[str, list[list[float]]]


class GradientRecorder:
    """Mean absolute gradients of a stack, smoothed by averaging over windows of steps.

    Parts and their units are those of `Layer.units`. Nothing is moved off the device before
    `result`.

    Args:
        model: a stack of r runs.
        n_steps: how many steps there will be at most; windows are as even as they can be.

    """

    def __init__(self, model: Layer, n_steps: int) -> None:
        self.parameters = model.units()
        n_windows = min(N_WINDOWS, n_steps)
        self.ends = [n_steps * (window + 1) // n_windows for window in range(n_windows)]
        self.step = self.in_window = 0
        self.sums = {
            part: torch.zeros_like(self._magnitude(parameter.detach(), unit))
            for part, (parameter, unit) in self.parameters.items()
        }
        self.windows: dict[str, list[Tensor]] = {part: [] for part in self.parameters}

    def accumulate(self) -> None:
        """Add the gradients of one step to the window, after the backward pass."""
        for part, (parameter, unit) in self.parameters.items():
            # a gate that trains hard gets no gradient at all
            if parameter.grad is not None:
                self.sums[part] += self._magnitude(parameter.grad, unit)

    def advance(self) -> None:
        """Count the step whose gradients were added, and close the window after its last."""
        self.step += 1
        self.in_window += 1
        if self.step in self.ends:
            for part, total in self.sums.items():
                self.windows[part].append(total / self.in_window)
                total.zero_()
            self.in_window = 0

    def result(self, run: int, n_steps: int) -> Gradients:
        """Return one run's curves over its first `n_steps` steps."""
        ends = [end for end in self.ends if end <= min(n_steps, self.step)]
        parts = {
            part: [_rounded(window[run]) for window in windows[: len(ends)]]
            for part, windows in self.windows.items()
            if ends
        }
        return Gradients(ends, parts)

    def state_dict(self) -> dict[str, Any]:
        """Return what `load_state_dict` takes."""
        return {
            "step": self.step,
            "in_window": self.in_window,
            "sums": self.sums,
            "windows": {part: list(windows) for part, windows in self.windows.items()},
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from where `state_dict` was."""
        self.step, self.in_window = state["step"], state["in_window"]
        for part, total in self.sums.items():
            total.copy_(state["sums"][part])
        self.windows = {part: list(windows) for part, windows in state["windows"].items()}

    @staticmethod
    def _magnitude(gradient: Tensor, unit: int) -> Tensor:
        """Return the mean absolute entry of each unit, which dimension `unit` counts, (r, u)."""
        by_unit = gradient.abs().movedim(1 + unit, 1)
        return by_unit.reshape(*by_unit.shape[:2], -1).mean(-1)


def _rounded(values: Tensor) -> list[float]:
    """Return numbers with as many digits as float32 has: more would only fill a table."""
    return [float(f"{value:.7g}") for value in values.tolist()]
