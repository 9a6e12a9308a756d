"""One optimiser step of a stack."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.optim import Optimizer

from fastff.layers import Layer
from fastff.train.gradients import GradientRecorder
from fastff.train.split import Part


class Step:
    """Draws a batch for every run, and takes one optimiser step on it.

    Args:
        model: a stack of r runs, in training mode.
        optimiser: of its parameters.
        part: the training samples.
        scale: what each run's update is multiplied with, (r,), or None.
        recorder: is given the gradients, if there is one.

    Attributes:
        loss: sum of the cross-entropies of the steps since `loss` was last set to 0, (r,).

    """

    def __init__(
        self,
        model: Layer,
        optimiser: Optimizer,
        part: Part,
        scale: Tensor | None,
        recorder: GradientRecorder | None,
    ) -> None:
        self.model = model
        self.optimiser = optimiser
        self.part = part
        self.scale = scale
        self.recorder = recorder
        self.parameters = list(model.parameters())
        n_runs = self.parameters[0].shape[0]
        self.loss = torch.zeros(n_runs, dtype=torch.float64, device=part.inputs.device)

    def __call__(self, batch: Tensor) -> None:
        """Take a step on the samples whose places are `batch`, (r, b)."""
        # index_select over one flat index is several times faster on a CPU than x[batch]
        x = self.part.inputs.index_select(0, batch.flatten()).view(*batch.shape, -1)  # (r, b, i)
        y = self.part.labels.index_select(0, batch.flatten())
        self.optimiser.zero_grad()
        outputs, own_loss = self.model.soft_with_loss(x)
        loss = F.cross_entropy(outputs.flatten(0, 1), y, reduction="none")
        loss = loss.view(batch.shape).mean(-1)
        (loss if own_loss is None else loss + own_loss).sum().backward()
        self.loss += loss.detach()
        if self.recorder is not None:
            self.recorder.accumulate()
        self._update()

    def _update(self) -> None:
        if self.scale is None:
            self.optimiser.step()
            return
        before = [parameter.detach().clone() for parameter in self.parameters]
        self.optimiser.step()
        with torch.no_grad():
            for old, new in zip(before, self.parameters, strict=True):
                new.copy_(torch.lerp(old, new, self.scale.view(-1, *[1] * (new.ndim - 1))))
