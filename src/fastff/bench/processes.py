"""A benchmark in processes of its own, one after another."""

from __future__ import annotations

import logging
import multiprocessing
import os
import signal
from collections.abc import Callable
from contextlib import suppress
from multiprocessing.connection import Connection
from threading import Thread
from typing import TypeVar

import pandas as pd
import torch

from fastff.config.benchmarks import TimingBenchmarkSpec
from fastff.config.language import LanguageBenchmarkSpec

TimedSpec = TypeVar("TimedSpec", TimingBenchmarkSpec, LanguageBenchmarkSpec)
Measure = Callable[[TimedSpec, list[torch.device], int], pd.DataFrame]


def timed_in_processes(
    measure: Measure[TimedSpec], spec: TimedSpec, devices: list[torch.device]
) -> pd.DataFrame:
    """Return the rows of `measure` from each of `spec.processes`, those of 0 first.

    One process is this one. Several are fresh ones, each of which imports, allocates, captures and
    compiles anew, but for what the caches on disk hold of kernels. They end with this process,
    however it ends.

    Args:
        measure: `timing_benchmark` or `language_benchmark`.
        spec: what to measure.
        devices: as `measure` takes them.

    Raises:
        ChildProcessError: where a process fails; it has then said why on stderr.

    """
    if spec.processes == 1:
        return measure(spec, devices, 0)
    tables = [_timed(measure, spec, devices, process) for process in range(spec.processes)]
    return pd.concat(tables, ignore_index=True)


def _timed(
    measure: Measure[TimedSpec], spec: TimedSpec, devices: list[torch.device], process: int
) -> pd.DataFrame:
    """Return the rows of a fresh process. Raises ChildProcessError."""
    spawn = multiprocessing.get_context("spawn")  # what is forked can't use CUDA
    receiver, sender = spawn.Pipe(duplex=False)
    child = spawn.Process(target=_time, args=(sender, measure, spec, devices, process), daemon=True)
    child.start()
    sender.close()  # or the end of the child's would not be seen
    table = None
    with receiver, suppress(EOFError, OSError):
        table = receiver.recv()
    child.join()
    if table is None or child.exitcode:
        raise ChildProcessError(
            f"process {process} of {spec.processes} ended with exit code {child.exitcode}"
        )
    return table


def _time(
    sender: Connection,
    measure: Measure[TimedSpec],
    spec: TimedSpec,
    devices: list[torch.device],
    process: int,
) -> None:
    """Send the rows of this process."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent, which ends this one
    Thread(target=_end_with_parent, daemon=True).start()
    logging.basicConfig(level=logging.INFO, format=f"%(levelname)s process {process}: %(message)s")
    sender.send(measure(spec, devices, process))


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)
