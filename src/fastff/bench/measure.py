"""What is measured: the time and the peak memory of one call, and the rates of a device."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor
from torch.profiler import ProfilerActivity, profile

from fastff.bench.shape import Rates

CLOCKS = {"cpu": "perf_counter", "cuda": "CUDA events"}  # of a `Timer`
# The dtypes of benchmarks: those of torch, and float32 whose products are rounded to TF32.
DTYPES = {
    "float32": torch.float32,
    "tf32": torch.float32,
    "bfloat16": torch.bfloat16,
    "float16": torch.float16,
}
COPIED = {"cpu": 2**28, "cuda": 2**31}  # bytes, far beyond any cache
SIDE = {"cpu": 1024, "cuda": 8192}  # of the square matrices that are multiplied


class Timer:
    """Samples of the time that one call takes, over inputs that take turns.

    Args:
        run: what to time.
        inputs: all of one shape, on one device.
        mode: "eager", "compiled" or "graph".
        seconds: that a sample goes on for, unless one call takes longer.
        gradients: whether `run` takes gradients; else it runs in inference mode.

    """

    def __init__(
        self,
        run: Callable[[Tensor], object],
        inputs: Sequence[Tensor],
        mode: str,
        seconds: float,
        *,
        gradients: bool,
    ) -> None:
        self.inputs = inputs
        self.device = inputs[0].device
        self.gradients = gradients
        self.run = torch.compile(run, dynamic=False) if mode == "compiled" else run
        self.graph: torch.cuda.CUDAGraph | None = None
        self.n_calls = 1
        self._all_inputs()  # compiles what has to be compiled
        self.n_calls = self._calls_in(seconds)
        if mode == "graph":
            self._capture()

    def sample(self) -> float:
        """Return the seconds of one call, a mean over the sample."""
        calls = self._all_inputs if self.graph is None else self.graph.replay
        return self._seconds(calls) / self.n_calls

    def _calls_in(self, seconds: float) -> int:
        """Return how many calls last `seconds`, at least 1 and at most one per input."""
        self.n_calls = min(3, len(self.inputs))
        one = self._seconds(self._all_inputs) / self.n_calls
        return max(1, min(len(self.inputs), round(seconds / one)))

    def _all_inputs(self) -> None:
        with torch.inference_mode(not self.gradients):
            for x in self.inputs[: self.n_calls]:
                self.run(x)

    def _capture(self) -> None:
        side = torch.cuda.Stream()
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            self._all_inputs()
        torch.cuda.current_stream().wait_stream(side)
        self.graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self.graph):
            self._all_inputs()
        self.graph.replay()

    def _seconds(self, calls: Callable[[], None]) -> float:
        if self.device.type != "cuda":
            return seconds_and_peak(calls, self.device)[0]
        begin, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        torch.cuda.synchronize()
        begin.record()
        calls()
        end.record()
        end.synchronize()
        milliseconds: float = begin.elapsed_time(end)
        return milliseconds / 1e3


def seconds_and_peak(run: Callable[[], object], device: torch.device) -> tuple[float, int]:
    """Return how long `run` takes, and the most bytes torch allocates for it; on a CPU 0."""
    if device.type != "cuda":
        start = time.perf_counter()
        run()
        return time.perf_counter() - start, 0
    torch.cuda.synchronize(device)
    torch.cuda.reset_peak_memory_stats(device)
    before = torch.cuda.memory_allocated(device)
    start = time.perf_counter()
    run()
    torch.cuda.synchronize(device)
    seconds = time.perf_counter() - start
    return seconds, torch.cuda.max_memory_allocated(device) - before


def peak_bytes(run: Callable[[], object], device: torch.device) -> int:
    """Return the most bytes that torch allocates for `run`, its outputs included."""
    if device.type == "cuda":
        return seconds_and_peak(run, device)[1]
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiled:
        run()
    assert profiled.profiler is not None
    events = profiled.profiler.kineto_results.events()
    changes = [event for event in events if event.name() == "[memory]"]
    peak = held = 0
    for change in sorted(changes, key=lambda event: event.start_ns()):
        held += change.nbytes()
        peak = max(peak, held)
    return peak


@contextmanager
def with_tf32(dtype: str) -> Iterator[None]:
    """Round the factors of matrix products on CUDA to TF32 within, if `dtype` is "tf32"."""
    before = torch.backends.cuda.matmul.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = dtype == "tf32"
    try:
        yield
    finally:
        torch.backends.cuda.matmul.allow_tf32 = before


def measure_rates(device: torch.device, dtype: str, *, repeats: int = 5) -> Rates:
    """Return the best rates over repeats: a copy in the device's memory, and a matrix product.

    Args:
        device: to measure, with as many threads as torch has now.
        dtype: of the product, a key of DTYPES.
        repeats: of each.

    """

    def best(run: Callable[[], object]) -> float:
        run()
        return min(seconds_and_peak(run, device)[0] for _ in range(repeats))

    source = torch.empty(COPIED[device.type], dtype=torch.uint8, device=device).fill_(1)
    target = torch.empty_like(source)
    side = SIDE[device.type]
    a = torch.randn(side, side, device=device).to(DTYPES[dtype])
    out = torch.empty_like(a)
    with with_tf32(dtype):
        product = best(lambda: torch.mm(a, a, out=out))
    copy = best(lambda: target.copy_(source))
    return Rates(2 * source.numel() / copy, 2 * side**3 / product)
