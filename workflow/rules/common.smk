# The checked config, and the functions by which rules read it.

import hashlib
import json
import os
import shlex
import shutil
from pathlib import Path

from snakemake.exceptions import WorkflowError
from snakemake.settings.types import DeploymentMethod
from snakemake.utils import update_config, validate

from fastff.claims.load import load_claims
from fastff.config.errors import ConfigError
from fastff.config.jobs import (
    BENCH_SETTINGS,
    TRAIN_SETTINGS,
    n_runs,
    settings,
    train_jobs,
)
from fastff.config.yaml_file import config_text, keep, yaml_text
from fastff.config.load import parse_config
from fastff.config.yaml_file import Layer, merge_layers, read_layers
from fastff.data.names import DATASET_NAMES
from fastff.files import hold
from fastff.progress.overall import PLAN
from fastff.progress.plan import PlannedJob, write_plan
from fastff.tables.collect import TABLES
from fastff.workflow.caches import redirect_caches
from fastff.workflow.digests import stage_digest

redirect_caches()  # of this process and of all jobs

REPOSITORY = Path(workflow.basedir).parent
CAPTIONS = Path(workflow.basedir) / "report"
ENVIRONMENT = str(REPOSITORY / "environment.yml")
FIGURE_FORMATS = (".pdf", ".png", ".svg")
TABLE_FORMATS = (".csv", ".md", ".tex", ".html")
# The command that executes a notebook, of rules with the same inputs, logs and params. nbconvert
# takes its argument for a pattern, so it gets the bare name, whatever the folder is called.
DRAW = (
    "papermill {input.notebook:q} {log.notebook:q} --parameters_file {params.file:q}"
    " --kernel python3 --no-progress-bar > {log.text:q} 2>&1"
    " && (cd {params.folder:q} && jupyter nbconvert --to html $(basename {log.notebook:q})"
    " --output {params.part:q}) >> {log.text:q} 2>&1"
    " && mv {params.folder:q}/{params.part:q} {output.html:q}"
)

# A run that was killed leaves Snakemake's lock of the folder. While a run lives it holds a file,
# which no way of ending leaves held; so a lock that nobody holds is of a dead run, and goes.
if workflow.is_main_process and not workflow.dryrun:
    HELD = hold(Path(".snakemake/held"))
    if HELD is not None:
        for stale in Path(".snakemake/locks").glob("*.lock"):
            stale.unlink(missing_ok=True)

if not workflow.config_settings.configfiles:

    configfile: str(REPOSITORY / "config" / "config.yaml")


# Read again, as the command line reads them: Snakemake knows no `extends`, takes no null for a
# removal, and takes the last of two equal keys without a word. What --config says is Snakemake's.
try:
    LAYERS = read_layers(*map(Path, workflow.configfiles))
    config = merge_layers(LAYERS)
    update_config(config, workflow.config_settings.config)
    CONFIG = parse_config(
        config, [*LAYERS, Layer("--config", workflow.config_settings.config)]
    )
    CLAIMS = (
        load_claims(REPOSITORY / CONFIG.claims, CONFIG)
        if CONFIG.claims is not None
        else None
    )
except ConfigError as error:
    raise WorkflowError(f"The config can't be used:\n{error}") from None
validate(config, "../schemas/config.schema.json", set_default=False)

# A container gives the packages, and this clone the code.
if DeploymentMethod.APPTAINER in workflow.deployment_settings.deployment_method:
    if CONFIG.container is None:
        raise WorkflowError(
            "container is missing in the config; --software-deployment-method apptainer needs an "
            "image, such as container: fastff.sif"
        )
    os.environ.update(PYTHONPATH=str(REPOSITORY / "src"))
    os.environ.pop(
        "VIRTUAL_ENV", None
    )  # an IPython kernel adds the packages of what it names

