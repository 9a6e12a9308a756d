"""How large the gradients of a gate's units and of its experts are, over the steps."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from fastff.layers import RoutedLayer

N_WINDOWS = 100  # points of a curve


@dataclass(frozen=True)
class Gradients:
    """Smoothed mean absolute gradients: by part, a list per window of a number per unit."""

    last_steps: list[int]
    parts: dict[str, list[list[float]]]


class GradientRecorder:
    """Mean absolute gradients of a stack, smoothed by averaging over windows of steps.

    Parts: "gate", a unit per row of the gate's weight (a node of a tree, a logit of the others);
    "expert_in" and "expert_out", a unit per expert, of its first and second layer. Nothing is
    moved off the device before `result`.

    Args:
        model: a stack of r runs.
        n_steps: how often `add` will be called; windows are as even as they can be.

    """

    def __init__(self, model: RoutedLayer, n_steps: int) -> None:
        self.parameters = {
            "gate": model.gate.get_parameter("weight"),  # (r, u, i)
            "expert_in": model.experts.w_in,  # (r, e, h, i)
            "expert_out": model.experts.w_out,  # (r, e, h, o)
        }
        n_windows = min(N_WINDOWS, n_steps)
        self.last_steps = [n_steps * (window + 1) // n_windows for window in range(n_windows)]
        self.step = self.in_window = 0
        self.window: dict[str, Tensor] = {}
        self.windows: dict[str, list[Tensor]] = {part: [] for part in self.parameters}

    def add(self) -> None:
        """Take the gradients of one step, after the backward pass."""
        for part, parameter in self.parameters.items():
            # a gate that trains hard gets no gradient at all
            gradient = torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
            magnitude = gradient.abs().flatten(2).mean(-1)  # (r, u)
            total = self.window.get(part)
            self.window[part] = magnitude if total is None else total + magnitude
        self.step += 1
        self.in_window += 1
        if self.step == self.last_steps[len(self.windows["gate"])]:
            for part, total in self.window.items():
                self.windows[part].append(total / self.in_window)
            self.window, self.in_window = {}, 0

    def result(self, run: int) -> Gradients:
        """Return one run's curves."""
        parts = {
            part: torch.stack([window[run] for window in windows]).tolist()
            for part, windows in self.windows.items()
        }
        return Gradients(self.last_steps, parts)
