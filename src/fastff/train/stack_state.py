"""The state of a stack of runs under way: what a checkpoint of it holds."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import torch

from fastff.layers import Layer
from fastff.train.optimiser import Optimiser, Plateau
from fastff.train.recording import GradientRecorder, Snapshot
from fastff.train.results import EpochResult
from fastff.train.step import Step
from fastff.train.stopping import EarlyStopping, Failures


@dataclass
class StackState:
    """A stack of r runs under way.

    Attributes:
        generators: of the order of each run's samples, and of what its steps draw from.
        epoch: the last that is done.
        histories: each run's epochs with finite losses.
        taken: what was recorded after epochs, a snapshot per run each.

    """

    model: Layer
    optimiser: Optimiser
    step: Step
    failures: Failures
    plateau: Plateau | None
    recorder: GradientRecorder | None
    stopping: EarlyStopping | None
    generators: Sequence[torch.Generator]
    histories: list[list[EpochResult]]
    taken: list[list[Snapshot]] = field(default_factory=list)
    epoch: int = 0

    def state_dict(self) -> dict[str, Any]:
        """Return tensors, numbers and text from which `load_state_dict` goes on bit by bit."""
        written = {
            "histories": [[asdict(epoch) for epoch in history] for history in self.histories],
            "taken": [[asdict(snapshot) for snapshot in snapshots] for snapshots in self.taken],
        }
        return {
            "epoch": self.epoch,
            "parameters": [parameter.detach() for parameter in self.model.parameters()],
            "last_loss": self.step.last_loss,
            "generators": [generator.get_state() for generator in self.generators],
            "optimiser": self.optimiser.state_dict(),
            "failures": self.failures.state_dict(),
            "parts": {name: part.state_dict() for name, part in self._parts().items()},
            "written": json.dumps(written),
        }

    @torch.no_grad()
    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from where `state_dict` was; tensors may be on another device."""
        self.epoch = state["epoch"]
        for parameter, saved in zip(self.model.parameters(), state["parameters"], strict=True):
            parameter.copy_(saved)
        self.step.last_loss.copy_(state["last_loss"])
        for generator, saved in zip(self.generators, state["generators"], strict=True):
            generator.set_state(saved)
        self.optimiser.load_state_dict(state["optimiser"])
        self.failures.load_state_dict(state["failures"])
        for name, part in self._parts().items():
            part.load_state_dict(state["parts"][name])
        written = json.loads(state["written"])
        self.histories = [
            [EpochResult(**epoch) for epoch in history] for history in written["histories"]
        ]
        self.taken = [
            [Snapshot(**snapshot) for snapshot in snapshots] for snapshots in written["taken"]
        ]

    def _parts(self) -> dict[str, Plateau | GradientRecorder | EarlyStopping]:
        """Return what only some recipes have."""
        parts = {"plateau": self.plateau, "recorder": self.recorder, "stopping": self.stopping}
        return {name: part for name, part in parts.items() if part is not None}
