"""`fastff train` and `fastff reference`: the commands."""

from __future__ import annotations

import argparse
import json
import logging
import signal
import sys
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

from fastff.cli.arguments import Commands, add_config, add_device, positive, with_settings
from fastff.config.errors import ConfigError
from fastff.config.job import TrainSpec
from fastff.config.language import LanguageSpec
from fastff.config.load import Config, load_config

if TYPE_CHECKING:
    import torch

log = logging.getLogger("fastff")
MAX_SECONDS = 1e6  # between checkpoints: more than any job takes


def add_train(commands: Commands) -> None:
    """Add the command to a parser's sub-commands."""
    parser = commands.add_parser(
        "train",
        help="train the runs of a variant, or of a whole experiment or language model",
        description="Train every point and seed of a job and write its tidy tables: runs.csv, "
        "epochs.csv, expert_counts.csv, and what is recorded beside them, as in: fastff train "
        "--config config/config.yaml --job soft_merging/fff_mixture_softplus --data "
        "results/data/mnist5k.npz --output my_results. A run of the workflow keeps its config in "
        "results/<name>/config.yaml. What isn't given of the options below, the config says.",
    )
    add_config(parser)
    parser.add_argument(
        "--job",
        required=True,
        metavar="EXPERIMENT[/VARIANT[/FIRST-LAST]]",
        help="an experiment or a language model of the config, a variant of it, or of an "
        "experiment's variant the runs of these numbers, "
        "counted from 0 over its points and seeds; with another number of runs beside it a run may "
        "differ in its last bits",
    )
    parser.add_argument("--data", type=Path, required=True, help="the prepared .npz of the dataset")
    parser.add_argument("--output", type=Path, required=True, help="folder for the tables")
    parser.add_argument("--store", type=Path, help="folder of finished runs, to take and to add to")
    add_device(parser)
    parser.add_argument("--threads", type=positive, metavar="N", help="CPU threads")
    parser.add_argument(
        "--runs-per-stack",
        type=positive,
        metavar="N",
        help="runs trained as one batched computation",
    )
    parser.add_argument(
        "--checkpoint-seconds",
        type=_seconds,
        metavar="SECONDS",
        help="with --store: seconds between two checkpoints of a computation",
    )
    parser.add_argument(
        "--failed-runs",
        choices=["keep", "error"],
        help="whether runs whose loss became NaN or infinite end the command with code 1; the "
        "tables are written, and show them without scores",
    )
    parser.set_defaults(run=_train)


def _train(options: argparse.Namespace) -> int:
    from fastff.config.jobs import TRAIN_SETTINGS, named_jobs
    from fastff.data.dataset import load
    from fastff.files import require_folder
    from fastff.train.graceful_shutdown import StoppedError, StopRequest
    from fastff.train.job import job_checkpoints, train
    from fastff.train.store import run_context, run_stores
    from fastff.train.tables import joined_tables, write_tables
    from fastff.workflow.digests import stage_digest
    from fastff.workflow.progress import Progress, failures

    for folder in filter(None, (options.output, options.store)):
        require_folder(folder)
    config = load_config(options.configfile)
    if options.job.partition("/")[0] in config.language_models:
        return _train_language_model(options, config)
    specs = named_jobs(config, options.job)
    options = with_settings(options, config, TRAIN_SETTINGS)
    device = _device(options)
    data = load(options.data, device=device)
    for spec in specs:
        if spec.dataset != data.name:
            raise ConfigError(f"--data {options.data} is {data.name}; the job needs {spec.dataset}")
    sources = stage_digest("train")  # as it is now, before hours of training
    stop = StopRequest()
    contexts = [run_context(spec, data, stage_digest("runs")) for spec in specs]
    checkpoints = job_checkpoints(options.store, specs, contexts, options.checkpoint_seconds, stop)
    try:
        with stop if checkpoints else nullcontext():
            jobs = train(
                specs,
                data,
                runs_per_stack=options.runs_per_stack,
                stacks_at_once=options.stacks_at_once,
                stores=run_stores(options.store, contexts),
                checkpoints=checkpoints,
                watch=Progress,
            )
    except StoppedError:
        return _stopped(options)
    write_tables(joined_tables(specs, jobs), options.output)
    _keep_record(specs, options, sources)
    return _report_failures(failures(specs, jobs), options)


