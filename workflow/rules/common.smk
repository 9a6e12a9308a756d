# The checked config, and the functions by which rules read it.

import json
import os
import shutil
from pathlib import Path

from snakemake.exceptions import WorkflowError
from snakemake.utils import validate

from fastff.config import parse_config
from fastff.faults import ConfigError
from fastff.sources import stage_files
from fastff.tidy import TABLES

REPOSITORY = Path(workflow.basedir).parent
CAPTIONS = Path(workflow.basedir) / "report"
ENVIRONMENT = str(REPOSITORY / "environment.yml")
FIGURE_FORMATS = (".pdf", ".png", ".svg")
TABLE_FORMATS = (".csv", ".md", ".tex")

if not workflow.config_settings.configfiles:

    configfile: str(REPOSITORY / "config" / "config.yaml")


try:
    CONFIG = parse_config(config)
except ConfigError as error:
    raise WorkflowError(f"The config can't be used:\n{error}") from None
validate(config, "../schemas/config.schema.json", set_default=False)

RESULTS = f"{CONFIG.results_dir}/{CONFIG.name}"
FIGURES = f"{CONFIG.figures_dir}/{CONFIG.name}"
HAS_GPU = CONFIG.device == "cuda" or (
    CONFIG.device == "auto" and bool(shutil.which("nvidia-smi"))
)
SPECS = {
    (spec.experiment, spec.variant.name): spec
    for experiment in CONFIG.experiments
    for spec in CONFIG.train_specs(experiment)
}


wildcard_constraints:
    experiment="|".join(CONFIG.experiments),
    variant="[a-z0-9_]+",
    dataset="[a-z0-9_]+",


def from_here(path):
    """Return the path of a file of the repository, relative to the working directory.

    Snakemake reruns a job whose input paths change, and a clone may move.
    """
    return os.path.relpath(path)


def sources(stage):
    """Return the source files whose edit changes the result of a stage."""
    return [from_here(path) for path in stage_files(stage)]


def dataset_options(wildcards):
    """Return the command-line options that config gives for a dataset."""
    options = CONFIG.datasets.get(wildcards.dataset)
    given = options.model_dump(exclude_none=True) if options else {}
    return [word for key, value in given.items() for word in (f"--{key}", value)]


def spec_of(wildcards):
    """Return the job as JSON: all of the config that it reads, so that nothing else reruns it."""
    return SPECS[wildcards.experiment, wildcards.variant].model_dump_json()


def data_of(wildcards):
    """Return the prepared files of an experiment's dataset."""
    stem = f"{CONFIG.data_dir}/{CONFIG.experiments[wildcards.experiment].dataset}"
    return [f"{stem}.npz", f"{stem}.json"]


def jobs_of(wildcards):
    """Return the folders of an experiment's jobs, in the order of its variants."""
    variants = CONFIG.experiments[wildcards.experiment].variants
    return [f"{RESULTS}/jobs/{wildcards.experiment}/{v.name}" for v in variants]


def figure_paths(experiment, formats=FIGURE_FORMATS):
    """Return the figures of an experiment."""
    names = CONFIG.experiments[experiment].expand("figures", experiment)
    return [f"{FIGURES}/{name}{end}" for name in names for end in formats]


def table_paths(experiment, formats=TABLE_FORMATS):
    """Return the tables of an experiment."""
    names = CONFIG.experiments[experiment].expand("tables", experiment)
    return [f"{RESULTS}/tables/{name}{end}" for name in names for end in formats]


def products(experiment):
    """Return every figure, table and executed notebook of an experiment."""
    page = f"{RESULTS}/notebooks/{experiment}.html"
    return [*figure_paths(experiment), *table_paths(experiment), page]


def notebook_of(experiment):
    """Return the notebook that draws an experiment."""
    name = CONFIG.experiments[experiment].notebook or experiment
    return from_here(REPOSITORY / "notebooks" / f"{name}.ipynb")


def reported(paths, experiment, kind):
    """Return the paths as entries of the report, with their caption."""
    caption = CAPTIONS / f"{Path(notebook_of(experiment)).stem}.rst"
    if kind == "tables" or not caption.exists():
        caption = CAPTIONS / f"{kind}.rst"
    entries = []
    for path in paths:
        labels = {"name": Path(path).stem, "kind": kind}
        category = CONFIG.experiments[experiment].title
        entry = report(path, caption=str(caption), category=category, labels=labels)
        entries.append(entry)
    return entries


def notebook_parameters(experiment):
    """Return the parameters of an experiment's notebook, as papermill takes them."""
    block = CONFIG.experiments[experiment]
    return json.dumps(
        {
            "experiment": experiment,
            "title": block.title,
            "tidy": f"{RESULTS}/tidy/{experiment}",
            "figures": FIGURES,
            "tables": f"{RESULTS}/tables",
            "comparisons": [
                comparison.model_dump() for comparison in block.comparisons
            ],
            "best_of_seeds": block.best_of_seeds,
        }
    )
