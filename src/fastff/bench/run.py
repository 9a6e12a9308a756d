"""One benchmark of a config, whichever its kind."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import torch

from fastff.bench.engine import engine_benchmark
from fastff.bench.language import language_benchmark
from fastff.bench.processes import timed_in_processes
from fastff.bench.timing import timing_benchmark
from fastff.config.benchmarks import EngineBenchmarkSpec, TimingBenchmarkSpec
from fastff.config.errors import ConfigError
from fastff.config.language import LanguageBenchmarkSpec
from fastff.train.device import choose_device, set_precision


def run_benchmark(
    spec: EngineBenchmarkSpec | TimingBenchmarkSpec | LanguageBenchmarkSpec,
    device: str,
    data: Path | None = None,
    *,
    stacks_at_once: int = 4,
    tf32: bool = False,
) -> pd.DataFrame:
    """Return the measurements of a benchmark.

    Args:
        spec: what to measure.
        device: "cpu", "cuda" or "auto". Training is timed on CUDA where there is a device, single
            operations then on both.
        data: the prepared dataset, where the benchmark trains.
        stacks_at_once: of the engine, on a CUDA device.
        tf32: whether training rounds the factors of matrix products to TF32 on CUDA; single
            operations have that as one of their dtypes.

    Raises:
        ConfigError: where `data` is missing.
        ValueError: for "cuda" where there is no CUDA device.
        ChildProcessError: where a process that times operations fails.

    """
    chosen = choose_device(device)
    both = device == "auto" and chosen.type == "cuda"
    devices = [torch.device("cpu"), chosen] if both else [chosen]
    if isinstance(spec, TimingBenchmarkSpec):
        return timed_in_processes(timing_benchmark, spec, devices)
    if isinstance(spec, LanguageBenchmarkSpec):
        return timed_in_processes(language_benchmark, spec, devices)
    if data is None:
        raise ConfigError(f"--data is missing: the benchmark trains on {spec.dataset}")
    set_precision(chosen, tf32=tf32)
    return engine_benchmark(spec, data, chosen, stacks_at_once=stacks_at_once)
