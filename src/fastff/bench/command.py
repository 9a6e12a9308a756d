"""`fastff bench`: the command."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Annotated

from pydantic import Field, TypeAdapter

from fastff.arguments import add_device, text_of
from fastff.bench.engine_spec import EngineBenchmarkSpec
from fastff.bench.timing_spec import TimingBenchmarkSpec
from fastff.config import load_config
from fastff.faults import ConfigError, describe_faults

BENCHMARK: TypeAdapter[EngineBenchmarkSpec | TimingBenchmarkSpec] = TypeAdapter(
    Annotated[EngineBenchmarkSpec | TimingBenchmarkSpec, Field(discriminator="kind")]
)


def add_bench(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command to a parser's sub-commands."""
    parser = commands.add_parser(
        "bench",
        help="time something, and write a row per measurement",
        description="Measure what a benchmark of a config file names, and write one CSV table "
        "whose every row says on what it was measured. What to measure is either --spec, as the "
        "workflow gives it, or a benchmark of a config file.",
    )
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--spec", help="a benchmark as JSON text, or a file that holds it")
    what.add_argument("--configfile", type=Path, help="a config file; needs --benchmark")
    parser.add_argument("--benchmark", help="a benchmark of the config file")
    parser.add_argument(
        "--data", type=Path, help="the prepared .npz of the dataset, where the benchmark trains"
    )
    parser.add_argument("--output", type=Path, required=True, help="the table to write")
    add_device(parser)
    parser.set_defaults(run=_bench)


def _bench(options: argparse.Namespace) -> int:
    from fastff.bench.run import run_benchmark
    from fastff.files import atomic_path

    table = run_benchmark(
        bench_spec(options),
        options.device,
        options.data,
        stacks_at_once=options.stacks_at_once,
        tf32=options.tf32,
    )
    with atomic_path(options.output) as path:
        table.to_csv(path, index=False)
    return 0


def bench_spec(options: argparse.Namespace) -> EngineBenchmarkSpec | TimingBenchmarkSpec:
    """Return what --spec, or --configfile and --benchmark, name."""
    if options.spec is not None:
        with describe_faults("--spec"):
            return BENCHMARK.validate_json(text_of(options.spec))
    benchmarks = load_config(options.configfile).benchmarks
    if options.benchmark not in benchmarks:
        allowed = ", ".join(benchmarks) or "none, for it has no benchmarks"
        raise ConfigError(f"--benchmark {options.benchmark}: allowed are {allowed}")
    return benchmarks[options.benchmark].spec()
