"""What a language model is: decoder, recipe and feed-forward layer, and what is timed of it."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from fastff.config.base import Line, Name, Spec, Unique
from fastff.config.job import Seeds
from fastff.config.model import (
    Depth,
    FeedForwardSpec,
    FixedActivation,
    LayerSpec,
    NodeTreeSpec,
    RoutedSpec,
    Width,
)

Share = Annotated[float, Field(ge=0, lt=1)]


class HashSpec(LayerSpec):
    """Experts chosen by a hash of the token, the same in all training (arXiv 2106.04426)."""

    kind: Literal["hash"] = "hash"
    activation: FixedActivation = "gelu"
    bias: bool = True
    depth: Depth | None = None
    hidden_features: Width | None = None


AnyLayerSpec = Annotated[
    RoutedSpec | FeedForwardSpec | NodeTreeSpec | HashSpec, Field(discriminator="kind")
]


class DecoderSpec(Spec):
    """A transformer decoder over bytes, with pre-norm blocks and learned positions.

    Attributes:
        n_layers: blocks of attention and feed-forward layer.
        width: of the residual stream; `n_heads` divides it.
        n_heads: of the attention.
        context: bytes that a prediction can see.
        dropout: of embeddings, attention weights, and both branches of a block.

    """

    n_layers: int = Field(default=6, ge=1, le=1000)
    width: int = Field(default=384, ge=1, le=65_536)
    n_heads: int = Field(default=6, ge=1, le=1024)
    context: int = Field(default=256, ge=2, le=65_536)
    dropout: Share = 0.2

    @model_validator(mode="after")
    def _check_heads(self) -> DecoderSpec:
        if self.width % self.n_heads:
            raise ValueError(f"n_heads = {self.n_heads}: must divide width = {self.width}")
        return self


class LanguageRecipe(Spec):
    """AdamW under a linear warm-up and one half of a cosine.

    Attributes:
        steps: of the optimiser.
        batch_size: windows of `context` bytes per step, from random places of the text.
        learning_rate: the highest.
        warm_up: steps in which it rises from 0.
        final_rate: share of the highest rate that the last step has.
        betas: of AdamW.
        weight_decay: of matrices; biases and gains have none.
        clip_norm: largest norm of all gradients together.
        precision: of matrix products on CUDA, by autocast; on a CPU all is float32.
        evaluate_every: steps between two looks at a part of the validation text.
        evaluated_windows: windows of that part.
        final_windows: windows of the validation text by which a trained model is judged; None is
            all.

    """

    steps: int = Field(ge=1, le=10_000_000)
    batch_size: int = Field(default=64, ge=1, le=65_536)
    learning_rate: float = Field(default=1e-3, gt=0, le=10)
    warm_up: int = Field(default=100, ge=0)
    final_rate: float = Field(default=0.1, ge=0, le=1)
    betas: tuple[Share, Share] = (0.9, 0.99)
    weight_decay: float = Field(default=0.1, ge=0)
    clip_norm: float = Field(default=1.0, gt=0)
    precision: Literal["float32", "bfloat16"] = "bfloat16"
    evaluate_every: int = Field(default=100, ge=1)
    evaluated_windows: int = Field(default=64, ge=1, le=100_000)
    final_windows: int | None = Field(default=None, ge=1)

    @model_validator(mode="after")
    def _check_warm_up(self) -> LanguageRecipe:
        if self.warm_up >= self.steps:
            raise ValueError(f"warm_up = {self.warm_up}: must be below steps = {self.steps}")
        return self


class LanguageVariant(Spec):
    """A feed-forward layer by name, the same in all blocks.

    Attributes:
        layer: None for blocks of attention alone.
        ramp: whether the weight of the layer's own losses rises linearly from 0, at the first
            step, to what the gate says, at the last.

    """

    name: Name
    label: Line = Field(min_length=1, max_length=60)
    layer: AnyLayerSpec | None = None
    ramp: bool = False


class LanguageSpec(Spec):
    """One variant of a language model, to be trained with each of its seeds.

    Attributes:
        experiment: the name of the language model.

    """

    experiment: Name
    text: Name
    decoder: DecoderSpec
    recipe: LanguageRecipe
    variant: LanguageVariant
    seeds: Seeds
    generated: int = 0


LanguageOp = Literal["train_step", "forward", "token"]
LanguageMode = Literal["eager", "graph", "compiled", "max_autotune"]


class LanguageCase(Spec):
    """What is timed of whole models on one kind of device.

    Attributes:
        device: "cuda" cases are left out where there is no CUDA device.
        ops: "train_step" is a step of the recipe, "forward" the logits of a batch by the hard form,
            "token" those of one byte behind the rest of a context, whose keys and values are there.
        modes: "eager" calls; on CUDA "graph" replays a captured graph, of blocks that are
            "compiled", or compiled with "max_autotune".
        only: variants of the model that are timed; all by default.

    """

    device: Literal["cpu", "cuda"]
    ops: Annotated[tuple[LanguageOp, ...], Field(min_length=1), Unique]
    modes: Annotated[tuple[LanguageMode, ...], Field(min_length=1), Unique] = ("eager",)
    only: Annotated[tuple[Name, ...], Unique] | None = None

    @model_validator(mode="after")
    def _check_modes(self) -> LanguageCase:
        if self.device == "cpu" and self.modes != ("eager",):
            raise ValueError("modes: only eager is timed on device = cpu")
        return self


class LanguageBenchmarkSpec(Spec):
    """Cases of whole models to time; see `LanguageBenchmark`."""

    kind: Literal["language"] = "language"
    models: tuple[LanguageSpec, ...]
    cases: dict[Name, LanguageCase]
    processes: int
    threads: int
    repeats: int
    seconds: float
