"""`fastff bench`: the command."""

from __future__ import annotations

import argparse
from pathlib import Path

from fastff.cli.arguments import add_config, add_device, with_settings
from fastff.config.jobs import BENCH_SETTINGS, named_benchmark
from fastff.config.load import load_config


def add_bench(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
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
    benchmark = named_benchmark(config, options.job)
    options = with_settings(options, config, BENCH_SETTINGS)
    table = run_benchmark(
        benchmark.spec(),
        options.device,
        options.data,
        stacks_at_once=options.stacks_at_once,
        tf32=options.tf32,
    )
    with atomic_path(options.output) as path:
        table.to_csv(path, index=False)
    return 0
