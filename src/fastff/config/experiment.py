"""What a config says of one experiment or benchmark."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, model_validator

from fastff.config.base import Line, Name, Spec, Unique, require_unique, unknown
from fastff.config.benchmarks import EngineBenchmarkSpec, TimingBenchmarkSpec
from fastff.config.job import Recording, Seeds
from fastff.config.model import Grid, GridChange, Variant
from fastff.config.presets import PRESETS
from fastff.config.published import PUBLISHED
from fastff.config.recipe import Recipe
from fastff.data.names import DATASET_NAMES

NAMED = PRESETS | PUBLISHED


def _resolve_variant(value: Any) -> Any:
    """Return the preset of a name; anything else is a variant defined in place."""
    if not isinstance(value, str):
        return value
    if value not in NAMED:
        raise ValueError(unknown(f"variant {value!r:.80}", value, NAMED))
    return NAMED[value].model_dump()


Products = Annotated[tuple[str, ...], Unique]
RunsPerJob = Annotated[int, Field(ge=1, le=10_000_000)] | None


class Comparison(Spec):
    """Two variants to compare over the grid: the change from `baseline` to `treatment`."""

    treatment: Name
    baseline: Name

    @model_validator(mode="after")
    def _check_two(self) -> Comparison:
        if self.treatment == self.baseline:
            raise ValueError(f"treatment and baseline are both {self.baseline!r}; two are needed")
        return self


def require_distinct(variants: Sequence[Any]) -> None:
    """Raise ValueError where two variants have the same name, or the same label."""
    require_unique(tuple(variant.name for variant in variants))
    require_unique(tuple(f"label {variant.label!r}" for variant in variants))


class Drawn(Spec):
    """What a notebook draws figures and tables of.

    Attributes:
        title: heads the figures.
        notebook: the notebook's name under `notebooks/`; by default the block's own.
        figures: names of the figures that the notebook draws. `{experiment}` stands for the
            block's name, and `{variant}` for each variant's in turn.
        tables: likewise for the tables.

    """

    title: Line = Field(min_length=1, max_length=100)
    notebook: Name | None = None
    figures: Products = ("{experiment}",)
    tables: Products = ("{experiment}",)

    def variant_names(self) -> tuple[str, ...]:
        """Return what `{variant}` stands for."""
        return ()

    def expand(self, kind: Literal["figures", "tables"], name: str) -> list[str]:
        """Return the names of a block's figures or tables, in order, without repetition."""
        templates = self.figures if kind == "figures" else self.tables
        names: list[str] = []
        for template in templates:
            product = template.replace("{experiment}", name)
            if "{variant}" in product:
                names += [product.replace("{variant}", variant) for variant in self.variant_names()]
            else:
                names.append(product)
        return list(dict.fromkeys(names))


class DrawnVariants(Drawn):
    """What is drawn of models: `variants` are names of presets, or defined in place."""

    variants: tuple[Annotated[Variant, BeforeValidator(_resolve_variant)], ...] = Field(
        min_length=1
    )

    @model_validator(mode="after")
    def _check_variants(self) -> DrawnVariants:
        require_distinct(self.variants)
        return self

    def variant_names(self) -> tuple[str, ...]:
        """Return what `{variant}` stands for."""
        return tuple(variant.name for variant in self.variants)


class EngineBenchmark(DrawnVariants, EngineBenchmarkSpec):
    """A benchmark of the training engine, and which notebook draws it."""

    kind: Literal["engine"]
    tables: Products = ("{experiment}_ratios",)

    def spec(self) -> EngineBenchmarkSpec:
        """Return what is measured."""
        values = {key: getattr(self, key) for key in EngineBenchmarkSpec.model_fields}
        return EngineBenchmarkSpec(**values)


class TimingBenchmark(TimingBenchmarkSpec, Drawn):
    """A benchmark of single operations, and which notebook draws it."""

    kind: Literal["timing"]
    tables: Products = ("{experiment}_ratios",)

    def spec(self) -> TimingBenchmarkSpec:
        """Return what is measured."""
        values = {key: getattr(self, key) for key in TimingBenchmarkSpec.model_fields}
        return TimingBenchmarkSpec(**values)


class Experiment(DrawnVariants):
    """One experiment: what is trained, and which notebook draws which figures and tables.

    Attributes:
        extends: another experiment of the config, from which this one takes what it doesn't say,
            and whose notebook draws it. Both are merged as files are.
        grids: for single variants, what their grid has in place of `grid`.
        recipes: for single variants, what their recipe has in place of `recipe`.
        equal_size: a feed-forward variant that is also trained at the sizes of all variants with
            experts: as many parameters, hidden units in training, and at inference.
        record: what is written down beside losses, accuracies and the last expert counts.
        record_every: so many epochs lie between two that are recorded.
        best_of_seeds: whether tables show the best run by validation beside the mean over seeds.
        runs_per_job: into jobs of how many runs a variant is split, where that is not the
            config's number; null trains it as one job.
        comparisons: pairs of variants for the table of paired tests.

    """

    extends: Name | None = Field(default=None, exclude=True)
    dataset: Literal[DATASET_NAMES]  # type: ignore[valid-type]
    seeds: Seeds
    recipe: Recipe
    grid: Grid
    grids: dict[Name, GridChange] = Field(default={})
    recipes: dict[Name, dict[str, Any]] = Field(default={})
    equal_size: Name | None = None
    record: tuple[Recording, ...] = ()
    record_every: int = Field(default=1, ge=1, le=100_000)
    best_of_seeds: bool = False
    runs_per_job: RunsPerJob = None
    comparisons: tuple[Comparison, ...] = ()

    @model_validator(mode="after")
    def _check_names(self) -> Experiment:
        names = tuple(variant.name for variant in self.variants)
        said = [("grids", name) for name in self.grids]
        said += [("recipes", name) for name in self.recipes]
        said += [("equal_size", name) for name in (self.equal_size,) if name is not None]
        for comparison in self.comparisons:
            said += [("comparisons", comparison.treatment), ("comparisons", comparison.baseline)]
        for key, name in said:
            if name not in names:
                raise ValueError(f"{key}: {unknown(f'variant {name!r}', name, names)}")
        return self

    @model_validator(mode="after")
    def _check_record(self) -> Experiment:
        if "nodes" in self.record and not any(variant.has_tree for variant in self.variants):
            raise ValueError("record: 'nodes' needs a variant with a tree")
        return self

    def grid_of(self, variant: Variant) -> Grid:
        """Return the grid of a variant."""
        change = self.grids.get(variant.name)
        return change.applied(self.grid) if change else self.grid

    def recipe_of(self, variant: Variant) -> Recipe:
        """Return the recipe of a variant. Raises pydantic.ValidationError for one that can't be."""
        change = self.recipes.get(variant.name, {})
        return Recipe.model_validate(self.recipe.model_dump() | change) if change else self.recipe


class Defaults(Spec):
    """What experiments have where they don't say otherwise; of the recipe, key by key."""

    dataset: Literal[DATASET_NAMES] | None = None  # type: ignore[valid-type]
    seeds: Seeds | None = None
    recipe: dict[str, Any] = Field(default={})
    record_every: int | None = None
    best_of_seeds: bool | None = None

    def applied(self, experiment: Any) -> Any:
        """Return an experiment's block of the config with what it leaves open filled in."""
        if not isinstance(experiment, dict):
            return experiment
        filled = self.model_dump(exclude_none=True, exclude={"recipe"}) | experiment
        own = experiment.get("recipe", {})
        return filled | {"recipe": self.recipe | own if isinstance(own, dict) else own}
