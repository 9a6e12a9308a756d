"""The typed config of a whole artifact run: what config files may say, and clear refusals.

The workflow validates with these models before any job starts; `fastff schema` writes them as a
JSON schema for editors.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import (
    BaseModel,
    BeforeValidator,
    Field,
    ValidationError,
    field_validator,
    model_validator,
)

from fastff.config.base import Folder, Name, Spec, unknown
from fastff.config.benchmarks import EngineBenchmarkSpec, TimingBenchmarkSpec
from fastff.config.errors import describe_faults
from fastff.config.experiment import (
    NAMED,
    Defaults,
    Drawn,
    EngineBenchmark,
    Experiment,
    RunsPerJob,
    TimingBenchmark,
)
from fastff.config.job import Sized, TrainSpec
from fastff.config.language import LanguageBenchmarkSpec
from fastff.config.language_models import (
    NAMED_LAYERS,
    SIZED_LAYERS,
    LanguageBenchmark,
    LanguageModel,
)
from fastff.config.timed_forms import TIMED_FORMS
from fastff.config.yaml_file import BLOCKS, Layer, located, merge, merge_layers, read_layers
from fastff.data.download import check_mirror
from fastff.data.errors import DataError
from fastff.data.names import DATASET_NAMES, DATASET_SIZES
from fastff.data.text_names import TEXT_NAMES

RESERVED_NAMES = frozenset(
    {
        *("all", "prepare", "train", "collect", "bench", "ledger", "claims", "rule_graph", "site"),
        *("data", "reference"),
    }
)
CLAIM_FIGURES = ("claims", "claims_times")  # what the notebook of the ledger draws
MOST_LETTERS = 200  # of the name of a figure or table
RESERVED = ", ".join(sorted(RESERVED_NAMES))
PREPARED = DATASET_NAMES + TEXT_NAMES

Benchmark = Annotated[
    EngineBenchmark | TimingBenchmark | LanguageBenchmark, Field(discriminator="kind")
]


def _as_folders(value: Any) -> Any:
    """Take one folder for a list of it, and none for an empty list."""
    if value is None:
        return ()
    return (value,) if isinstance(value, str) else value


Folders = Annotated[
    tuple[Folder, ...],
    BeforeValidator(_as_folders, json_schema_input_type=Folder | tuple[Folder, ...] | None),
]


class DatasetOptions(Spec):
    """Where a dataset's archives are: a folder that holds them, or a mirror to download from."""

    folder: Folder | None = None
    mirror: str | None = None

    @field_validator("mirror")
    @classmethod
    def _check_mirror(cls, value: str | None) -> str | None:
        if value is not None:
            try:
                check_mirror(value)
            except DataError as error:
                raise ValueError(str(error).partition("; ")[2]) from None
        return value

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
        extends: the files that this one changes, by their paths from it; of them it says only what
            differs. Mappings are merged key by key, all else is replaced, and null removes a key.
            A file without it is a whole config.
        tables_from: folders of the repository with tidy tables of earlier runs, or one folder.
            They are drawn, and nothing is trained. An experiment is in one of them.
        benchmarks_from: folders of the repository with benchmark tables of named machines. They
            are drawn for a device that this run doesn't measure, and the figure says so.
        device: where to train; `auto` takes CUDA where there is a device.
        threads: CPU threads of a training job. Results are the same on any number of cores, as
            long as this number is the same.
        runs_per_stack: how many runs are trained as one batched computation.
        runs_per_job: into jobs of how many runs a variant is split; null trains it as one job. An
            experiment may have its own. A job has whole stacks, so at least one; results are the
            same for any number.
        one_job_per_experiment: train all variants of an experiment in one job, in place of a job
            for each: for short trainings, of which starting a process would be the most.
        stacks_at_once: how many such computations share a CUDA device.
        checkpoint_seconds: so many seconds lie between two checkpoints of a stack under way, from
            which a killed job goes on; what takes less has none.
        failed_runs: whether a run whose loss becomes NaN or infinite is kept, and shown as missing,
            or ends its job with an error once all its runs are done.
        tf32: on CUDA, round the factors of matrix products to TF32; otherwise all is float32.
        datasets: options for single datasets.
        experiments: what is trained and drawn, by name.
        language_models: likewise, of decoders over bytes.
        benchmarks: what is timed and drawn, by name.
        claims: a claims file of the repository, whose ledger is made of these results.
        container: the image in which `--software-deployment-method apptainer` runs the jobs: a
            file, or an address to pull from. None is published; `Containerfile` builds one.

    """

    name: Name
    extends: tuple[str, ...] = Field(default=(), exclude=True)
    defaults: Defaults = Defaults()
    results_dir: Folder = "results"
    figures_dir: Folder = "figures"
    data_dir: Folder = "results/data"
    tables_from: Folders = ()
    benchmarks_from: tuple[Folder, ...] = ()
    device: Literal["auto", "cpu", "cuda"] = "auto"
    threads: int = Field(default=1, ge=1, le=1024)
    runs_per_stack: int = Field(default=10, ge=1, le=10_000)
    runs_per_job: RunsPerJob = None
    one_job_per_experiment: bool = False
    stacks_at_once: int = Field(default=4, ge=1, le=100)
    checkpoint_seconds: float = Field(default=300.0, ge=0, le=1e6)
    failed_runs: Literal["keep", "error"] = "keep"
    tf32: bool = False
    datasets: dict[Literal[PREPARED], DatasetOptions] = Field(  # type: ignore[valid-type]
        default={}
    )
    experiments: dict[Name, Experiment] = Field(min_length=1)
    language_models: dict[Name, LanguageModel] = Field(default={})
    benchmarks: dict[Name, Benchmark] = Field(default={})
    claims: Folder | None = None
    container: str | None = Field(default=None, min_length=1, max_length=1000)

    @model_validator(mode="before")
    @classmethod
    def _fill_in_experiments(cls, value: Any) -> Any:
        if not isinstance(value, dict) or not isinstance(value.get("experiments"), dict):
            return value
        if isinstance(models := value.get("language_models"), dict):
            value = value | {"language_models": _extended(models, "language_models")}
        blocks = _extended(value["experiments"], "experiments")
        if isinstance(value.get("defaults"), dict):
            try:
                defaults = Defaults.model_validate(value["defaults"])
            except ValidationError:
                return value  # the field's own validation says what is wrong
            blocks = {name: defaults.applied(block) for name, block in blocks.items()}
        return value | {"experiments": blocks}

    @field_validator("extends")
    @classmethod
    def _check_extends(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if value:
            raise ValueError("only a file can extend others, when it is read")
        return value

    @field_validator("name")
    @classmethod
    def _check_name(cls, value: str) -> str:
        if value in RESERVED_NAMES:
            raise ValueError(f"this name is reserved; allowed is any but {RESERVED}")
        return value

    @field_validator("container")
    @classmethod
    def _check_container(cls, value: str | None) -> str | None:
        if value is not None and (re.search(r"^-|[\s{}<>]", value) or not value.isprintable()):
            raise ValueError(
                "Snakemake takes no spaces, no brackets and no dash at the start here; allowed is "
                "a file, or an address that apptainer pulls from, such as docker://registry/name:tag"
            )
        return value

    @model_validator(mode="after")
    def _check_products(self) -> Config:
        taken: dict[str, str] = {}
        for where in ("experiments", "language_models", "benchmarks"):
            for name in getattr(self, where):
                if name in RESERVED_NAMES or name.startswith("draw_"):
                    raise ValueError(
                        f"{where}.{name}: this name is reserved; allowed is any but {RESERVED}, "
                        "draw_*"
                    )
                if name in taken:
                    raise ValueError(f"{where}.{name}: {taken[name]} has this name already")
                taken[name] = "an experiment" if where == "experiments" else "a language model"
        self._check_language_models()
        if self.one_job_per_experiment and any(map(self.runs_per_job_of, self.experiments)):
            raise ValueError("one_job_per_experiment = true has no meaning with runs_per_job")
        _ = self.resolved  # raises for what can't be trained
        self._check_product_names("figures")
        self._check_product_names("tables")
        return self

    def _check_language_models(self) -> None:
        timed = self.language_benchmarks()
        for name, block in timed.items():
            key = f"benchmarks.{name}"
            if block.model not in self.language_models:
                what = f"language model {block.model!r}"
                fault = unknown(what, block.model, self.language_models)
                raise ValueError(f"{key}.model = {block.model!r}: {fault}")
            variants = self.language_models[block.model].variant_names()
            for case, spec in block.cases.items():
                for variant in spec.only or ():
                    if variant not in variants:
                        fault = unknown(f"variant {variant!r}", variant, variants)
                        raise ValueError(f"{key}.cases.{case}.only: {fault}")

    def _check_product_names(self, kind: Literal["figures", "tables"]) -> None:
        products = Counter(
            product for name, block in self.drawn().items() for product in block.expand(kind, name)
        )
        if self.claims is not None and kind == "figures":
            products.update(CLAIM_FIGURES)
        for product, count in products.items():
            if kind == "tables" and product in self.benchmarks:
                raise ValueError(f"tables: {product!r} is where a benchmark writes its times")
            if count > 1:
                raise ValueError(f"{kind}: two blocks would write {product!r}")
            is_name = product.replace("_", "").isalnum() and product.islower()
            if not is_name or len(product.encode()) > MOST_LETTERS:
                raise ValueError(
                    f"{kind}: {product[:80]!r} is no name of a file; allowed are a-z, 0-9 and _, "
                    f"at most {MOST_LETTERS}"
                )

    def drawn(self) -> dict[str, Drawn]:
        """Return every experiment, language model and benchmark by name."""
        return {**self.experiments, **self.language_models, **self.benchmarks}

    def benchmark_spec(
        self, name: str
    ) -> EngineBenchmarkSpec | TimingBenchmarkSpec | LanguageBenchmarkSpec:
        """Return what a benchmark measures."""
        block = self.benchmarks[name]
        if isinstance(block, LanguageBenchmark):
            return block.spec_of(self.language_models[block.model])
        return block.spec()

    def trained_benchmarks(self) -> dict[str, EngineBenchmark]:
        """Return the benchmarks that train on a dataset, by name."""
        return {
            name: block
            for name, block in self.benchmarks.items()
            if isinstance(block, EngineBenchmark)
        }

    def language_benchmarks(self) -> dict[str, LanguageBenchmark]:
        """Return the benchmarks of language models, by name."""
        return {
            name: block
            for name, block in self.benchmarks.items()
            if isinstance(block, LanguageBenchmark)
        }

    def runs_per_job_of(self, experiment: str) -> int | None:
        """Return into jobs of how many runs an experiment's variants are split, None for one."""
        block = self.experiments[experiment]
        return (block if "runs_per_job" in block.model_fields_set else self).runs_per_job

    def train_specs(self, experiment: str) -> list[TrainSpec]:
        """Return what is trained in an experiment, a spec per variant."""
        return [*self.resolved[experiment]]

    @cached_property
    def resolved(self) -> dict[str, list[TrainSpec]]:
        """What is trained in every experiment, by its name."""
        return {experiment: self._resolve(experiment) for experiment in self.experiments}

    def __copy__(self) -> Self:
        copied = super().__copy__()
        copied.__dict__.pop("resolved", None)  # `model_copy` may give it other experiments
        return copied

    def _resolve(self, experiment: str) -> list[TrainSpec]:
        block = self.experiments[experiment]
        specs = []
        for variant in block.variants:
            where = f"experiments.{experiment}"
            with describe_faults(f"{where}.recipes.{variant.name}"):
                recipe = block.recipe_of(variant)
            with describe_faults(f"{where}.variants.{variant.name}"):
                variant = variant.with_gates(**recipe.tree_options())
                for phase in recipe.phases:
                    variant.with_gates(**phase.tree_options())
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
            size = DATASET_SIZES[block.dataset]
            variant.check_bytes(spec.grid, *size.features, recipe.batch_size)
            try:
                recipe.check_dataset(size.n_train, block.dataset)
            except ValueError as error:
                own = variant.name in block.recipes
                fault = str(error).removeprefix("recipe") if own else f".{error}"
                of_variant = f".recipes.{variant.name}" if own else ""
                raise ValueError(f"{where}{of_variant}{fault}") from None
            specs.append(spec)
        return specs


