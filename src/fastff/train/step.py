"""One optimiser step of a stack, run as it is or captured as a CUDA graph."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from fastff.layers import Layer
from fastff.layers.linear import Random
from fastff.train.augmentation import Augmentation
from fastff.train.evaluate import Part
from fastff.train.optimiser import Optimiser
from fastff.train.recording import GradientRecorder

N_EAGER = 3  # steps before the capture: they settle what is allocated or chosen once


class Step:
    """Draws the next batch of every run, and takes one optimiser step on it.

    All that changes from step to step is counted on the device, so that a captured step can be
    replayed as it is. The first steps are run as they are, captured or not: nothing is undone.

    Args:
        model: a stack of r runs.
        optimiser: of its parameters; where it can be captured, so is the step.
        part: the training samples.
        shape: of an epoch: steps, and samples of a batch.
        recorder: is given the gradients, if there is one.
        random: what the model draws from, one generator per run.
        augmentation: changes the inputs, if there is one.

    Attributes:
        loss: sum of the cross-entropies of this epoch's steps, (r,).
        last_loss: the last step's cross-entropy that was a finite number, NaN for none, (r,).

    """

    def __init__(
        self,
        model: Layer,
        optimiser: Optimiser,
        part: Part,
        shape: tuple[int, int],
        *,
        recorder: GradientRecorder | None,
        random: Random,
        augmentation: Augmentation | None = None,
    ) -> None:
        self.model = model
        self.optimiser = optimiser
        self.part = part
        self.recorder = recorder
        self.random = random
        self.augmentation = augmentation
        device, n_runs = part.inputs.device, next(model.parameters()).shape[0]
        self.order = torch.zeros(n_runs, *shape, dtype=torch.long, device=device)
        self.next = torch.zeros(1, dtype=torch.long, device=device)
        self.loss = torch.zeros(n_runs, dtype=torch.float64, device=device)
        self.last_loss = torch.full((n_runs,), torch.nan, device=device)
        self.n_eager = N_EAGER if optimiser.is_capturable else None
        self.graph: torch.cuda.CUDAGraph | None = None

    @property
    def generators(self) -> list[torch.Generator]:
        """All that a step draws from."""
        sources = [self.random]
        if self.augmentation is not None:
            sources.append(self.augmentation.random)
        return [generator for source in sources for generator in source.generators or ()]

    def start_epoch(self, order: Tensor) -> None:
        """Take the samples' places, one order for each run, (r, n), for the steps to come."""
        places = order[:, : self.order[0].numel()].view(self.order.shape)
        if self.order.is_cuda:
            places = places.pin_memory()
        self.order.copy_(places, non_blocking=True)
        self.next.zero_()
        self.loss.zero_()

    def __call__(self) -> None:
        """Take the epoch's next step."""
        if self.graph is not None:
            self.graph.replay()
        elif self.n_eager == 0:
            self._capture()
        else:
            self._run()
            self.n_eager = None if self.n_eager is None else self.n_eager - 1
        if self.recorder is not None:
            self.recorder.advance()

    def _capture(self) -> None:
        graph = torch.cuda.CUDAGraph()
        for generator in self.generators:
            graph.register_generator_state(generator)
        current = torch.cuda.current_stream()
        # the default stream can't be captured: without one, torch takes a stream of its own
        stream = None if current == torch.cuda.default_stream() else current
        with torch.cuda.graph(graph, stream=stream):
            self._run()
        self.graph = graph
        graph.replay()  # a capture runs nothing

    def _run(self) -> None:
        batch = self.order.index_select(1, self.next).squeeze(1)  # (r, b)
        self.next += 1
        # index_select over one flat index is several times faster on a CPU than x[batch]
        x = self.part.inputs.index_select(0, batch.flatten()).view(*batch.shape, -1)  # (r, b, i)
        y = self.part.labels.index_select(0, batch.flatten())
        if self.augmentation is not None:
            x = self.augmentation(x)
        self.optimiser.zero_grad()
        outputs, own_loss = self.model.soft_with_loss(x)
        loss = F.cross_entropy(outputs.flatten(0, 1), y, reduction="none")
        loss = loss.view(batch.shape).mean(-1)
        (loss if own_loss is None else loss + own_loss).sum().backward()
        detached = loss.detach()
        self.loss += detached
        # never below 0, and NaN is below nothing
        torch.where(detached < torch.inf, detached, self.last_loss, out=self.last_loss)
        if self.recorder is not None:
            self.recorder.accumulate()
        self.optimiser.step()
