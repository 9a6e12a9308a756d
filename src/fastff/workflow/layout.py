"""Which files a run of the workflow reads and writes, and what it gives to its notebooks.

Paths are relative to the working directory, as Snakemake takes them: it reruns a job whose input
paths change, and a clone may move.
"""

from __future__ import annotations

import json
import os
import shlex
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from snakemake.exceptions import WorkflowError
from snakemake.io import IOFile

from fastff.claims.file import ClaimsFile
from fastff.config.display import displayed
from fastff.config.job import TrainSpec
from fastff.config.jobs import (
    RECORD,
    TRAIN_SETTINGS,
    WHOLE,
    job_record,
    job_specs,
    language_jobs,
    settings,
)
from fastff.config.language import LanguageSpec
from fastff.config.load import CLAIM_FIGURES, Config
from fastff.tables.schema import LANGUAGE, TIDY
from fastff.workflow.digests import stage_digest

FIGURE_FORMATS = (".pdf", ".png", ".svg")
TABLE_FORMATS = (".csv", ".md", ".tex", ".html")
Kind = Literal["figures", "tables"]


def from_here(path: Path) -> str:
    """Return the path of a file of the repository, relative to the working directory."""
    return os.path.relpath(path)


class Layout:
    """The files of a run.

    Args:
        config: of the run.
        claims: that are tested on it, None for none.
        repository: the clone that holds the workflow.

    Attributes:
        results: the folder of results.
        figures: the folder of figures.
        captions: the folder of captions, for the report and the site.

    """

    def __init__(self, config: Config, claims: ClaimsFile | None, repository: Path) -> None:
        self.config = config
        self.claims = claims
        self.repository = repository
        self.results = f"{config.results_dir}/{config.name}"
        self.figures = f"{config.figures_dir}/{config.name}"
        self.captions = repository / "workflow" / "report"

    @cached_property
    def specs(self) -> dict[tuple[str, str], tuple[TrainSpec, ...]]:
        """Every training job by experiment and name: all of the config that the job reads."""
        return {
            (experiment, job): specs
            for experiment in self.config.experiments
            for job, specs in job_specs(self.config, experiment).items()
        }

    def specs_of(self, wildcards: Any) -> tuple[TrainSpec, ...]:
        """Return what the job of Snakemake's wildcards trains: `experiment`, `variant`, `shard`."""
        return self.specs[wildcards.experiment, wildcards.variant + wildcards.shard]

    def is_stale(
        self, record: Path, specs: Sequence[TrainSpec] | Sequence[LanguageSpec], stage: str
    ) -> bool:
        """Return whether a training job's tables are there, but of other values than the config's.

        Snakemake trains again what has changed as long as it has a record of its own, in
        `.snakemake`. Of copied results it has none.

        Args:
            record: the file that says what the job's tables depend on.
            specs: what the job trains.
            stage: whose code trains them.

        """
        if not record.exists():
            return False
        now = settings(self.config, TRAIN_SETTINGS)
        expected = job_record(specs, now, stage_digest(stage))
        try:
            found = json.loads(record.read_text(encoding="utf-8"))
        except ValueError:
            return True
        return bool(found != json.loads(json.dumps(expected)))

    def job_name(self, wildcards: Any) -> str:
        """Return how `fastff train --job` calls the job of Snakemake's wildcards."""
        job = wildcards.variant + wildcards.shard
        is_whole = self.config.one_job_per_experiment and job == WHOLE
        return str(wildcards.experiment) if is_whole else f"{wildcards.experiment}/{job}"

    @cached_property
    def language_specs(self) -> dict[tuple[str, str], tuple[LanguageSpec, ...]]:
        """Every job that trains language models by these and name, as `specs`."""
        return {
            (model, job): specs
            for model in self.config.language_models
            for job, specs in language_jobs(self.config, model).items()
        }

    def language_specs_of(self, wildcards: Any) -> tuple[LanguageSpec, ...]:
        """Return what the job of Snakemake's wildcards trains: `language_model` and `variant`."""
        return self.language_specs[wildcards.language_model, wildcards.variant]

    def language_job_name(self, wildcards: Any) -> str:
        """Return how `fastff train --job` calls the job of Snakemake's wildcards."""
        is_whole = self.config.one_job_per_experiment and wildcards.variant == WHOLE
        model = str(wildcards.language_model)
        return model if is_whole else f"{model}/{wildcards.variant}"

    def language_job_folders(self, model: str) -> list[str]:
        """Return the folders of a language model's jobs, in the order of its variants."""
        return [
            f"{self.results}/jobs/{name}/{job}"
            for name, job in self.language_specs
            if name == model
        ]

    def job_folders(self, experiment: str) -> list[str]:
        """Return the folders of an experiment's jobs, in the order of its variants and runs."""
        return [
            f"{self.results}/jobs/{name}/{job}" for name, job in self.specs if name == experiment
        ]

    def dataset_options(self, dataset: str) -> list[str]:
        """Return the command-line options that the config gives for a dataset."""
        options = self.config.datasets.get(dataset)
        given = options.model_dump(exclude_none=True) if options else {}
        return [word for key, value in given.items() for word in (f"--{key}", value)]

    def dataset_files(self, dataset: str) -> list[str]:
        """Return the paths of a dataset's prepared files."""
        return [f"{self.config.data_dir}/{dataset}{end}" for end in (".npz", ".json")]

    def is_given(self, dataset: str) -> bool:
        """Return whether another user's files, which can't be replaced, are to be taken."""
        folder = Path(self.config.data_dir)
        while not folder.exists():
            folder = folder.parent
        files = [Path(path) for path in self.dataset_files(dataset)]
        there = [path for path in files if path.exists()]
        return not all(os.access(path, os.W_OK) for path in (folder, *there))

    def prepared(self, dataset: str) -> list[str]:
        """Return the prepared files of a dataset.

        Raises:
            WorkflowError: for files that are missing where this user can't write.

        """
        paths = self.dataset_files(dataset)
        missing = [path for path in paths if not Path(path).exists()]
        if missing and self.is_given(dataset):
            folder = self.config.data_dir
            raise WorkflowError(
                f"data_dir = {folder!r} can't be written by this user, and {missing[0]} is "
                f"missing; who can write there prepares it: "
                f"fastff prepare {dataset} --data-dir {shlex.quote(folder)}"
            )
        return paths

    def trains_on(self, wildcards: Any, workflow: Any) -> list[str]:
        """Return the prepared files that the training job of Snakemake's wildcards reads.

        A stale job that Snakemake has no record of is forced to run.
        """
        specs: tuple[TrainSpec, ...] | tuple[LanguageSpec, ...]
        if hasattr(wildcards, "language_model"):
            name, job = wildcards.language_model, wildcards.variant
            specs, stage = self.language_specs[name, job], "language"
        else:
            name, job = wildcards.experiment, wildcards.variant + wildcards.shard
            specs, stage = self.specs[name, job], "train"
        record = Path(self.results, "jobs", name, job, RECORD)
        file = IOFile(str(record))
        if self.is_stale(record, specs, stage) and workflow.persistence.metadata(file) is None:
            workflow.dag.forcefiles.add(file)
        return self.data_of(name)

    def data_of(self, name: str) -> list[str]:
        """Return the prepared files of what an experiment or benchmark trains on, if it does."""
        dataset = getattr(self.config.drawn()[name], "dataset", None)
        return self.prepared(dataset) if dataset else []

    def prepared_here(self) -> list[str]:
        """Return the prepared files of all datasets that this run trains on."""
        if self.config.tables_from:
            return []
        files = [path for name in self.config.drawn() for path in self.data_of(name)]
        return [*dict.fromkeys(files)]

    def folder_of(self, name: str, kind: Kind) -> str:
        """Return the folder of a block's figures or tables; what is timed has its own."""
        is_timed = name in self.config.benchmarks
        if kind == "figures":
            return f"{self.figures}/benchmarks" if is_timed else self.figures
        return f"{self.results}/{'benchmarks' if is_timed else 'tables'}"

    def paths_of(self, name: str, kind: Kind, formats: tuple[str, ...]) -> list[str]:
        """Return the figures or tables of an experiment or benchmark."""
        names = self.config.drawn()[name].expand(kind, name)
        folder = self.folder_of(name, kind)
        return [f"{folder}/{stem}{end}" for stem in names for end in formats]

    def products(self, name: str) -> list[str]:
        """Return every figure, table and executed notebook of an experiment or benchmark."""
        return [
            *self.paths_of(name, "figures", FIGURE_FORMATS),
            *self.paths_of(name, "tables", TABLE_FORMATS),
            f"{self.results}/notebooks/{name}.html",
        ]

    def claim_products(self) -> list[str]:
        """Return the ledger, its figures and its executed notebook, if claims are tested."""
        if self.claims is None:
            return []
        return [
            *(f"{self.results}/claims{end}" for end in TABLE_FORMATS),
            *(f"{self.figures}/{stem}{end}" for stem in CLAIM_FIGURES for end in FIGURE_FORMATS),
            f"{self.results}/notebooks/claims.html",
        ]

    def notebook_of(self, name: str) -> str:
        """Return the notebook that draws an experiment or benchmark."""
        stem = self.config.drawn()[name].notebook or name
        return from_here(self.repository / "notebooks" / f"{stem}.ipynb")

    def caption_of(self, name: str, kind: Kind) -> Path:
        """Return the file with the caption of a block's figures or tables."""
        own = self.captions / f"{Path(self.notebook_of(name)).stem}.rst"
        return own if kind == "figures" and own.exists() else self.captions / f"{kind}.rst"

    def drawn_from(self, name: str) -> list[str]:
        """Return what a notebook reads: tidy tables, or a benchmark's tables, or both.

        Of single operations, first what this run measures, then what named machines did.

        Raises:
            WorkflowError: where not just one folder of `tables_from` has them.

        """
        if name in self.config.trained_benchmarks():
            return [f"{self._source_of(f'benchmarks/{name}.csv')}/benchmarks/{name}.csv"]
        if name in self.config.benchmarks:
            return [*self.measured_here(name), *self.references_of(name)]
        return [*self.tidy_tables(name), *self.times_of(name)]

    def tidy_tables(self, name: str) -> list[str]:
        """Return the tidy tables of an experiment or a language model."""
        folder = f"{self._source_of(f'tidy/{name}')}/tidy/{name}"
        packed = self.config.tables_from and not Path(folder, "runs.csv").exists()
        tables = LANGUAGE if name in self.config.language_models else TIDY
        return [f"{folder}/{table}{'.csv.xz' if packed else '.csv'}" for table in tables]

    def times_of(self, name: str) -> list[str]:
        """Return the tables with times of a language model's variants."""
        timed = self.config.language_benchmarks()
        benchmarks = [benchmark for benchmark, block in timed.items() if block.model == name]
        return [
            path
            for benchmark in benchmarks
            for path in (*self.measured_here(benchmark), *self.references_of(benchmark))
        ]

    def _source_of(self, part: str) -> str:
        """Return the folder of results that has a part: this run's, or one of `tables_from`."""
        folders = self.config.tables_from
        if not folders:
            return self.results
        found = [folder for folder in folders if (self.repository / folder / part).exists()]
        if len(found) != 1:
            has = f"both {found[0]} and {found[1]} have" if found else "no folder has"
            raise WorkflowError(f"tables_from = {list(folders)}: {has} {part}; allowed is one")
        return from_here(self.repository / found[0])

    def measured_here(self, name: str) -> list[str]:
        """Return the table of a benchmark that this run measures."""
        return [] if self.config.tables_from else [f"{self.results}/benchmarks/{name}.csv"]

    def references_of(self, name: str) -> list[str]:
        """Return the committed tables of a benchmark."""
        own = getattr(self.config.benchmarks[name], "references", None)
        chosen = self.config.benchmarks_from if own is None else own
        folders = [self.repository / folder for folder in chosen]
        files = [folder / "benchmarks" / f"{name}.csv" for folder in folders]
        return [from_here(file) for file in files if file.exists()]

    def parameters_file(self, name: str) -> str:
        """Return the file with the parameters of a notebook."""
        return f"{self.results}/parameters/{name}.yaml"

    def notebook_parameters(self, name: str) -> dict[str, Any]:
        """Return the parameters of a notebook."""
        block = self.config.drawn()[name]
        values: dict[str, Any] = {
            "experiment": name,
            "title": block.title,
            "figures": self.folder_of(name, "figures"),
            "tables": self.folder_of(name, "tables"),
        }
        if name in self.config.benchmarks and name not in self.config.trained_benchmarks():
            values["measured"] = self.measured_here(name)
            values["references"] = self.references_of(name)
        elif name in self.config.trained_benchmarks():
            values["tidy"] = os.path.commonpath(self.drawn_from(name))
        else:
            values["tidy"] = os.path.commonpath(self.tidy_tables(name))
        if name in self.config.language_models:
            model = self.config.language_models[name]
            values["times"] = self.times_of(name)
            values["labels"] = {variant.name: variant.label for variant in model.variants}
        if name in self.config.experiments:
            experiment = self.config.experiments[name]
            specs = self.config.train_specs(name)
            values["labels"] = {spec.variant.name: spec.variant.label for spec in specs}
            values["comparisons"] = [pair.model_dump() for pair in experiment.comparisons]
            values["best_of_seeds"] = experiment.best_of_seeds
        return values

    def claimed(self) -> list[str]:
        """Return the experiments and benchmarks of the config that claims are about."""
        claims = self.claims.claims.values() if self.claims else ()
        named = {name for claim in claims for name in claim.variants()}
        return [name for name in self.config.drawn() if name in named]

    def claim_parameters(self) -> dict[str, Any]:
        """Return the parameters of the notebook that draws the ledger."""
        blocks = [self.config.drawn()[name] for name in self.claimed()]
        datasets = {displayed(block.dataset): None for block in blocks if hasattr(block, "dataset")}
        return {
            "title": " · ".join(filter(None, ["Which claims hold?", ", ".join(datasets)])),
            "ledger": f"{self.results}/claims.csv",
            "figures": self.figures,
        }

    def claim_folders(self) -> list[str]:
        """Return the folders with tables: this run's, or all machines' of a reference."""
        if not self.config.tables_from:
            return [self.results]
        named = [self.repository / folder for folder in self.config.tables_from]
        others = sorted(folder.parent for folder in named[0].parent.glob("*/benchmarks"))
        return [from_here(path) for path in dict.fromkeys([*named, *others])]

    def claim_tables(self) -> list[str]:
        """Return the tables that the claims are tested on."""
        tables = [
            path
            for name in self.claimed()
            if name not in self.config.benchmarks
            for path in self.tidy_tables(name)
            if Path(path).name.partition(".")[0] in ("runs", "epochs", "expert_counts")
        ]
        measured = [
            f"{folder}/benchmarks/{name}.csv"
            for name in self.claimed()
            if name in self.config.benchmarks
            for folder in self.claim_folders()
        ]
        if self.config.tables_from:
            measured = [path for path in measured if Path(path).exists()]
        return tables + measured

    def site_plan(self, configfiles: Iterable[Path], changes: Mapping[str, Any]) -> dict[str, Any]:
        """Return the files of this run that the site shows, as `fastff site` takes them.

        Args:
            configfiles: what the config was read from.
            changes: what was changed on the command line.

        """
        blocks = {
            name: self._drawn_block(
                name,
                self.caption_of(name, "figures"),
                figures=self.paths_of(name, "figures", ("",)),
                tables=self.paths_of(name, "tables", ("",)),
                data=self.drawn_from(name),
            )
            for name in self.config.drawn()
        }
        ledger = self._drawn_block(
            "claims",
            self.captions / "claims.rst",
            figures=[f"{self.figures}/{stem}" for stem in CLAIM_FIGURES],
            tables=[f"{self.results}/claims"],
            data=[f"{self.results}/claims.csv"],
        )
        earlier = dict.fromkeys([*self.config.tables_from, *self.config.benchmarks_from])
        return {
            "blocks": blocks,
            "ledger": ledger if self.claims is not None else None,
            "table_caption": from_here(self.captions / "tables.rst"),
            "rule_graph": f"{self.results}/rule_graph.dot",
            "configfiles": [from_here(path) for path in configfiles],
            "changes": [f"{key}={as_given(value)}" for key, value in changes.items()],
            "jobs": f"{self.results}/benchmarks",
            "datasets": [path for path in self.prepared_here() if path.endswith(".json")],
            "earlier": [from_here(self.repository / folder) for folder in earlier],
            "repository": from_here(self.repository),
        }

    def _drawn_block(
        self, name: str, caption: Path, figures: list[str], tables: list[str], data: list[str]
    ) -> dict[str, Any]:
        """Return what has been drawn of a block, as `fastff site` takes it."""
        return {
            "caption": from_here(caption),
            "figures": figures,
            "tables": tables,
            "data": data,
            "notebook": f"{self.results}/notebooks/{name}.ipynb",
        }

    def documents(self) -> list[Path]:
        """Return the repository's pages, with the settings and the style of the site."""
        parts = ("README.md", "docs/*.md", "docs/*.svg", "docs/conf.py", "docs/_static/*")
        return [path for part in parts for path in sorted(self.repository.glob(part))]


def as_given(value: object) -> str:
    """Return a value of the config as the command line takes it."""
    if value is None:
        return ""
    return value if isinstance(value, str) else json.dumps(value)