def _extended(blocks: Mapping[str, Any], key: str) -> dict[str, Any]:
    """Return all blocks, each that extends another one filled in, and right behind it."""
    bases: dict[str, Any] = {
        name: block["extends"]
        for name, block in blocks.items()
        if isinstance(block, dict) and "extends" in block
    }
    whole = [name for name in blocks if name not in bases]
    extended = dict(blocks)
    for name, base in bases.items():
        where = f"{key}.{name}"
        if base not in whole:
            fault = unknown(f"{BLOCKS[key]} {base!r}", base, whole)
            raise ValueError(f"{where}.extends = {base!r}: {fault}, which extend none themselves")
        if isinstance(blocks[base], dict):
            own = {key: value for key, value in blocks[name].items() if key != "extends"}
            extended[name] = merge({"notebook": base} | blocks[base], own, where)
    names = list(blocks)
    order = sorted(names, key=lambda name: names.index(str(bases.get(name, name))))
    return {name: extended[name] for name in order}


class _WithDefaults(BaseModel):
    defaults: Defaults = Defaults()


def parse_config(values: Mapping[str, Any], layers: Sequence[Layer] = ()) -> Config:
    """Return the config that `values` describe; `layers` are what they were merged from.

    Raises:
        ConfigError: with one line per fault: the file and line where there are layers, the key,
            what was given and what is allowed.

    """
    with located(layers), describe_faults("config"):
        # a fault in here would look like one of every experiment
        _WithDefaults.model_validate(dict(values))
        return Config.model_validate(dict(values))


