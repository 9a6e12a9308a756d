"""Who is told how far a training is: the engine itself writes no line about it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Protocol

from fastff.config.job import TrainSpec
from fastff.config.model import Point

JobRun = tuple[int, Point, int]  # the place of its job in a list of jobs, its point and its seed


class Watcher(Protocol):
    """Is told of every epoch and every finished run of a training."""

    def advance(
        self, runs: Iterable[JobRun], epoch: int, loss: float, *, resumed: bool = False
    ) -> None:
        """Take note that the runs of a stack have reached an epoch.

        `loss` is their mean train loss in it. An epoch that comes from a checkpoint was `resumed`.
        """

    def finish(self, runs: Iterable[JobRun]) -> None:
        """Take note that runs are finished, perhaps before their last epoch."""


# Called when it is known what is to be trained: with the jobs, the number of epochs of every run
# that is to be trained, and how many runs of each job were stored.
Watch = Callable[
    [Sequence[TrainSpec], Mapping[JobRun, int], Sequence[int]], AbstractContextManager[Watcher]
]


class _Nobody:
    def advance(
        self, runs: Iterable[JobRun], epoch: int, loss: float, *, resumed: bool = False
    ) -> None:
        pass

    def finish(self, runs: Iterable[JobRun]) -> None:
        pass


def unwatched(
    specs: Sequence[TrainSpec], epochs: Mapping[JobRun, int], n_stored: Sequence[int]
) -> AbstractContextManager[Watcher]:
    """Watch nothing."""
    return nullcontext(_Nobody())
