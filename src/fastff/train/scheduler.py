"""The stacks of a job on one device: how many runs fit, and several stacks that take turns."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, nullcontext
from typing import NamedTuple

import torch

from fastff.config.job import Run, TrainSpec
from fastff.config.model import ModelSpec
from fastff.data.dataset import Dataset
from fastff.layers import Layer
from fastff.train.build import Sizes, build_model, count_parameters
from fastff.train.evaluate import CHUNKS
from fastff.train.graceful_shutdown import StoppedError
from fastff.train.loop import Training
from fastff.train.results import RunResult

log = logging.getLogger(__name__)
FLOAT = 4  # bytes
PER_PARAMETER = 10  # floats: itself, gradient, two moments, and what an update holds for a moment
PER_UNIT = 6  # floats of a hidden unit or expert and sample: forward, backward, and temporaries
SHARE = 0.8  # of the free memory; the rest is for what isn't counted


def runs_that_fit(spec: TrainSpec, model: ModelSpec, data: Dataset, stacks_at_once: int) -> int:
    """Return how many runs of a model fit on `data`'s device beside other stacks, at least 1.

    On a CPU there is no limit. The estimate counts parameters and their optimiser state, and the
    hidden units and routing weights of a batch and of a chunk of evaluation.
    """
    device = data.train_inputs.device
    if device.type != "cuda":
        return len(spec.seeds)
    with torch.device("meta"):
        layer = build_model(model, Sizes.of(data))
    n_bytes = bytes_per_run(layer, data, spec.recipe.batch_size + CHUNKS["cuda"])
    free, _ = torch.cuda.mem_get_info(device)
    return max(1, int(SHARE * free / stacks_at_once / n_bytes))


def bytes_per_run(model: Layer, data: Dataset, n_samples: int) -> int:
    """Return about how many bytes a run in training takes, beside the data.

    Args:
        model: of one run.
        data: what it is trained on.
        n_samples: of a batch, and of what is evaluated at once.

    """
    n_units = model.training_width + model.n_trees * model.n_experts + data.n_classes
    n_floats = PER_PARAMETER * count_parameters(model)
    n_floats += n_samples * (2 * data.in_features + PER_UNIT * n_units)
    n_floats += len(data.train_labels) * 2  # the order of the samples, 8 bytes each
    return FLOAT * n_floats


class Stack(NamedTuple):
    """Runs to train as one batched computation."""

    spec: TrainSpec
    model: ModelSpec
    seeds: tuple[int, ...]

    @property
    def runs(self) -> list[Run]:
        """What is trained, in the order of the seeds."""
        return [Run(self.model, seed) for seed in self.seeds]

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
    where = f"{stack.spec.experiment} {stack.spec.variant.name}, {stack.model.shape}"
    if len(stack.seeds) == 1:
        log.warning("out of memory: %s: the run starts again when others are done", where)
        return [stack]
    log.warning("out of memory: %s: %d runs start again as two stacks", where, len(stack.seeds))
    return stack.halves()
