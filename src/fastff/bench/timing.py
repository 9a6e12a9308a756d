"""The benchmark of single operations: every case of a config, one row per measured point."""

from __future__ import annotations

import gc
import itertools
import logging
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from fastff.bench.forms import BUILDERS, Call, UnavailableError
from fastff.bench.measure import CLOCKS, DTYPES, Timer, measure_rates, peak_bytes, with_tf32
from fastff.bench.provenance import provenance
from fastff.bench.shape import Rates, Shape
from fastff.config.benchmarks import (
    Mode,
    TimedVariant,
    TimingBenchmarkSpec,
    TimingCase,
)
from fastff.config.timed_forms import TIMED_FORMS
from fastff.tables.schema import PROCESS, TIMINGS

log = logging.getLogger(__name__)

INPUT_BYTES = {"cpu": 2**27, "cuda": 2**28}  # of all inputs of a point: more than a cache holds
MAX_INPUTS = 1024


@dataclass(frozen=True)
class TimedPoint:
    """What is measured in turn: all variants of a case at one size, dtype and mode."""

    name: str
    case: TimingCase
    batch: int
    depth: int
    hidden_features: int
    dtype: str

    def shape(self, variant: TimedVariant) -> Shape:
        """Return the sizes for a variant; a feed-forward layer is as wide as all experts."""
        case, n_experts = self.case, 2**self.depth
        width = self.hidden_features * (n_experts if variant.form == "dense" else 1)
        return Shape(
            batch=self.batch,
            in_features=case.in_features,
            hidden_features=0 if case.op == "gate" else variant.hidden_features or width,
            out_features=case.out_features or n_experts,
            depth=self.depth,
            top_k=n_experts if case.top_k == "all" else 1,
            activation=case.activation,
            itemsize=DTYPES[self.dtype].itemsize,
        )

    def __str__(self) -> str:
        return (
            f"{self.name}: batch {self.batch}, depth {self.depth}, hidden_features "
            f"{self.hidden_features}, {self.dtype}"
        )


def timing_benchmark(
    spec: TimingBenchmarkSpec, devices: list[torch.device], process: int = 0
) -> pd.DataFrame:
    """Return the time of every point of every case here, beside its roofline and peak memory.

    The variants of a point take turns, sample by sample. Inputs take turns too: together they are
    larger than a cache, as long as a call is not so short that MAX_INPUTS of them aren't. The
    roofline is the compulsory bytes or flops over the rates of this run, whichever takes longer;
    what stays in a cache between calls can beat it.

    What can't run here (a peer that isn't installed, more memory than there is) is left out, with
    a line in the log.

    Columns: those of TIMINGS. `median_us`, `q25_us` and `q75_us` are microseconds of one call, over
    `repeats` samples; `peak_bytes` is what torch allocates during a call, outputs included.

    Args:
        spec: what to measure.
        devices: to measure on, at most one of a type; cases of other types are left out.
        process: the number of this process among those of the benchmark.

    """
    torch.set_num_threads(spec.threads)
    rows: list[dict[str, Any]] = []
    for device in devices:
        constant = {PROCESS: process, **provenance(device), "clock": CLOCKS[device.type]}
        rates: dict[str, Rates] = {}
        for name, case in spec.cases.items():
            if case.device != device.type:
                continue
            for dtype in case.dtypes:
                if dtype not in rates:
                    rates[dtype] = measure_rates(device, dtype)
                    log.info("%s, %s: %s", device.type, dtype, rates[dtype])
            for point in _points(name, case):
                for row in _measure(point, spec, device, rates[point.dtype]):
                    rows.append({**row, **constant})
                log.info("%s", point)
    return pd.DataFrame(rows, columns=list(TIMINGS.header))


def _points(name: str, case: TimingCase) -> Iterator[TimedPoint]:
    for dtype, batch, depth in itertools.product(case.dtypes, case.batch, case.depth):
        for width in case.widths(depth):
            yield TimedPoint(name, case, batch, depth, width, dtype)


