"""Reference results: a whole config trained on one machine, small enough for the repository."""

from __future__ import annotations

import json
import logging
import platform
import shlex
import sys
from collections.abc import Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from importlib import metadata
from pathlib import Path
from time import perf_counter
from typing import Any

import pandas as pd
import torch

from fastff.bench.provenance import provenance
from fastff.bench.run import run_benchmark
from fastff.config.base import unknown
from fastff.config.errors import ConfigError
from fastff.config.experiment import EngineBenchmark, Experiment
from fastff.config.language_models import LanguageBenchmark, LanguageModel
from fastff.config.load import Config
from fastff.data.dataset import Dataset, load
from fastff.data.text_names import TEXT_NAMES
from fastff.files import atomic_path, write_sums
from fastff.language.job import (
    failed_language_runs,
    tidy_language_tables,
    train_language_models,
)
from fastff.language.text import Text, load_text
from fastff.tables.provenance import FILE, launches, with_launch
from fastff.tables.schema import LANGUAGE, TIDY
from fastff.train.job import train
from fastff.train.store import run_context, run_stores
from fastff.train.tables import joined_tables
from fastff.workflow.digests import stage_digest
from fastff.workflow.progress import Progress, failures

log = logging.getLogger(__name__)
PACKAGES = ("numpy", "pandas", "torch", "triton")


def make_reference(
    config: Config,
    paths: Sequence[Path],
    output: Path,
    device: torch.device,
    *,
    only: Collection[str] = (),
    store: Path | None = None,
) -> None:
    """Train the experiments of a config, time its training, and write what a reference holds.

    The tidy tables are `<output>/tidy/<experiment>/<table>.csv.xz`, and the measurements
    `<output>/benchmarks/<name>.csv`. `<output>/provenance.json` says how they came about, a record
    per launch: command, commit, versions, device, datasets with checksums, and per experiment the
    number of runs, seconds, and peak bytes that torch allocated on a CUDA device.

    Args:
        config: what to train and to time.
        paths: the prepared datasets of it.
        output: made if need be; what it has of other experiments stays.
        device: where to train.
        only: the experiments and benchmarks to make; all by default.
        store: folder of finished runs, to take and to add to.

    Raises:
        ConfigError: for an experiment that isn't there, and one whose dataset is not given.

    """
    blocks: dict[str, Experiment | LanguageModel | EngineBenchmark | LanguageBenchmark] = {
        **config.experiments,
        **config.language_models,
        **config.trained_benchmarks(),
        **config.language_benchmarks(),
    }
    for name in only:
        if name not in blocks:
            raise ConfigError(f"--only: {unknown(f'experiment {name!r}', name, blocks)}")
    blocks = {name: block for name, block in blocks.items() if not only or name in only}
    loaded = [
        load_text(path, device=device) if path.stem in TEXT_NAMES else load(path, device=device)
        for path in paths
    ]
    given = {data.name: (path, data) for path, data in zip(paths, loaded, strict=True)}
    for name, block in blocks.items():
        dataset = getattr(block, "dataset", None)
        if dataset is not None and dataset not in given:
            has = ", ".join(given)
            raise ConfigError(f"{name}: its dataset is {dataset}, but --data has {has}")
    start = perf_counter()
    made: dict[str, Any] = {}
    with ThreadPoolExecutor() as writers:
        writing = []
        for name, block in blocks.items():
            path, data = given.get(getattr(block, "dataset", ""), (None, None))
            if isinstance(block, EngineBenchmark | LanguageBenchmark):
                began = perf_counter()
                measured = run_benchmark(
                    config.benchmark_spec(name),
                    device.type,
                    path,
                    stacks_at_once=config.stacks_at_once,
                )
                _write(measured, output / "benchmarks" / f"{name}.csv")
                made[name] = {"seconds": round(perf_counter() - began, 1)}
                continue
            if isinstance(data, Text):
                tables, made[name] = _language_model(config, name, data, store)
            elif data is not None:
                tables, made[name] = _experiment(config, name, data, store)
            for table, rows in tables.items():
                target = output / "tidy" / name / f"{table}.csv.xz"
                writing.append(writers.submit(_write, rows, target))
        for written in writing:
            written.result()
    for name in made.keys() & {*config.experiments, *config.language_models}:
        schema = LANGUAGE if name in config.language_models else TIDY
        write_sums(output / "tidy" / name, (f"{table}.csv.xz" for table in schema))
    used = {getattr(block, "dataset", None) for block in blocks.values()}
    record = {
        "command": shlex.join(["fastff", *sys.argv[1:]]),
        **provenance(device),
        "python": platform.python_version(),
        "versions": {package: _version(package) for package in PACKAGES},
        "datasets": {name: data.sha256 for name, (_, data) in given.items() if name in used},
        "stacks_at_once": config.stacks_at_once,
        "seconds": round(perf_counter() - start, 1),
        "made": made,
    }
    records = with_launch(launches(output), record)
    with atomic_path(output / FILE) as temporary:
        temporary.write_text(json.dumps(records, indent=2) + "\n", encoding="utf-8")


def _experiment(
    config: Config, name: str, data: Dataset, store: Path | None
) -> tuple[dict[str, pd.DataFrame], dict[str, Any]]:
    """Return the tidy tables of an experiment, and what training it took."""
    device, start = data.train_inputs.device, perf_counter()
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    specs = config.train_specs(name)
    contexts = [run_context(spec, data, stage_digest("runs")) for spec in specs]
    jobs = train(
        specs,
        data,
        runs_per_stack=config.runs_per_stack,
        stacks_at_once=config.stacks_at_once,
        stores=run_stores(store, contexts),
        watch=Progress,
    )
    seconds = round(perf_counter() - start, 1)
    peak = torch.cuda.max_memory_allocated(device) if device.type == "cuda" else 0
    n_runs, failed = sum(map(len, jobs)), failures(specs, jobs)
    _judge(config, failed)
    log.info("%s: %d runs in %.1f s", name, n_runs, seconds)
    return joined_tables(specs, jobs), {"runs": n_runs, "seconds": seconds, "peak_bytes": peak}


def _language_model(
    config: Config, name: str, text: Text, store: Path | None
) -> tuple[dict[str, pd.DataFrame], dict[str, Any]]:
    """Return the tidy tables of a language model, and what training it took."""
    device = text.train.device
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    specs = config.language_models[name].specs(name)
    jobs = train_language_models(specs, text, sources=stage_digest("language"), store=store)
    # also of those that an earlier launch trained
    seconds = round(sum(result.seconds for job in jobs for result in job.values()), 1)
    peak = torch.cuda.max_memory_allocated(device) if device.type == "cuda" else 0
    n_runs = sum(map(len, jobs))
    _judge(config, failed_language_runs(specs, jobs))
    made = {"runs": n_runs, "seconds": seconds, "peak_bytes": peak}
    return tidy_language_tables(specs, jobs), made


def _judge(config: Config, failed: Sequence[str]) -> None:
    """Log a line per failed run; ValueError where the config says that none may fail."""
    for line in failed:
        log.warning("%s", line)
    if failed and config.failed_runs == "error":
        raise ValueError(f"failed_runs = error: {len(failed)} runs failed: {failed[0]}")


def _write(table: pd.DataFrame, path: Path) -> None:
    with atomic_path(path) as temporary:
        table.to_csv(temporary, index=False, compression="xz" if path.suffix == ".xz" else None)


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return ""
