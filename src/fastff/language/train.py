"""Training a decoder with one feed-forward layer, seed by seed, on one device.

On CUDA blocks are compiled, and a step is captured once per variant as a graph: another seed fills
the same memory anew. A step depends on the parameters before it, the seed and its number alone, so
that a run goes on from a checkpoint to the same bits.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from fastff.config.language import LanguageSpec
from fastff.language.evaluate import Usage, bits_per_byte, evaluating, usage
from fastff.language.feed_forward import active_parameters
from fastff.language.generate import generate
from fastff.language.model import Decoder
from fastff.language.text import Text
from fastff.layers import aux_loss
from fastff.train.build import count_parameters
from fastff.train.checkpoint import Checkpoint
from fastff.train.device import generator
from fastff.train.graceful_shutdown import StoppedError

WITHOUT_DECAY = ("bias", "b_in", "b_out", "slope", "mix")
WARM_UPS = 3  # steps before one can be captured
PROMPT = b"\n"


@dataclass(frozen=True)
class Look:
    """A look at a run after a step: losses in nats, and bits per byte of the hard form.

    `train_loss` is the mean over the steps since the last look.
    """

    step: int
    train_loss: float
    bits_per_byte: float


@dataclass(frozen=True)
class LanguageResult:
    """One trained run.

    Attributes:
        n_parameters: of the model.
        active_parameters: of these, those that the hard form uses for a token.
        training_width: hidden units of one block.
        inference_width: hidden units that a token passes in one block.
        looks: over the steps.
        usage: of routing layers, over the steps.
        bits_per_byte: of all of the validation text, by the hard form; None of a failed run.
        bits_per_byte_soft: by the soft form.
        generated: what the model wrote, as Latin-1; "" for nothing.
        failed_step: the first look at which the loss was NaN or infinite.
        seconds: that the run took, of a variant's first with what is compiled; from a checkpoint on
            those of the last process.

    """

    n_parameters: int
    active_parameters: int
    training_width: int
    inference_width: int
    looks: list[Look] = field(default_factory=list)
    usage: list[Usage] = field(default_factory=list)
    bits_per_byte: float | None = None
    bits_per_byte_soft: float | None = None
    generated: str = ""
    failed_step: int | None = None
    seconds: float = field(default=0.0, compare=False)

    def to_json(self) -> dict[str, Any]:
        """Return the result as JSON values."""
        return asdict(self)

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> LanguageResult:
        """Return the result that `to_json` wrote."""
        looks = [Look(**look) for look in values["looks"]]
        found = [Usage(**one) for one in values["usage"]]
        return cls(**(values | {"looks": looks, "usage": found}))


class LanguageTraining:
    """A variant on a device: its model, and the step that all its seeds train with.

    Args:
        spec: what to train.
        text: on the device.

    """

    def __init__(self, spec: LanguageSpec, text: Text) -> None:
        self.spec, self.text = spec, text
        self.device = text.train.device
        self.is_cuda = self.device.type == "cuda"
        self.is_half = self.is_cuda and spec.recipe.precision == "bfloat16"
        self.model = Decoder(spec.decoder, spec.variant).to(self.device)
        recipe = spec.recipe
        self.rate = torch.zeros((), device=self.device)
        self.scale = torch.ones((), device=self.device)  # of the layers' own losses
        self.starts = torch.zeros(recipe.batch_size, dtype=torch.long, device=self.device)
        self.window = torch.arange(spec.decoder.context + 1, device=self.device)
        self.loss = torch.zeros((), device=self.device)
        self.total = torch.zeros((), dtype=torch.float64, device=self.device)
        self.optimiser = torch.optim.AdamW(
            self._groups(),
            lr=self.rate,
            betas=recipe.betas,
            weight_decay=recipe.weight_decay,
            fused=self.is_cuda,
            foreach=False,
            capturable=self.is_cuda,
        )
        self._replay: Callable[[], object] | None = None

    def train(
        self,
        seed: int,
        checkpoint: Checkpoint | None = None,
        on_look: Callable[[int, float], None] | None = None,
    ) -> LanguageResult:
        """Return the result of a seed.

        Args:
            seed: of the initial parameters, the windows and dropout.
            checkpoint: from which it goes on, and that is written when it is due.
            on_look: is told of every look: the step and the loss.

        Raises:
            StoppedError: where the checkpoint's stop was asked for, when it is written.

        """
        spec, recipe = self.spec, self.spec.recipe
        step_once = self._prepared()
        self._start(seed)
        result = self._described()
        first = 0
        if checkpoint is not None and (state := checkpoint.load()) is not None:
            first = self._load(state, result)
        n_starts = len(self.text.train) - spec.decoder.context
        shape = (recipe.steps, recipe.batch_size)
        starts = torch.randint(n_starts, shape, generator=generator(seed, "order"))
        starts = starts.to(self.device)
        noise = np.random.SeedSequence([seed, 1]).generate_state(recipe.steps, np.uint32)
        for step in range(first, recipe.steps):
            self.starts.copy_(starts[step])
            self.rate.fill_(rate_at(spec, step))
            if spec.variant.ramp:
                self.scale.fill_((step + 1) / recipe.steps)
            torch.manual_seed(int(noise[step]))
            step_once()
            done = step + 1
            if done % recipe.evaluate_every == 0 or done == recipe.steps:
                loss = self._look(done, result)
                if on_look is not None:
                    on_look(done, loss)
                if not math.isfinite(loss):
                    return replace(result, failed_step=done)
                if checkpoint is not None and checkpoint.is_due() and done < recipe.steps:
                    checkpoint.save(self._state(done, result))
                    if checkpoint.stop.is_made:
                        raise StoppedError
        return self._finished(result, seed)

    def _prepared(self) -> Callable[[], object]:
        """Return what trains one step; on CUDA, a captured graph."""
        if self._replay is not None:
            return self._replay
        self.model.train()
        if not self.is_cuda:
            self._replay = self.step
            return self.step
        for block in self.model.blocks:
            block.compile(dynamic=False)
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            for _ in range(WARM_UPS):
                self.step()
        torch.cuda.current_stream().wait_stream(stream)
        self.optimiser.zero_grad(set_to_none=True)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            self.step()
        self._replay = graph.replay
        return self._replay

    def step(self) -> None:
        """Train on the windows that begin at `starts`."""
        windows = self.text.train[self.starts.unsqueeze(-1) + self.window].long()  # (b, t + 1)
        self.optimiser.zero_grad(set_to_none=True)
        with self.autocast():
            logits = self.model(windows[:, :-1])
            loss = F.cross_entropy(logits.flatten(0, 1).float(), windows[:, 1:].flatten())
        (loss + self.scale * aux_loss(self.model)).backward()
        nn.utils.clip_grad_norm_(self.model.parameters(), self.spec.recipe.clip_norm)
        self.optimiser.step()
        self.loss.copy_(loss.detach())
        self.total.add_(loss.detach())

    def autocast(self) -> AbstractContextManager[Any]:
        """Return the context of matrix products in the recipe's precision, on CUDA."""
        if self.is_half:
            return torch.autocast("cuda", torch.bfloat16)
        return nullcontext()

    def _groups(self) -> list[dict[str, Any]]:
        """Return the parameters with weight decay and those without."""
        named = [*self.model.named_parameters()]
        kept = [p for name, p in named if p.dim() < 2 or name.rpartition(".")[2] in WITHOUT_DECAY]
        decayed = [p for _, p in named if not any(p is other for other in kept)]
        return [{"params": decayed}, {"params": kept, "weight_decay": 0.0}]

    @torch.no_grad()
    def _start(self, seed: int) -> None:
        """Fill the model, and empty the optimiser, as at the start of a seed's run."""
        drawn = Decoder(self.spec.decoder, self.spec.variant, generator(seed, "initialisation"))
        self.model.load_state_dict(drawn.state_dict())
        for state in self.optimiser.state.values():
            for value in state.values():
                value.zero_()
        self.total.zero_()
        self.model.train()

    @torch.no_grad()
    def _look(self, step: int, result: LanguageResult) -> float:
        """Add a look at the run to its result, and return the loss."""
        recipe = self.spec.recipe
        since = step - (result.looks[-1].step if result.looks else 0)
        loss = float(self.total) / since
        self.total.zero_()
        if not math.isfinite(loss):
            return loss
        with evaluating(self.model, self.autocast()):
            part = self.text.windows(self.spec.decoder.context)[: recipe.evaluated_windows]
            bits = bits_per_byte(self.model, part, recipe.batch_size, hard=True)
            earlier = result.usage[-self.spec.decoder.n_layers :]
            result.usage.extend(usage(self.model, part, recipe.batch_size, step, earlier))
        result.looks.append(Look(step, loss, bits))
        return loss

    def _finished(self, result: LanguageResult, seed: int) -> LanguageResult:
        """Return the result with what the trained model is worth."""
        spec, batch = self.spec, self.spec.recipe.batch_size
        with torch.no_grad(), evaluating(self.model, self.autocast()):
            windows = self.text.windows(spec.decoder.context)[: spec.recipe.final_windows]
            hard = bits_per_byte(self.model, windows, batch, hard=True)
            soft = bits_per_byte(self.model, windows, batch, hard=False)
            text = b""
            if spec.generated and seed == spec.seeds[0]:
                dtype = torch.bfloat16 if self.is_half else torch.float32
                text = generate(self.model, PROMPT, spec.generated, seed=seed, dtype=dtype)
        return replace(
            result,
            bits_per_byte=hard,
            bits_per_byte_soft=soft,
            generated=text.decode("latin-1"),
        )

    def _described(self) -> LanguageResult:
        layer = self.model.feed_forwards()[0]
        n_parameters = count_parameters(self.model)
        idle = 0 if layer is None else count_parameters(layer) - active_parameters(layer)
        return LanguageResult(
            n_parameters=n_parameters,
            active_parameters=n_parameters - self.spec.decoder.n_layers * idle,
            training_width=0 if layer is None else layer.training_width,
            inference_width=0 if layer is None else layer.inference_width,
        )

    def _state(self, step: int, result: LanguageResult) -> dict[str, Any]:
        return {
            "epoch": step,
            "model": self.model.state_dict(),
            "optimiser": self.optimiser.state_dict()["state"],
            "result": result.to_json(),
        }

    @torch.no_grad()
    def _load(self, state: dict[str, Any], result: LanguageResult) -> int:
        """Go on from a state, and return its step."""
        self.model.load_state_dict(state["model"])
        groups = self.optimiser.param_groups
        parameters = [parameter for group in groups for parameter in group["params"]]
        for number, saved in state["optimiser"].items():
            own = self.optimiser.state[parameters[number]]
            for name, value in saved.items():
                if name in own:  # in the memory that a graph knows
                    own[name].copy_(value)
                else:
                    own[name] = value.to(self.device if value.dim() else "cpu")
        earlier = LanguageResult.from_json(state["result"])
        result.looks.extend(earlier.looks)
        result.usage.extend(earlier.usage)
        return int(state["epoch"])


def rate_at(spec: LanguageSpec, step: int) -> float:
    """Return the learning rate of a step, counted from 0."""
    recipe = spec.recipe
    if step < recipe.warm_up:
        return recipe.learning_rate * (step + 1) / recipe.warm_up
    share = (step - recipe.warm_up) / max(1, recipe.steps - 1 - recipe.warm_up)
    low = recipe.final_rate
    return recipe.learning_rate * (low + (1 - low) * (1 + math.cos(math.pi * share)) / 2)
