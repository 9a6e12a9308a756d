"""What is timed: a form's name stands for a function that builds one call."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from fastff.bench.shape import Shape
from fastff.bench.work import Work

Run = Callable[[Tensor], object]


class NotHereError(Exception):
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
    work: Work
    shape: Shape
    gradients: bool = False


Build = Callable[[Shape, torch.dtype, torch.device], Call]


def builders(op: str) -> Mapping[str, Build]:
    """Return every form of an operation, as `fastff.config.benchmarks.FORMS` lists them."""
    from fastff.bench import timed_experts, timed_gates, timed_layers, timed_training

    modules = {
        "gate": timed_gates,
        "experts": timed_experts,
        "layer": timed_layers,
        "train_step": timed_training,
    }
    found: Mapping[str, Build] = modules[op].BUILDERS
    return found
