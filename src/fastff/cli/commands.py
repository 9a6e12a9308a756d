"""The short commands: prepare, collect, bench, plan, progress and schema."""

from __future__ import annotations

import argparse
import json
import logging
import os
import sys
from pathlib import Path

from fastff.cli.arguments import Commands, add_config, add_device, positive, with_settings
from fastff.config.jobs import BENCH_SETTINGS, named_benchmark
from fastff.config.load import json_schema, load_config
from fastff.data.names import DATASET_NAMES
from fastff.data.text_names import TEXT_NAMES

log = logging.getLogger("fastff")


def add_prepare(commands: Commands) -> None:
    """Add the command to a parser's sub-commands."""
    parser = commands.add_parser(
        "prepare",
        help="read a dataset and write it as one checked array file",
        description="Read a dataset's original archives and write <data-dir>/<dataset>.npz, with "
        "a .json of shapes, mean, std, split, source and checksums beside it.",
    )
    parser.add_argument(
        "dataset", choices=[*DATASET_NAMES, *TEXT_NAMES], help="which dataset, or text"
    )
    parser.add_argument("--data-dir", type=Path, required=True, help="where the files go")
    parser.add_argument(
        "--folder", type=Path, help="folder that holds the original archives, or a text of your own"
    )
    parser.add_argument("--mirror", help="download from this address instead of the usual one")
    parser.set_defaults(run=_prepare)


def _prepare(options: argparse.Namespace) -> int:
    from fastff.data.prepare import prepare

    path = prepare(options.dataset, options.data_dir, folder=options.folder, mirror=options.mirror)
    log.info("wrote %s", path)
    return 0


def add_collect(commands: Commands) -> None:
    """Add the command to a parser's sub-commands."""
    parser = commands.add_parser(
        "collect",
        help="join the tidy tables of an experiment's jobs",
        description="Join the tables of several jobs, in the order given, into one of each kind.",
    )
    parser.add_argument("jobs", nargs="+", type=Path, help="folders that `fastff train` wrote")
    parser.add_argument("--output", type=Path, required=True, help="folder for the joined tables")
    parser.set_defaults(run=_collect)


def _collect(options: argparse.Namespace) -> int:
    from fastff.tables.collect import collect

    collect(options.jobs, options.output)
    return 0


def add_bench(commands: Commands) -> None:
    """Add the command to a parser's sub-commands."""
    parser = commands.add_parser(
        "bench",
        help="time something, and write a row per measurement",
        description="Measure what a benchmark of a config file names, and write one CSV table "
        "whose every row says on what it was measured. A run of the workflow keeps its config in "
        "results/<name>/config.yaml.",
    )
    add_config(parser)
    parser.add_argument(
        "--job", required=True, metavar="BENCHMARK", help="a benchmark of the config"
    )
    parser.add_argument(
        "--data", type=Path, help="the prepared .npz of the dataset, where the benchmark trains"
    )
    parser.add_argument("--output", type=Path, required=True, help="the table to write")
    add_device(parser)
    parser.set_defaults(run=_bench)


def _bench(options: argparse.Namespace) -> int:
    from fastff.bench.run import run_benchmark
    from fastff.files import atomic_path

    config = load_config(options.configfile)
    spec = named_benchmark(config, options.job)
    options = with_settings(options, config, BENCH_SETTINGS)
    table = run_benchmark(
        spec,
        options.device,
        options.data,
        stacks_at_once=options.stacks_at_once,
        tf32=options.tf32,
    )
    with atomic_path(options.output) as path:
        table.to_csv(path, index=False)
    return 0


def add_plan(commands: Commands) -> None:
    """Add the command to a parser's sub-commands."""
    parser = commands.add_parser(
        "plan",
        help="say what a run of a config would take, before anything starts",
        description="Print runs, jobs, GPU-hours, CPU-hours, disk and peak memory of every "
        "experiment and benchmark of a config, and the time on the clock: runs and epochs times "
        "the seconds of each that were measured, on the machines of results/reference, or with "
        "--costs on yours.",
    )
    add_config(parser, what="what would be run")
    parser.add_argument(
        "--device",
        choices=["auto", "cpu", "cuda"],
        help="where it would train (default: what the config says; auto: a GPU if there is one)",
    )
    parser.add_argument(
        "--cores",
        type=positive,
        default=os.cpu_count(),
        help="CPU cores at once, of the machine or the cluster (default: this machine's)",
    )
    parser.add_argument("--gpus", type=positive, default=1, help="GPUs at once (default: 1)")
    parser.add_argument(
        "--costs",
        type=Path,
        nargs="+",
        default=[],
        metavar="FILE",
        help="what `fastff costs` wrote of runs on your machine, in place of the reference's; "
        "with --device cuda, of runs that trained on its GPU",
    )
    parser.add_argument(
        "--root", type=Path, default=Path(), help="the repository (default: the current folder)"
    )
    parser.add_argument("--output", type=Path, help="write the table to this CSV file, too")
    parser.set_defaults(run=_plan)


def _plan(options: argparse.Namespace) -> int:
    from fastff.files import atomic_path
    from fastff.train.device import choose_device
    from fastff.workflow.measured import load_costs
    from fastff.workflow.plan import make_plan, report

    config = load_config(options.configfile)
    device = options.device or config.device
    if device == "auto":
        device = choose_device(device).type
    costs = load_costs(options.root, device, options.costs)
    plan = make_plan(config, device, costs, cores=options.cores, gpus=options.gpus)
    if options.output is not None:
        with atomic_path(options.output) as path:
            plan.table.to_csv(path, index=False, float_format="%.4g")
    sys.stdout.write(report(plan, costs, device, cores=options.cores, gpus=options.gpus))
    return 0


def add_progress(commands: Commands) -> None:
    """Add the command to a parser's sub-commands."""
    parser = commands.add_parser(
        "progress",
        help="say how far a run is",
        description="Print in one line how many runs are done of how many, and the time left, of a "
        "run that was started with Snakemake, here or on another machine: it reads the logs. To "
        "see it change: watch fastff progress results/quick",
    )
    parser.add_argument("results", type=Path, help="the run's folder, such as results/quick")
    parser.set_defaults(run=_progress)


def _progress(options: argparse.Namespace) -> int:
    from fastff.workflow.progress import run_progress

    print(run_progress(options.results))
    return 0


def add_schema(commands: Commands) -> None:
    """Add the command to a parser's sub-commands."""
    parser = commands.add_parser(
        "schema",
        help="print the JSON schema of a config file",
        description="Print the JSON schema of a config file, for editors and for the workflow.",
    )
    parser.set_defaults(run=_schema)


def _schema(options: argparse.Namespace) -> int:
    print(json.dumps(json_schema(), indent=2))
    return 0
