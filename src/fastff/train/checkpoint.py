"""Checkpoints: where a long training goes on after its process has ended.

A checkpoint holds tensors, numbers and text. It is read without unpickling objects, and only where
its checksum is right and it is of the very same runs, config, code, data and device.
"""

from __future__ import annotations

import hashlib
import io
import json
import logging
import pickle
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch

from fastff.config.model import ModelSpec
from fastff.files import read_checked, write_checked
from fastff.layers import Layer
from fastff.train.graceful_shutdown import StopRequest
from fastff.train.optimiser import Optimiser, Plateau
from fastff.train.recording import GradientRecorder, Snapshot
from fastff.train.results import EpochResult
from fastff.train.step import Step
from fastff.train.stopping import EarlyStopping, Failures

log = logging.getLogger(__name__)


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


class Checkpoint:
    """The checkpoint of one stack.

    Args:
        path: its file, which is there only while the stack is under way.
        context: JSON values of all that the training depends on.
        interval: seconds from the start, or from the last checkpoint, to the next.
        stop: once it is made, a checkpoint is due.

    Attributes:
        epoch: of the state that was loaded, 0 for none.

    """

    def __init__(
        self, path: Path, context: dict[str, Any], interval: float, stop: StopRequest
    ) -> None:
        self.path = path
        self.context = json.loads(json.dumps(context))
        self.interval = interval
        self.stop = stop
        self.last = time.monotonic()
        self.epoch = 0

    def is_due(self) -> bool:
        """Whether the interval is over, or the process is asked to stop."""
        return self.stop.is_made or time.monotonic() - self.last >= self.interval

    def save(self, state: dict[str, Any]) -> None:
        """Write a state in place of the last one, whole or not at all."""
        content = io.BytesIO()
        torch.save({"context": json.dumps(self.context), "state": state}, content)
        write_checked(self.path, content.getbuffer())
        self.last = time.monotonic()

    def load(self) -> dict[str, Any] | None:
        """Return the state that was written, on the CPU.

        None where there is none. One that is damaged, or of another config, code, data or device,
        is refused with a warning: training then starts anew.
        """
        try:
            content = read_checked(self.path)
        except FileNotFoundError:
            return None
        except ValueError:
            log.warning("checkpoint %s is damaged: training starts anew", self.path)
            return None
        try:
            found = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
        except (pickle.UnpicklingError, RuntimeError) as error:
            reason = str(error).partition("\n")[0]
            log.warning("checkpoint %s: %s: training starts anew", self.path, reason)
            return None
        other = _differences(json.loads(found["context"]), self.context)
        if other:
            where = ", ".join(other)
            log.warning(
                "checkpoint %s is of another %s: it is not used, and training starts anew",
                *(self.path, where),
            )
            return None
        state: dict[str, Any] = found["state"]
        self.epoch = state["epoch"]
        log.info("checkpoint %s: training goes on after epoch %d", self.path, self.epoch)
        return state

    def remove(self) -> None:
        """Delete the file, if it is there."""
        self.path.unlink(missing_ok=True)


@dataclass(frozen=True)
class Checkpoints:
    """The checkpoints of one job's stacks, in a folder that jobs share.

    Attributes:
        folder: made when the first checkpoint is written.
        name: of the job.
        context: JSON values of all that the job's runs depend on, beside model and seed.
        interval: seconds between two checkpoints of a stack.
        stop: ends the training after the epoch, with a checkpoint.

    """

    folder: Path
    name: str
    context: dict[str, Any]
    interval: float
    stop: StopRequest = field(default_factory=StopRequest)

    def of(self, model: ModelSpec, seeds: tuple[int, ...]) -> Checkpoint:
        """Return the checkpoint of a stack, of one model and several seeds."""
        place = {"shape": model.shape, "seeds": seeds}
        key = hashlib.sha256(json.dumps(place).encode()).hexdigest()[:16]
        path = self.folder / f"{self.name}.{key}.checkpoint"
        stack = {"model": model.model_dump(mode="json"), "seeds": seeds}
        return Checkpoint(path, {**self.context, **stack}, self.interval, self.stop)

    def clear(self) -> None:
        """Delete all that the job has left, also of stacks that it no longer has."""
        for path in self.folder.glob(f"{self.name}.*.checkpoint"):
            path.unlink(missing_ok=True)


def _differences(found: dict[str, Any], expected: dict[str, Any]) -> list[str]:
    """Return the keys that differ, of nested values their own: `recipe.epochs`."""
    keys: list[str] = []
    for key in dict.fromkeys([*expected, *found]):
        one, other = found.get(key), expected.get(key)
        if one == other:
            continue
        if isinstance(one, dict) and isinstance(other, dict):
            keys += [f"{key}.{inner}" for inner in _differences(one, other)]
        else:
            keys.append(key)
    return keys
