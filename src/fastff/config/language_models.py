"""The language models of a config, their feed-forward layers by name, and their benchmark."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, model_validator

from fastff.config.base import Folder, Name
from fastff.config.errors import describe_faults
from fastff.config.experiment import Drawn, Products, require_distinct
from fastff.config.gates import GateSpec, LinearGateSpec, TreeGateSpec
from fastff.config.job import Seeds
from fastff.config.language import (
    DecoderSpec,
    HashSpec,
    LanguageBenchmarkSpec,
    LanguageCase,
    LanguageRecipe,
    LanguageSpec,
    LanguageVariant,
)
from fastff.config.model import (
    Depth,
    FeedForwardSpec,
    GridPoint,
    MixtureSpec,
    NodeTreeSpec,
    RoutedSpec,
    SoftMergedSpec,
    Width,
)
from fastff.data.text_names import TEXT_NAMES

BALANCE = 0.01  # weight of the balancing losses; Fedus et al., arXiv 2101.03961, section 2.2
HARDENING = 1.0  # of the mean node entropy, at the end of its schedule
MAX_TOKENS = 2**24  # of a batch


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
        "FFF, balanced",
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
        require_distinct(self.variants)
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