def _measure(
    point: TimedPoint, spec: TimingBenchmarkSpec, device: torch.device, rates: Rates
) -> Iterator[dict[str, Any]]:
    """Yield the rows of a point."""
    torch.manual_seed(0)
    torch.compiler.reset()  # or functions compiled at earlier points would count towards a limit
    if device.type == "cuda":
        gc.collect()
        torch.cuda.empty_cache()  # what the last point's graphs held
    inputs = _inputs(point, device)
    timed: list[tuple[TimedVariant, Mode, Call, int, Timer]] = []
    with with_tf32(point.dtype):
        for variant in point.case.variants:
            if variant.dtypes is not None and point.dtype not in variant.dtypes:
                continue
            try:
                build = BUILDERS[point.case.op][variant.form]
                call = build(point.shape(variant), DTYPES[point.dtype], device)
                xs = [x.detach().requires_grad_(call.gradients) for x in inputs]
                with torch.inference_mode(not call.gradients):
                    call.run(xs[0])  # what is compiled or allocated once doesn't count
                    peak = peak_bytes(partial(call.run, xs[0]), device)
                for mode in variant.modes or point.case.modes:
                    timer = _timer(call, xs, mode, spec.seconds, f"{point}: {variant.name}")
                    if timer is not None:
                        timed.append((variant, mode, call, peak, timer))
            except UnavailableError as error:
                log.info("%s: %s left out: %s", point, variant.name, error)
            except torch.OutOfMemoryError:
                log.info("%s: %s left out: it takes more memory than there is", point, variant.name)
                gc.collect()
        samples = np.array([[timer.sample() for *_, timer in timed] for _ in range(spec.repeats)])
    for (variant, mode, call, peak, _), seconds in zip(timed, samples.T, strict=True):
        yield _row(point, variant, mode, call, peak, seconds, rates)


def _timer(call: Call, xs: list[Tensor], mode: str, seconds: float, what: str) -> Timer | None:
    """Return the timer of a call, or None where it can't be compiled or captured."""
    try:
        return Timer(call.run, xs, mode, seconds, gradients=call.gradients)
    except torch.OutOfMemoryError:
        raise
    except RuntimeError as error:
        if mode == "eager":
            raise
        log.info("%s left out in mode %s: %s", what, mode, str(error).splitlines()[0])
        return None


def _inputs(point: TimedPoint, device: torch.device) -> list[Tensor]:
    dtype = DTYPES[point.dtype]
    one = point.batch * point.case.in_features * dtype.itemsize
    count = min(MAX_INPUTS, max(2, -(-INPUT_BYTES[device.type] // one)))
    size = (count, point.batch, point.case.in_features)
    return list(torch.randn(size, device=device).to(dtype).unbind())


def _row(
    point: TimedPoint,
    variant: TimedVariant,
    mode: str,
    call: Call,
    peak: int,
    seconds: np.ndarray,
    rates: Rates,
) -> dict[str, Any]:
    low, middle, high = np.quantile(seconds, [0.25, 0.5, 0.75]) * 1e6
    case, shape = point.case, call.shape
    return {
        "case": point.name,
        "op": case.op,
        "variant": variant.name,
        "label": variant.label or TIMED_FORMS[case.op][variant.form],
        "device": case.device,
        "dtype": point.dtype,
        "batch": point.batch,
        "in_features": case.in_features,
        "hidden_features": shape.hidden_features,
        "out_features": shape.out_features,
        "depth": shape.depth,
        "n_experts": shape.n_experts,
        "top_k": shape.top_k,
        "mode": mode,
        "median_us": middle,
        "q25_us": low,
        "q75_us": high,
        "bytes": call.work.bytes,
        "flops": call.work.flops,
        "roofline_us": 1e6 * rates.roofline(call.work),
        "peak_bytes": peak,
    }
