"""The time of one call: eager, under torch.compile, or replayed from a CUDA graph."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from fastff.bench.forms import Run

CLOCKS = {"cpu": "perf_counter", "cuda": "CUDA events"}


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
        self, run: Run, inputs: Sequence[Tensor], mode: str, seconds: float, *, gradients: bool
    ) -> None:
        self.inputs = inputs
        self.is_cuda = inputs[0].is_cuda
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
        if not self.is_cuda:
            start = time.perf_counter()
            calls()
            return time.perf_counter() - start
        begin, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        torch.cuda.synchronize()
        begin.record()
        calls()
        end.record()
        end.synchronize()
        milliseconds: float = begin.elapsed_time(end)
        return milliseconds / 1e3
