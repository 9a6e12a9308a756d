"""The typed config of a whole artifact run: what config files may say, and clear refusals.

The workflow validates with these models before any job starts; `fastff schema` writes them as a
JSON schema for editors.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import (
    Field,
    ValidationError,
    field_validator,
    model_validator,
)

from fastff.data.names import DATASET_NAMES
from fastff.experiment import Defaults, Drawn, EngineBenchmark, Experiment
from fastff.faults import ConfigError, describe_faults
from fastff.spec import Name, Sized, Spec, TrainSpec
from fastff.zoo import ZOO

RESERVED_NAMES = frozenset(
    {"all", "prepare", "train", "collect", "ledger", "claims", "data", "reference"}
)
RESERVED = ", ".join(sorted(RESERVED_NAMES))


class DatasetOptions(Spec):
    """Where a dataset's archives are: a folder that holds them, or a mirror to download from."""

    folder: str | None = None
    mirror: str | None = None

    @model_validator(mode="after")
    def _check_one_place(self) -> DatasetOptions:
        if self.folder is not None and self.mirror is not None:
            raise ValueError("both folder and mirror are given; allowed is one of them")
        return self


class Config(Spec):
    """A whole run of the artifact.

    Attributes:
        defaults: for all experiments.
        name: results go to `<results_dir>/<name>`, figures to `<figures_dir>/<name>`.
        tables_from: a folder of the repository with tidy tables of an earlier run. They are drawn,
            and nothing is trained.
        device: where to train; `auto` takes CUDA where there is a device.
        threads: CPU threads of a training job. Results are the same on any number of cores, as
            long as this number is the same.
        runs_per_stack: how many runs are trained as one batched computation.
        stacks_at_once: how many such computations share a CUDA device.
        tf32: on CUDA, round the factors of matrix products to TF32; otherwise all is float32.
        datasets: options for single datasets.
        experiments: what is trained and drawn, by name.
        benchmarks: what is timed and drawn, by name.
        claims: a claims file of the repository, whose ledger is made of these results.

    """

    name: Name
    defaults: Defaults = Defaults()
    results_dir: str = "results"
    figures_dir: str = "figures"
    data_dir: str = "results/data"
    tables_from: str | None = None
    device: Literal["auto", "cpu", "cuda"] = "auto"
    threads: int = Field(default=1, ge=1, le=1024)
    runs_per_stack: int = Field(default=10, ge=1, le=10_000)
    stacks_at_once: int = Field(default=4, ge=1, le=100)
    tf32: bool = False
    datasets: dict[Literal[DATASET_NAMES], DatasetOptions] = Field(  # type: ignore[valid-type]
        default={}
    )
    experiments: dict[Name, Experiment] = Field(min_length=1)
    benchmarks: dict[Name, EngineBenchmark] = Field(default={})
    claims: str | None = None

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
        for where, name in [("experiments", name) for name in self.experiments] + [
            ("benchmarks", name) for name in self.benchmarks
        ]:
            if name in RESERVED_NAMES:
                raise ValueError(
                    f"{where}.{name}: this name is reserved; allowed is any but {RESERVED}"
                )
        for name in self.experiments:
            if name in self.benchmarks:
                raise ValueError(f"benchmarks.{name}: an experiment has this name already")
            self.train_specs(name)
        self._check_product_names("figures")
        self._check_product_names("tables")
        return self

    def _check_product_names(self, kind: Literal["figures", "tables"]) -> None:
        products = Counter(
            product for name, block in self.drawn().items() for product in block.expand(kind, name)
        )
        if self.claims is not None and kind == "figures":
            products["claims"] += 1
        for product, count in products.items():
            if count > 1:
                raise ValueError(f"{kind}: two blocks would write {product!r}")
            if not product.replace("_", "").isalnum() or not product.islower():
                raise ValueError(
                    f"{kind}: {product!r} is no name of a file; allowed are a-z, 0-9 and _"
                )

    def drawn(self) -> dict[str, Drawn]:
        """Return every experiment and benchmark by name."""
        return {**self.experiments, **self.benchmarks}

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
    return parse_config(read_yaml(path, "config file"))


def read_yaml(path: Path, what: str) -> dict[str, Any]:
    """Return the keys and values of a YAML file. Raises ConfigError, which says `what` it is."""
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"{what} {path}: {error.strerror}") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"{what} {path} is not YAML: {' '.join(str(error).split())}") from None
    if not isinstance(values, dict):
        raise ConfigError(f"{what} {path}: expected keys with values, found {values!r}")
    return values


def json_schema() -> dict[str, Any]:
    """Return the JSON schema of a config file."""
    schema: dict[str, Any] = {"$schema": "https://json-schema.org/draft/2020-12/schema"}
    schema |= Config.model_json_schema()
    parts = schema["$defs"]
    for block in ("Experiment", "EngineBenchmark"):
        variant = parts[block]["properties"]["variants"]
        variant["items"] = {"anyOf": [{"enum": sorted(ZOO)}, variant["items"]]}
    # `defaults` can give these, which only the filled-in config shows
    del parts["Recipe"]["required"]
    given = parts["Defaults"]["properties"]
    required = parts["Experiment"]["required"]
    parts["Experiment"]["required"] = [key for key in required if key not in given]
    given["recipe"] = parts["Experiment"]["properties"]["recipe"]
    return schema
