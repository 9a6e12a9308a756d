"""The typed config of a whole artifact run: what config files may say, and clear refusals.

The workflow validates with these models before any job starts; `fastff schema` writes them as a
JSON schema for editors.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import (
    BeforeValidator,
    Field,
    ValidationError,
    field_validator,
    model_validator,
)

from fastff.data.names import DATASET_NAMES
from fastff.faults import ConfigError, describe_faults
from fastff.spec import (
    Grid,
    GridChange,
    Name,
    Recipe,
    Recording,
    Seeds,
    Sized,
    Spec,
    TrainSpec,
    Variant,
    require_unique,
    unknown,
)
from fastff.spec.job import has_tree
from fastff.zoo import ZOO

RESERVED_NAMES = frozenset({"all", "prepare", "train", "collect", "data", "reference"})
RESERVED = ", ".join(sorted(RESERVED_NAMES))


def _resolve_variant(value: Any) -> Any:
    """Return the zoo's variant for a name; anything else is a variant defined in place."""
    if not isinstance(value, str):
        return value
    if value not in ZOO:
        raise ValueError(unknown(f"variant {value!r}", value, ZOO))
    return ZOO[value].model_dump()


class DatasetOptions(Spec):
    """Where a dataset's archives are: a folder that holds them, or a mirror to download from."""

    folder: str | None = None
    mirror: str | None = None

    @model_validator(mode="after")
    def _check_one_place(self) -> DatasetOptions:
        if self.folder is not None and self.mirror is not None:
            raise ValueError("both folder and mirror are given; allowed is one of them")
        return self


class Comparison(Spec):
    """Two variants to compare over the grid: the change from `baseline` to `treatment`."""

    treatment: Name
    baseline: Name


class Experiment(Spec):
    """One experiment: what is trained, and which notebook draws which figures and tables.

    Attributes:
        title: heads the figures.
        variants: names from the zoo, or variants defined in place.
        grids: for single variants, what their grid has in place of `grid`.
        recipes: for single variants, what their recipe has in place of `recipe`.
        equal_size: a feed-forward variant that is also trained at the sizes of all variants with
            experts: as many parameters, hidden units in training, and at inference.
        record: what is written down beside losses, accuracies and the last expert counts.
        record_every: so many epochs lie between two that are recorded.
        best_of_seeds: whether tables show the best run by validation beside the mean over seeds.
        comparisons: pairs of variants for the table of paired tests.
        notebook: the notebook's name under `notebooks/`; by default the experiment's own.
        figures: names of the figures that the notebook draws. `{experiment}` stands for the
            experiment's name, and `{variant}` for each variant's in turn.
        tables: likewise for the tables.

    """

    title: str = Field(min_length=1, max_length=100)
    dataset: Literal[DATASET_NAMES]  # type: ignore[valid-type]
    seeds: Seeds
    recipe: Recipe
    grid: Grid
    variants: tuple[Annotated[Variant, BeforeValidator(_resolve_variant)], ...] = Field(
        min_length=1
    )
    grids: dict[Name, GridChange] = Field(default={})
    recipes: dict[Name, dict[str, Any]] = Field(default={})
    equal_size: Name | None = None
    record: tuple[Recording, ...] = ()
    record_every: int = Field(default=1, ge=1)
    best_of_seeds: bool = False
    comparisons: tuple[Comparison, ...] = ()
    notebook: Name | None = None
    figures: tuple[str, ...] = ("{experiment}",)
    tables: tuple[str, ...] = ("{experiment}",)

    @field_validator("seeds")
    @classmethod
    def _check_seeds(cls, value: Seeds) -> Seeds:
        return require_unique(value)

    @model_validator(mode="after")
    def _check_names(self) -> Experiment:
        names = require_unique(tuple(variant.name for variant in self.variants))
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
        if "nodes" in self.record and not any(map(has_tree, self.variants)):
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

    def expand(self, kind: Literal["figures", "tables"], experiment: str) -> list[str]:
        """Return the names of an experiment's figures or tables, in order, without repetition."""
        templates = self.figures if kind == "figures" else self.tables
        names = [
            template.replace("{experiment}", experiment).replace("{variant}", variant.name)
            for template in templates
            for variant in self.variants
        ]
        return list(dict.fromkeys(names))


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