def _train_language_model(options: argparse.Namespace, config: Config) -> int:
    from fastff.config.jobs import TRAIN_SETTINGS, named_language_jobs
    from fastff.language.job import (
        failed_language_runs,
        tidy_language_tables,
        train_language_models,
    )
    from fastff.language.text import load_text
    from fastff.train.graceful_shutdown import StoppedError, StopRequest
    from fastff.train.tables import write_tables
    from fastff.workflow.digests import stage_digest

    specs = named_language_jobs(config, options.job)
    options = with_settings(options, config, TRAIN_SETTINGS)
    device = _device(options)
    text, sources = load_text(options.data, device=device), stage_digest("language")
    if text.name != specs[0].text:
        raise ConfigError(f"--data {options.data} is {text.name}; the job needs {specs[0].text}")
    stop = StopRequest()
    try:
        with nullcontext() if options.store is None else stop:
            jobs = train_language_models(
                specs,
                text,
                sources=sources,
                store=options.store,
                interval=options.checkpoint_seconds,
                stop=stop,
            )
    except StoppedError:
        return _stopped(options)
    write_tables(tidy_language_tables(specs, jobs), options.output)
    _keep_record(specs, options, sources)
    return _report_failures(failed_language_runs(specs, jobs), options)


def _device(options: argparse.Namespace | Config) -> torch.device:
    """Return the device to train on, with the threads and the precision set that are asked for."""
    import torch

    from fastff.train.device import choose_device, set_precision

    torch.set_num_threads(options.threads)
    device = choose_device(options.device)
    set_precision(device, tf32=options.tf32)
    return device


def _keep_record(
    specs: list[TrainSpec] | list[LanguageSpec], options: argparse.Namespace, sources: str
) -> None:
    """Write beside the tables what they depend on."""
    from fastff.config.jobs import RECORD, TRAIN_SETTINGS, job_record
    from fastff.files import atomic_path

    record = job_record(specs, {key: getattr(options, key) for key in TRAIN_SETTINGS}, sources)
    with atomic_path(options.output / RECORD) as path:
        path.write_text(json.dumps(record, indent=1), encoding="utf-8")


def _stopped(options: argparse.Namespace) -> int:
    print(
        f"fastff train: stopped by SIGTERM; the same command goes on from the checkpoints and "
        f"finished runs in {options.store}",
        file=sys.stderr,
    )
    return 128 + signal.SIGTERM


def _report_failures(lines: list[str], options: argparse.Namespace) -> int:
    """Print a line per failed run, and return the exit code."""
    for line in lines:
        log.warning("%s", line)
    if not lines or options.failed_runs == "keep":
        return 0
    print(
        f"fastff train: failed_runs = error: {len(lines)} runs failed, the first: {lines[0]}",
        file=sys.stderr,
    )
    return 1


def add_reference(commands: Commands) -> None:
    """Add the command to a parser's sub-commands."""
    parser = commands.add_parser(
        "reference",
        help="train a whole config, and write what results/reference holds",
        description="Train the experiments and time the training of a config in one process, "
        "and write compressed tidy tables, measurements and their provenance.",
    )
    add_config(parser)
    parser.add_argument(
        "--data", type=Path, nargs="+", required=True, help="the prepared .npz of each dataset"
    )
    parser.add_argument(
        "--only", nargs="+", default=[], metavar="NAME", help="these experiments and benchmarks"
    )
    parser.add_argument(
        "--output", type=Path, required=True, help="folder of the reference, to make or to add to"
    )
    parser.add_argument("--store", type=Path, help="folder of finished runs, to take and to add to")
    parser.set_defaults(run=_reference)


def _reference(options: argparse.Namespace) -> int:
    from fastff.files import require_folder
    from fastff.workflow.reference import make_reference

    require_folder(options.output)
    config = load_config(options.configfile)
    device = _device(config)
    only, store = options.only, options.store
    make_reference(config, options.data, options.output, device, only=only, store=store)
    return 0


def _seconds(text: str) -> float:
    number = float(text)
    if not 0 <= number <= MAX_SECONDS:
        raise argparse.ArgumentTypeError(f"{text}: must be between 0 and {MAX_SECONDS:g}")
    return number