RESULTS = f"{CONFIG.results_dir}/{CONFIG.name}"
FIGURES = f"{CONFIG.figures_dir}/{CONFIG.name}"
# The config as a whole, with what was changed on the command line: commands name it and their job.
# It is no input of theirs. What a job reads of it is among its rule's params, also where no command
# uses them, so that a change reruns the jobs that read it and no others.
KEPT = f"{RESULTS}/config.yaml"
KEPT_TEXT = config_text(config)
KEPT_DIGEST = hashlib.sha256(KEPT_TEXT.encode()).hexdigest()
HAS_GPU = CONFIG.device == "cuda" or (
    CONFIG.device == "auto" and bool(shutil.which("nvidia-smi"))
)
SPECS = {
    (experiment, job): spec
    for experiment in CONFIG.experiments
    for job, spec in train_jobs(CONFIG, experiment).items()
}


wildcard_constraints:
    experiment="|".join(CONFIG.experiments),
    benchmark="|".join(CONFIG.benchmarks),
    variant="[a-z0-9_]+",
    shard=r"(/\d+-\d+)?",  # of a variant that is split, the first and the last run
    dataset="[a-z0-9_]+",


def keep_what_jobs_read():
    """Write down the config of this run, and what its notebooks and its site are to show."""
    texts = {KEPT: KEPT_TEXT, SITE_PLAN: json.dumps(site_plan(), indent=1)}
    parameters = {name: notebook_parameters(name) for name in CONFIG.drawn()}
    if CLAIMS is not None:
        parameters["claims"] = claim_parameters()
    texts |= {file_of(name): yaml_text(values) for name, values in parameters.items()}
    try:
        for path, text in texts.items():
            keep(Path(path), text)
    except OSError as error:
        raise WorkflowError(f"What jobs read can't be kept: {error}") from None


def file_of(name):
    """Return the file with the parameters of a notebook."""
    return f"{RESULTS}/parameters/{name}.yaml"


def from_here(path):
    """Return the path of a file of the repository, relative to the working directory.

    Snakemake reruns a job whose input paths change, and a clone may move.
    """
    return os.path.relpath(path)


def dataset_options(wildcards):
    """Return the command-line options that config gives for a dataset."""
    options = CONFIG.datasets.get(wildcards.dataset)
    given = options.model_dump(exclude_none=True) if options else {}
    return [word for key, value in given.items() for word in (f"--{key}", value)]


def spec_of(wildcards):
    """Return a training job: all of the config that it reads, so that nothing else reruns it."""
    return SPECS[wildcards.experiment, wildcards.variant + wildcards.shard]


def prepared(dataset):
    """Return the prepared files of a dataset."""
    paths = files_of(dataset)
    if missing := [
        path for path in paths if is_given(dataset) and not Path(path).exists()
    ]:
        raise WorkflowError(
            f"data_dir = {CONFIG.data_dir!r} can't be written by this user, and {missing[0]} is "
            f"missing; who can write there prepares it: "
            f"fastff prepare {dataset} --data-dir {shlex.quote(CONFIG.data_dir)}"
        )
    return paths


def files_of(dataset):
    """Return the paths of a dataset's prepared files."""
    return [f"{CONFIG.data_dir}/{dataset}{end}" for end in (".npz", ".json")]


def is_given(dataset):
    """Return whether another user's files are to be taken as they are: they can't be replaced."""
    folder = Path(CONFIG.data_dir)
    while not folder.exists():
        folder = folder.parent
    there = [path for path in files_of(dataset) if Path(path).exists()]
    return not all(os.access(path, os.W_OK) for path in (folder, *there))


def data_of(wildcards):
    """Return the prepared files of an experiment's dataset."""
    return prepared(CONFIG.experiments[wildcards.experiment].dataset)


def data_of_benchmark(wildcards):
    """Return the prepared files of the dataset that a benchmark trains on, if it does."""
    block = CONFIG.trained_benchmarks().get(wildcards.benchmark)
    return prepared(block.dataset) if block else []


def jobs_of(wildcards):
    """Return the folders of an experiment's jobs, in the order of its variants and runs."""
    jobs = [job for experiment, job in SPECS if experiment == wildcards.experiment]
    return [f"{RESULTS}/jobs/{wildcards.experiment}/{job}" for job in jobs]