class Config(Spec):
    """A whole run of the artifact.

    Attributes:
        defaults: for all experiments.
        name: results go to `<results_dir>/<name>`, figures to `<figures_dir>/<name>`.
        device: where to train; `auto` takes CUDA where there is a device.
        threads: CPU threads of a training job. Results are the same on any number of cores, as
            long as this number is the same.
        runs_per_stack: how many runs are trained as one batched computation.
        datasets: options for single datasets.

    """

    name: Name
    defaults: Defaults = Defaults()
    results_dir: str = "results"
    figures_dir: str = "figures"
    data_dir: str = "results/data"
    device: Literal["auto", "cpu", "cuda"] = "auto"
    threads: int = Field(default=1, ge=1, le=1024)
    runs_per_stack: int = Field(default=10, ge=1, le=10_000)
    datasets: dict[Literal[DATASET_NAMES], DatasetOptions] = Field(  # type: ignore[valid-type]
        default={}
    )
    experiments: dict[Name, Experiment] = Field(min_length=1)

    @model_validator(mode="before")
    @classmethod
    def _fill_in_defaults(cls, value: Any) -> Any:
        if not isinstance(value, dict) or not isinstance(value.get("experiments"), dict):
            return value
        if not isinstance(value.get("defaults"), dict):
            return value
        try:
            defaults = Defaults.model_validate(value["defaults"])
        except ValidationError:
            return value  # the field's own validation says what is wrong
        blocks = {name: defaults.applied(block) for name, block in value["experiments"].items()}
        return value | {"experiments": blocks}

    @field_validator("name")
    @classmethod
    def _check_name(cls, value: str) -> str:
        if value in RESERVED_NAMES:
            raise ValueError(f"this name is reserved; allowed is any but {RESERVED}")
        return value

    @model_validator(mode="after")
    def _check_products(self) -> Config:
        for name in self.experiments:
            if name in RESERVED_NAMES:
                raise ValueError(
                    f"experiments.{name}: this name is reserved; allowed is any but {RESERVED}"
                )
            self.train_specs(name)
        self._check_product_names("figures")
        self._check_product_names("tables")
        return self

    def _check_product_names(self, kind: Literal["figures", "tables"]) -> None:
        products = Counter(
            product
            for name, experiment in self.experiments.items()
            for product in experiment.expand(kind, name)
        )
        for product, count in products.items():
            if count > 1:
                raise ValueError(f"{kind}: two experiments would write {product!r}")
            if not product.replace("_", "").isalnum() or not product.islower():
                raise ValueError(
                    f"{kind}: {product!r} is no name of a file; allowed are a-z, 0-9 and _"
                )

    def train_specs(self, experiment: str) -> list[TrainSpec]:
        """Return the training jobs of an experiment, one per variant."""
        block = self.experiments[experiment]
        specs = []
        for variant in block.variants:
            where = f"experiments.{experiment}"
            with describe_faults(f"{where}.recipes.{variant.name}"):
                recipe = block.recipe_of(variant)
            with describe_faults(f"{where}.variants.{variant.name}"):
                variant = variant.with_trees(**recipe.tree_options())
            equal_to: tuple[Sized, ...] = ()
            if variant.name == block.equal_size:
                equal_to = tuple(
                    Sized(variant=other, grid=block.grid_of(other))
                    for other in block.variants
                    if other.model.kind == "routed"
                )
            spec = TrainSpec(
                experiment=experiment,
                dataset=block.dataset,
                variant=variant,
                grid=block.grid_of(variant),
                seeds=block.seeds,
                recipe=recipe,
                equal_to=equal_to,
                record=block.record,
                record_every=block.record_every,
            )
            specs.append(spec)
        return specs


def parse_config(values: Mapping[str, Any]) -> Config:
    """Return the config that `values` describe.

    Raises:
        ConfigError: with one line per fault: the key, what was given and what is allowed.

    """
    with describe_faults("config"):
        return Config.model_validate(dict(values))


def load_config(path: Path) -> Config:
    """Read a YAML config file. Raises ConfigError, also for a file that can't be read."""
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"config file {path}: {error.strerror}") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(
            f"config file {path} is not YAML: {' '.join(str(error).split())}"
        ) from None
    if not isinstance(values, dict):
        raise ConfigError(f"config file {path}: expected keys with values, found {values!r}")
    return parse_config(values)


def json_schema() -> dict[str, Any]:
    """Return the JSON schema of a config file."""
    schema: dict[str, Any] = {"$schema": "https://json-schema.org/draft/2020-12/schema"}
    schema |= Config.model_json_schema()
    parts = schema["$defs"]
    variant = parts["Experiment"]["properties"]["variants"]
    variant["items"] = {"anyOf": [{"enum": sorted(ZOO)}, variant["items"]]}
    # `defaults` can give these, which only the filled-in config shows
    del parts["Recipe"]["required"]
    given = parts["Defaults"]["properties"]
    required = parts["Experiment"]["required"]
    parts["Experiment"]["required"] = [key for key in required if key not in given]
    given["recipe"] = parts["Experiment"]["properties"]["recipe"]
    return schema
