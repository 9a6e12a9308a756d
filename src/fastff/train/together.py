"""Several stacks on one device: while one waits for its epoch, the others' work goes on."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, nullcontext
from typing import NamedTuple

import torch

from fastff.config.grid import Point
from fastff.config.job import TrainSpec
from fastff.train.interrupt import StoppedError
from fastff.train.loop import Training
from fastff.train.results import RunResult

log = logging.getLogger(__name__)


class Stack(NamedTuple):
    """Runs to train as one batched computation."""

    spec: TrainSpec
    point: Point
    seeds: tuple[int, ...]

    def halves(self) -> list[Stack]:
        """Return two stacks of half the runs each."""
        middle = len(self.seeds) // 2
        return [self._replace(seeds=part) for part in (self.seeds[:middle], self.seeds[middle:])]


class _Running(NamedTuple):
    stack: Stack
    training: Training
    stream: torch.cuda.Stream | None

    def enter(self) -> AbstractContextManager[object]:
        return nullcontext() if self.stream is None else torch.cuda.stream(self.stream)


def train_together(
    stacks: Iterable[Stack],
    start: Callable[[Stack], Training],
    *,
    device: torch.device,
    at_once: int,
) -> Iterator[tuple[Stack, list[RunResult]]]:
    """Yield stacks with their results, as they get ready.

    On a CUDA device `at_once` stacks are under way, each in a stream of its own: a step of one
    rarely fills the device. Where memory runs out, the stack at fault starts again as two of half
    its runs, or, of one run, alone. On a CPU stacks are trained one by one.

    Args:
        stacks: what to train.
        start: starts a stack's training.
        device: where they train.
        at_once: how many may be under way.

    Raises:
        StoppedError: when all that were under way have ended, where one of them raised it.
        torch.cuda.OutOfMemoryError: for a single run that doesn't fit alone.

    """
    is_cuda = device.type == "cuda"
    waiting, running = deque(stacks), deque[_Running]()
    limit = at_once if is_cuda else 1
    stopped: StoppedError | None = None
    while waiting or running:
        while waiting and len(running) < limit:
            stack = waiting.popleft()
            stream = torch.cuda.Stream(device) if is_cuda else None
            running.append(_Running(stack, start(stack), stream))
        one = running.popleft()
        try:
            with one.enter():
                next(one.training)
        except StopIteration as end:
            yield one.stack, end.value
        except StoppedError as error:
            stopped = error
            waiting.clear()
        except torch.cuda.OutOfMemoryError:
            if len(one.stack.seeds) == 1 and not running:
                raise
            waiting.extendleft(_retry(one.stack))
            limit = max(1, len(running))
            one.training.close()
            del one
            torch.cuda.empty_cache()
        else:
            running.append(one)
    if stopped is not None:
        raise stopped


def _retry(stack: Stack) -> list[Stack]:
    """Return what to train in place of a stack that ran out of memory."""
    where = f"{stack.spec.experiment} {stack.spec.variant.name}, {stack.point}"
    if len(stack.seeds) == 1:
        log.warning("out of memory: %s: the run starts again when others are done", where)
        return [stack]
    log.warning("out of memory: %s: %d runs start again as two stacks", where, len(stack.seeds))
    return stack.halves()