def load_config(path: Path) -> Config:
    """Read a YAML config file, and those that it extends.

    Raises:
        ConfigError: for a file that can't be read too.

    """
    layers = read_layers(path)
    return parse_config(merge_layers(layers), layers)


def json_schema() -> dict[str, Any]:
    """Return the JSON schema of a config file, whole or one that says only what differs.

    So it asks for no key, and lets null stand for any, in all that is merged key by key.
    """
    schema: dict[str, Any] = {"$schema": "https://json-schema.org/draft/2020-12/schema"}
    schema |= Config.model_json_schema()
    parts = schema["$defs"]
    forms = {form for forms in TIMED_FORMS.values() for form in forms}
    names = {"Experiment": NAMED, "EngineBenchmark": NAMED, "TimingCase": forms}
    for block, allowed in names.items():
        variant = parts[block]["properties"]["variants"]
        variant["items"] = {"anyOf": [{"enum": sorted(allowed)}, variant["items"]]}
    variant = parts["LanguageModel"]["properties"]["variants"]
    variant["items"] = {
        "anyOf": [
            {"enum": sorted(NAMED_LAYERS)},
            *({"type": "string", "pattern": f"^{pattern}$"} for pattern in SIZED_LAYERS),
            variant["items"],
        ]
    }
    given = parts["Defaults"]["properties"]
    given["recipe"] = parts["Experiment"]["properties"]["recipe"]
    _allow_parts(schema, parts, set())
    return schema


def _allow_parts(schema: dict[str, Any], parts: dict[str, Any], done: set[str]) -> None:
    """Change the schema of a mapping, and of all in it, to that of a part of such a mapping."""
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        if name in done:
            return
        done.add(name)
        schema = parts[name]
    schema.pop("required", None)
    if "oneOf" in schema:  # without its kind, a part may be one of several blocks
        schema["anyOf"] = schema.pop("oneOf")
        schema.pop("discriminator")
    for kind in schema.get("anyOf", []):
        _allow_parts(kind, parts, done)
    groups = [schema.get(group, {}) for group in ("properties", "patternProperties")]
    values = [(group, key) for group in groups for key in group]
    if isinstance(schema.get("additionalProperties"), dict):
        values.append((schema, "additionalProperties"))
    for group, key in values:
        _allow_parts(group[key], parts, done)
        if {"type": "null"} not in group[key].get("anyOf", []):
            group[key] = {"anyOf": [group[key], {"type": "null"}]}
