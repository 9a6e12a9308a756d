"""What a start of the workflow does before its jobs: config, locks, and what jobs read."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any, NamedTuple

from snakemake.exceptions import WorkflowError
from snakemake.utils import update_config

from fastff.claims.file import ClaimsFile
from fastff.claims.load import load_claims
from fastff.config.base import FOLDER_PATTERN, unknown
from fastff.config.errors import ConfigError
from fastff.config.jobs import n_runs
from fastff.config.load import Config, parse_config
from fastff.config.yaml_file import Layer, config_text, keep, merge_layers, read_layers, yaml_text
from fastff.files import hold, require_folder
from fastff.workflow.layout import Layout
from fastff.workflow.progress import TrainingJob, write_jobs


class CheckedConfig(NamedTuple):
    """A config as it was given, merged, and what it says.

    Attributes:
        values: of its files and of the command line, as Snakemake's `config`.
        config: what they describe.
        claims: that are tested on its results, None for none.

    """

    values: dict[str, Any]
    config: Config
    claims: ClaimsFile | None

    @property
    def text(self) -> str:
        """The file of the config as a whole, which commands name beside their job."""
        return config_text(self.values)


def read_config(
    paths: Sequence[Path], changes: Mapping[str, Any], repository: Path
) -> CheckedConfig:
    """Return the config of a run.

    It is read as the command line reads it: Snakemake knows no `extends`, takes no null for a
    removal, and takes the last of two equal keys without a word. `changes` are merged as Snakemake
    does.

    Args:
        paths: the config files.
        changes: what `--config` says.
        repository: the clone that holds the workflow.

    Raises:
        WorkflowError: for a config that can't be used, with a line per fault.

    """
    try:
        layers = read_layers(*paths)
        values = merge_layers(layers)
        update_config(values, changes)
        config = parse_config(values, [*layers, Layer("--config", changes)])
        claims = None
        if config.claims is not None:
            claims = load_claims(repository / config.claims, config)
    except ConfigError as error:
        raise WorkflowError(f"The config can't be used:\n{error}") from None
    return CheckedConfig(values, config, claims)


def check_folders(config: Config, repository: Path) -> None:
    """Refuse folders in which no job could work.

    Args:
        config: names those that are written.
        repository: the clone that holds the workflow.

    Raises:
        WorkflowError: for a path that Snakemake would take wildcards from, a file where a folder
            should be, and a folder or notebook that isn't there.

    """
    for what, place in (("the clone", repository), ("the working folder", Path.cwd())):
        if not re.fullmatch(FOLDER_PATTERN, str(place)):
            raise WorkflowError(
                f"{what} is {str(place)!r}; allowed is a path without {{, }}, < and >"
            )
    for key in ("results_dir", "figures_dir", "data_dir"):
        try:
            require_folder(Path(getattr(config, key)))
        except NotADirectoryError as error:
            fault = f"{error.filename} is no folder"
            raise WorkflowError(f"{key} = {getattr(config, key)!r}: {fault}") from None
    # a copy may be without the committed results
    is_clone = (repository / "results" / "reference").is_dir()
    for key in ("tables_from", "benchmarks_from") if is_clone else ():
        for number, name in enumerate(getattr(config, key)):
            if not (repository / name).is_dir():
                raise WorkflowError(f"{key}[{number}] = {name!r}: no such folder in {repository}")
    notebooks = sorted(path.stem for path in (repository / "notebooks").glob("*.ipynb"))
    for name, block in config.drawn().items():
        if (stem := block.notebook or name) not in notebooks:
            fault = unknown(f"notebook {stem!r}", stem, notebooks)
            raise WorkflowError(f"{name}.notebook = {stem!r}: {fault}")


def hold_results(folder: Path) -> IO[str] | None:
    """Refuse a second run that would write to the same results.

    Snakemake's own lock, which the profiles turn off, outlives a run that was killed.

    Returns:
        The open file of `fastff.files.hold`, to be kept as long as the run lives.

    Raises:
        WorkflowError: where another run works there, or nothing can be written.

    """
    try:
        return hold(folder / ".running")
    except BlockingIOError:
        raise WorkflowError(
            f"Another run works in {folder.resolve()}: wait for it, or give this one another name"
        ) from None
    except OSError as error:
        raise WorkflowError(f"{error.filename}: {error.strerror}") from None


def use_container(config: Config, repository: Path) -> None:
    """Set the environment of jobs in a container: it gives the packages, and the clone the code.

    Raises:
        WorkflowError: where the config names no container.

    """
    if config.container is None:
        raise WorkflowError(
            "container is missing in the config; --software-deployment-method apptainer needs an "
            "image, such as container: fastff.sif"
        )
    os.environ["PYTHONPATH"] = str(repository / "src")
    # an IPython kernel adds the packages of the environment that this names
    os.environ.pop("VIRTUAL_ENV", None)


def keep_what_jobs_read(layout: Layout, texts: Mapping[str, str]) -> None:
    """Write the parameters of notebooks, and other files that jobs read, before the jobs start.

    Args:
        layout: of the run.
        texts: other files, by their paths.

    Raises:
        WorkflowError: where one can't be written.

    """
    parameters = {name: layout.notebook_parameters(name) for name in layout.config.drawn()}
    if layout.claims is not None:
        parameters["claims"] = layout.claim_parameters()
    files = {layout.parameters_file(name): yaml_text(values) for name, values in parameters.items()}
    try:
        for path, text in {**texts, **files}.items():
            keep(Path(path), text)
    except OSError as error:
        raise WorkflowError(f"What jobs read can't be kept: {error}") from None


def left_over(layout: Layout) -> list[Path]:
    """Return results of experiments that the config no longer has."""
    folders = [Path(layout.results, part) for part in ("jobs", "tidy")]
    found = [path for folder in folders if folder.is_dir() for path in sorted(folder.iterdir())]
    return [path for path in found if path.name not in layout.config.experiments]


def write_training_jobs(layout: Layout, dag: Any) -> None:
    """Write down the training jobs of a run, for its line of progress.

    Args:
        layout: of the run.
        dag: Snakemake's jobs, those among them whose results it has found.

    Raises:
        OSError: where it can't be written.

    """
    jobs = []
    for job in dag.jobs:
        if job.rule.name == "train":
            specs = layout.specs_of(job.wildcards)
            training = TrainingJob(
                log=os.path.relpath(job.log[0], layout.results),
                n_runs=sum(map(n_runs, specs)),
                epochs=max(spec.recipe.epochs for spec in specs),
                is_needed=dag.needrun(job),
            )
            jobs.append(training)
    write_jobs(Path(layout.results), jobs)
