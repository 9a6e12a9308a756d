"""The training engine against the plain way, side by side in one process."""

from __future__ import annotations

import gc
import logging
import multiprocessing
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import pandas as pd
import torch

from fastff.bench.plain import PlainTraining
from fastff.bench.provenance import provenance
from fastff.config.engine_benchmark import EngineBenchmarkSpec
from fastff.config.grid import Grid, Point
from fastff.config.job import TrainSpec
from fastff.config.model import Variant
from fastff.data.dataset import Dataset, load
from fastff.tables.schema import ENGINE
from fastff.train.build import Sizes, build_model
from fastff.train.job import train
from fastff.train.seeds import generator

log = logging.getLogger(__name__)


def engine_benchmark(
    spec: EngineBenchmarkSpec, path: Path, device: torch.device, *, stacks_at_once: int = 4
) -> pd.DataFrame:
    """Return the time of one run and epoch of each side, a row per point, side and workers.

    An epoch is a pass over the training data and an evaluation on the test data. The plain way
    has the whole machine, with all its threads. The engine trains as its jobs do: on a CUDA
    device several stacks at once; on a CPU as many processes as there are cores, of one thread
    each. Its time is that of the whole training, from building the models to the last
    evaluation, over its runs and epochs; only the start of processes is left out.

    The columns are those of `fastff.tables.schema.ENGINE`: `side` is "plain" or "engine", `runs`
    are at the same time, `s_per_run_epoch` is the median over repeats with its quartiles, and
    `peak_bytes` what torch allocated on a CUDA device, the engine's resident data included; 0 on
    a CPU.

    Args:
        spec: what to measure.
        path: the prepared dataset.
        device: where to train.
        stacks_at_once: stacks that share a CUDA device.

    """
    torch.set_num_threads(_n_cores())
    host = load(path)
    constant = {
        "dataset": spec.dataset,
        "batch_size": spec.recipe.batch_size,
        "device": device.type,
        **provenance(device),
    }
    rows: list[dict[str, Any]] = []
    with _engine(path, device, spec.runs, stacks_at_once) as (run_engine, n_parallel):
        for variant, point, job in _jobs(spec, spec.runs * n_parallel):
            sides: dict[tuple[str, int], Callable[[], object]] = {
                ("plain", workers): _plain(spec, variant, point, host, device, workers).epoch
                for workers in spec.workers
            }
            sides["engine", 0] = lambda job=job: run_engine(job)  # type: ignore[misc]
            times = _in_turn(sides, spec.repeats, device)
            for (side, workers), (seconds, peak) in times.items():
                runs, epochs = (len(job.seeds), spec.recipe.epochs) if side == "engine" else (1, 1)
                if device.type == "cuda" and side == "engine":
                    peak += host.n_bytes
                low, middle, high = np.quantile(seconds, [0.25, 0.5, 0.75]) / (runs * epochs)
                rows.append(
                    {
                        "variant": variant.name,
                        "label": variant.label,
                        "depth": point.depth,
                        "hidden_features": point.hidden_features,
                        "side": side,
                        "workers": workers,
                        "runs": runs,
                        "epochs": epochs,
                        "s_per_run_epoch": middle,
                        "s_q25": low,
                        "s_q75": high,
                        "peak_bytes": peak,
                        **constant,
                    }
                )
                log.info("%s %s %s: %.4g s per run and epoch", variant.name, point, side, middle)
    return pd.DataFrame(rows, columns=list(ENGINE.header))


def _jobs(spec: EngineBenchmarkSpec, n_seeds: int) -> Iterator[tuple[Variant, Point, TrainSpec]]:
    """Yield every variant and point, with the job that the engine trains there."""
    for variant in spec.variants:
        seen = set()
        for place in spec.grid.points():
            point = variant.model.point(place)
            if point in seen:
                continue
            seen.add(point)
            job = TrainSpec(
                experiment="engine_benchmark",
                dataset=spec.dataset,
                variant=variant,
                grid=Grid(depth=(place.depth,), hidden_features=(place.hidden_features,)),
                seeds=tuple(range(n_seeds)),
                recipe=spec.recipe,
            )
            yield variant, point, job


def _plain(
    spec: EngineBenchmarkSpec,
    variant: Variant,
    point: Point,
    host: Dataset,
    device: torch.device,
    workers: int,
) -> PlainTraining:
    sizes = Sizes(host.in_features, host.n_classes, point, host.image_shape)
    model = build_model(variant, sizes, generator=generator(0, "initialisation"))
    return PlainTraining(model.to(device), host, spec.recipe, workers)


def _in_turn(
    sides: dict[tuple[str, int], Callable[[], object]], repeats: int, device: torch.device
) -> dict[tuple[str, int], tuple[list[float], int]]:
    """Return every side's seconds and peak memory, measured in turn after a warm-up of each."""
    seconds: dict[tuple[str, int], list[float]] = {key: [] for key in sides}
    peaks = dict.fromkeys(sides, 0)
    for repeat in range(repeats + 1):
        for key, run in sides.items():
            before = 0
            if device.type == "cuda":
                gc.collect()  # what an earlier run left behind is not this one's
                torch.cuda.synchronize(device)
                torch.cuda.reset_peak_memory_stats(device)
                before = torch.cuda.memory_allocated(device)
            start = perf_counter()
            run()
            if device.type == "cuda":
                torch.cuda.synchronize(device)
                peaks[key] = max(peaks[key], torch.cuda.max_memory_allocated(device) - before)
            if repeat > 0:
                seconds[key].append(perf_counter() - start)
    return {key: (seconds[key], peaks[key]) for key in sides}


@contextmanager
def _engine(
    path: Path, device: torch.device, runs: int, stacks_at_once: int
) -> Iterator[tuple[Callable[[TrainSpec], object], int]]:
    """Yield what trains a job, and how many stacks of `runs` it trains at the same time."""
    if device.type == "cuda":
        data = load(path, device=device)

        def here(job: TrainSpec) -> object:
            return train([job], data, runs_per_stack=runs, stacks_at_once=stacks_at_once)

        yield here, stacks_at_once
        return
    n_processes = _n_cores()
    spawn = multiprocessing.get_context("spawn")  # forked threads of torch would hang
    with ProcessPoolExecutor(n_processes, spawn, _start_process, (path,)) as pool:

        def in_processes(job: TrainSpec) -> object:
            parts = [job.seeds[start::n_processes] for start in range(n_processes)]
            jobs = [job.model_copy(update={"seeds": seeds}) for seeds in parts]
            return list(pool.map(_train_in_process, jobs, [runs] * n_processes))

        yield in_processes, n_processes


_data: Dataset | None = None


def _start_process(path: Path) -> None:
    global _data
    torch.set_num_threads(1)
    _data = load(path)


def _train_in_process(job: TrainSpec, runs: int) -> None:
    assert _data is not None
    train([job], _data, runs_per_stack=runs)


def _n_cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
