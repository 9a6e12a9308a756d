"""What a config says of a language model: text, decoder, recipe, and its feed-forward layers."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, model_validator

from fastff.config.base import Folder, Name, Spec, Unique, require_unique
from fastff.config.errors import describe_faults
from fastff.config.experiment import Drawn, Products
from fastff.config.gates import GateSpec, LinearGateSpec, TreeGateSpec
from fastff.config.job import Seeds
from fastff.config.model import (
    Depth,
    FeedForwardSpec,
    FixedActivation,
    GridPoint,
    LayerSpec,
    MixtureSpec,
    NodeTreeSpec,
    RoutedSpec,
    SoftMergedSpec,
    Width,
)
from fastff.data.names import TEXT_NAMES

BALANCE = 0.01  # weight of the balancing losses; Fedus et al., arXiv 2101.03961, section 2.2
HARDENING = 1.0  # of the mean node entropy, at the end of its schedule
MAX_TOKENS = 2**24  # of a batch

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
    label: str = Field(min_length=1, max_length=60)
    layer: AnyLayerSpec | None = None
    ramp: bool = False


def _dense(width: str) -> LanguageVariant:
    layer = FeedForwardSpec(activation="gelu", bias=True, hidden_features=int(width))
    return LanguageVariant(name=f"dense_{width}", label=f"feed-forward, {width}", layer=layer)


def _node_trees(n_trees: str, depth: str) -> LanguageVariant:
    layer = NodeTreeSpec(n_trees=int(n_trees), depth=int(depth), bias=True)
    name = f"node_trees_{n_trees}x{depth}"
    return LanguageVariant(name=name, label=f"node trees, {n_trees} × {depth}", layer=layer)


def _routed(
    name: str,
    label: str,
    gate: GateSpec,
    experts: type[MixtureSpec] | type[SoftMergedSpec] = MixtureSpec,
    **options: Any,
) -> LanguageVariant:
    layer = RoutedSpec(gate=gate, experts=experts(activation="gelu", bias=True))
    return LanguageVariant(name=name, label=label, layer=layer, **options)


def _tree(**options: Any) -> TreeGateSpec:
    return TreeGateSpec(bias=True, hardening_reduction="mean", **options)


_HARDENED: dict[str, Any] = {"hardening_weight": HARDENING}
_NAMED = (
    LanguageVariant(name="none", label="no feed-forward"),
    _routed("fff_soft", "FFF, soft", _tree()),
    _routed("fff_hardened", "FFF, hardened", _tree(**_HARDENED), ramp=True),
    _routed("fff_hard_trained", "FFF, hard-trained", TreeGateSpec(bias=True, hard_training=True)),
    _routed("fff_straight_through", "FFF, straight-through", _tree(straight_through=True)),
    _routed(
        "fff_balanced",
        "FFF, straight-through, balanced",
        _tree(straight_through=True, balance_weight=BALANCE),
    ),
    _routed("moe_switch", "MoE, Switch", LinearGateSpec(top_k=1, balance_weight=BALANCE)),
    _routed(
        "moe_top2",
        "MoE, top-2",
        LinearGateSpec(top_k=2, renormalise=True, balance_weight=BALANCE),
    ),
    _routed("smear", "MoE, merged (SMEAR)", LinearGateSpec(), SoftMergedSpec),
    LanguageVariant(name="hash", label="experts by hash", layer=HashSpec()),
)
NAMED_LAYERS: Mapping[str, LanguageVariant] = {variant.name: variant for variant in _NAMED}
SIZED_LAYERS: Mapping[str, Callable[..., LanguageVariant]] = {
    r"dense_([1-9][0-9]{0,5})": _dense,
    r"node_trees_([1-9][0-9]{0,4})x([1-9][0-9]?)": _node_trees,
}
ALLOWED = ", ".join(["dense_<width>", "node_trees_<trees>x<depth>", *NAMED_LAYERS])


def _resolve_variant(value: Any) -> Any:
    """Return the variant of a name; anything else is a variant defined in place."""
    if not isinstance(value, str):
        return value
    if value in NAMED_LAYERS:
        return NAMED_LAYERS[value].model_dump()
    for pattern, build in SIZED_LAYERS.items():
        if sizes := re.fullmatch(pattern, value):
            with describe_faults(value):
                return build(*sizes.groups()).model_dump()
    raise ValueError(f"unknown variant {value!r}; allowed: {ALLOWED}")


class LanguageModel(Drawn):
    """A decoder trained with each of several feed-forward layers, and which notebook draws it.

    Attributes:
        extends: another language model of the config, from which this one takes what it doesn't
            say, and whose notebook draws it.
        text: its name.
        depth: routed layers have 2**depth experts, where they don't say otherwise.
        hidden_features: of one expert, likewise.
        times: the benchmark that times these variants, for the figure of loss against time.
        generated: bytes that the first seed of every variant writes after training; 0 for none.

    """

    extends: Name | None = Field(default=None, exclude=True)
    text: Literal[TEXT_NAMES]  # type: ignore[valid-type]
    decoder: DecoderSpec = DecoderSpec()
    recipe: LanguageRecipe
    depth: Depth
    hidden_features: Width
    variants: tuple[Annotated[LanguageVariant, BeforeValidator(_resolve_variant)], ...] = Field(
        min_length=1
    )
    seeds: Seeds
    times: Name | None = None
    generated: int = Field(default=200, ge=0)

    @property
    def dataset(self) -> str:
        """The text, which is prepared as datasets are."""
        return str(self.text)

    def variant_names(self) -> tuple[str, ...]:
        """Return what `{variant}` stands for."""
        return tuple(variant.name for variant in self.variants)

    def specs(self, name: str) -> list[LanguageSpec]:
        """Return what is trained, a spec per variant, whose layer leaves no size open."""
        point = GridPoint(self.depth, self.hidden_features)
        return [
            LanguageSpec(
                experiment=name,
                text=self.text,
                decoder=self.decoder,
                recipe=self.recipe,
                variant=variant.model_copy(
                    update={"layer": variant.layer and variant.layer.resolved(point)}
                ),
                seeds=self.seeds,
                generated=self.generated,
            )
            for variant in self.variants
        ]

    @model_validator(mode="after")
    def _check(self) -> LanguageModel:
        require_unique(self.variant_names())
        if self.generated >= self.decoder.context:
            raise ValueError(
                f"generated = {self.generated}: must be below decoder.context = "
                f"{self.decoder.context}"
            )
        tokens = self.recipe.batch_size * self.decoder.context
        if tokens > MAX_TOKENS:
            raise ValueError(
                f"recipe.batch_size = {self.recipe.batch_size} windows of decoder.context = "
                f"{self.decoder.context} are {tokens:,} bytes a step; at most {MAX_TOKENS:,}"
            )
        for variant in self.variants:
            if isinstance(variant.layer, RoutedSpec):
                try:
                    variant.layer.gate.check_experts(2 ** (variant.layer.depth or self.depth))
                except ValueError as error:
                    raise ValueError(f"variant {variant.name!r}: {error}") from None
        return self


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


class LanguageBenchmark(Drawn):
    """A benchmark of a config's language model, whole, and which notebook draws it.

    Attributes:
        model: the language model whose variants are timed.
        references: folders of the repository, as the config's `benchmarks_from`, in place of it.
        cases: by name.
        processes: in how many processes all is timed, one after another.
        threads: CPU threads.
        repeats: samples of every variant, in turn with the others of its operation and mode.
        seconds: that a sample goes on for, unless one call takes longer.

    """

    kind: Literal["language"]
    tables: Products = ("{experiment}_times",)
    model: Name
    references: tuple[Folder, ...] | None = None
    cases: dict[Name, LanguageCase] = Field(min_length=1)
    processes: int = Field(default=1, ge=1, le=100)
    threads: int = Field(default=1, ge=1, le=1024)
    repeats: int = Field(default=7, ge=1, le=1000)
    seconds: float = Field(default=0.02, gt=0, le=10)

    def spec_of(self, model: LanguageModel) -> LanguageBenchmarkSpec:
        """Return what is measured, of the model that it names."""
        return LanguageBenchmarkSpec(
            models=tuple(model.specs(self.model)),
            cases=self.cases,
            processes=self.processes,
            threads=self.threads,
            repeats=self.repeats,
            seconds=self.seconds,
        )


class LanguageBenchmarkSpec(Spec):
    """Cases of whole models to time; see `LanguageBenchmark`."""

    kind: Literal["language"] = "language"
    models: tuple[LanguageSpec, ...]
    cases: dict[Name, LanguageCase]
    processes: int
    threads: int
    repeats: int
    seconds: float
