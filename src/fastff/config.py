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
from pydantic import BeforeValidator, Field, field_validator, model_validator

from fastff.data.names import DATASET_NAMES
from fastff.faults import ConfigError, describe_faults
from fastff.spec import (
    Grid,
    Name,
    Recipe,
    Recording,
    Seeds,
    Spec,
    TrainSpec,
    Variant,
    require_unique,
    unknown,
)
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
        record: what is written down beside losses, accuracies and expert counts.
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
    record: tuple[Recording, ...] = ()
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
        for comparison in self.comparisons:
            for name in (comparison.treatment, comparison.baseline):
                if name not in names:
                    raise ValueError(f"comparisons: {unknown(f'variant {name!r}', name, names)}")
        return self

    def expand(self, kind: Literal["figures", "tables"], experiment: str) -> list[str]:
        """Return the names of an experiment's figures or tables, in order, without repetition."""
        templates = self.figures if kind == "figures" else self.tables
        names = [
            template.replace("{experiment}", experiment).replace("{variant}", variant.name)
            for template in templates
            for variant in self.variants
        ]
        return list(dict.fromkeys(names))


class Config(Spec):
    """A whole run of the artifact.

    Attributes:
        name: results go to `<results_dir>/<name>`, figures to `<figures_dir>/<name>`.
        device: where to train; `auto` takes CUDA where there is a device.
        threads: CPU threads of a training job. Results are the same on any number of cores, as
            long as this number is the same.
        runs_per_stack: how many runs are trained as one batched computation.
        datasets: options for single datasets.

    """

    name: Name
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
        return [
            TrainSpec(
                experiment=experiment,
                dataset=block.dataset,
                variant=variant,
                grid=block.grid,
                seeds=block.seeds,
                recipe=block.recipe,
                record=block.record,
            )
            for variant in block.variants
        ]


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
    variant = schema["$defs"]["Experiment"]["properties"]["variants"]
    variant["items"] = {"anyOf": [{"enum": sorted(ZOO)}, variant["items"]]}
    return schema