def planned_jobs(dag):
    """Return the training jobs of a run, with those whose results it has found."""
    found = []
    for job in dag.jobs:
        if job.rule.name == "train":
            spec = spec_of(job.wildcards)
            planned = PlannedJob(
                title=f"{spec.experiment} {spec.variant.name}",
                log=os.path.relpath(job.log[0], RESULTS),
                n_runs=n_runs(spec),
                epochs=spec.recipe.epochs,
                is_needed=dag.needrun(job),
            )
            found.append(planned)
    return found


def folder_of(name, kind):
    """Return the folder of a block's figures or tables; what is timed has its own."""
    if kind == "figures":
        return f"{FIGURES}/benchmarks" if name in CONFIG.benchmarks else FIGURES
    return f"{RESULTS}/{'benchmarks' if name in CONFIG.benchmarks else 'tables'}"


def paths_of(name, kind, formats):
    """Return the figures or tables of an experiment or benchmark."""
    names = CONFIG.drawn()[name].expand(kind, name)
    return [f"{folder_of(name, kind)}/{stem}{end}" for stem in names for end in formats]


def products(name):
    """Return every figure, table and executed notebook of an experiment or benchmark."""
    page = f"{RESULTS}/notebooks/{name}.html"
    figures = paths_of(name, "figures", FIGURE_FORMATS)
    return [*figures, *paths_of(name, "tables", TABLE_FORMATS), page]


def notebook_of(name):
    """Return the notebook that draws an experiment or benchmark."""
    stem = CONFIG.drawn()[name].notebook or name
    return from_here(REPOSITORY / "notebooks" / f"{stem}.ipynb")


def drawn_from(name):
    """Return what a notebook reads: tidy tables, or a benchmark's tables.

    Of single operations, first what this run measures, then what named machines did.
    """
    source, end = RESULTS, ".csv"
    if CONFIG.tables_from is not None:
        source, end = from_here(REPOSITORY / CONFIG.tables_from), ".csv.xz"
    if name in CONFIG.trained_benchmarks():
        return [f"{source}/benchmarks/{name}.csv"]
    if name in CONFIG.benchmarks:
        measured = [] if CONFIG.tables_from else [f"{RESULTS}/benchmarks/{name}.csv"]
        return [*measured, *references_of(name)]
    return [f"{source}/tidy/{name}/{table}{end}" for table in TABLES]


def references_of(name):
    """Return the committed tables of a benchmark."""
    folders = [REPOSITORY / folder / "benchmarks" for folder in CONFIG.benchmarks_from]
    return [
        from_here(f / f"{name}.csv") for f in folders if (f / f"{name}.csv").exists()
    ]


def caption_of(name, kind):
    """Return the file with the caption of a block's figures or tables."""
    own = CAPTIONS / f"{Path(notebook_of(name)).stem}.rst"
    return own if kind == "figures" and own.exists() else CAPTIONS / f"{kind}.rst"


def reported(name, kind, ending):
    """Return the figures or tables of one format as entries of the report, with their caption."""
    caption = caption_of(name, kind)
    entries = []
    for path in paths_of(name, kind, [ending]):
        # One label: of two, the report makes a switch where it can, and fails on an unpaired one.
        labels = {"result": f"{kind.removesuffix('s')} {Path(path).stem}"}
        category = f"{name}: {CONFIG.drawn()[name].title}"
        entry = report(path, caption=str(caption), category=category, labels=labels)
        entries.append(entry)
    return entries


def notebook_parameters(name):
    """Return the parameters of a notebook."""
    block = CONFIG.drawn()[name]
    values = {
        "experiment": name,
        "title": block.title,
        "figures": folder_of(name, "figures"),
        "tables": folder_of(name, "tables"),
    }
    if name in CONFIG.benchmarks and name not in CONFIG.trained_benchmarks():
        references = references_of(name)
        values["measured"] = [p for p in drawn_from(name) if p not in references]
        values["references"] = references
    else:
        values["tidy"] = os.path.commonpath(drawn_from(name))
    if name in CONFIG.experiments:
        values["comparisons"] = [
            comparison.model_dump() for comparison in block.comparisons
        ]
        values["best_of_seeds"] = block.best_of_seeds
    return values
