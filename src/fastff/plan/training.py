"""How long training takes, and what memory: rates of a device, fitted to what was measured on it.

Seconds of jobs are a sum of what they ask for, each at a rate that is not negative: a start per
job and per stack, operators called and operators replayed from a CUDA graph, floating-point
operations of products and of convolutions, bytes moved, and rows written. The fit makes relative
errors small, so that short jobs count as much as long ones.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy.optimize import nnls

from fastff.plan.stacks import StackCost


@dataclass(frozen=True)
class Demand:
    """What training jobs ask for together.

    Attributes:
        jobs: processes that start.
        stacks: in all of them.
        on_gpu: where steps are replayed from a graph.
        at_once: stacks that share the device.
        data_bytes: of the dataset, resident.

    """

    jobs: int
    stacks: tuple[StackCost, ...]
    on_gpu: bool
    at_once: int
    data_bytes: int

    @property
    def runs(self) -> int:
        """How many runs are trained."""
        return sum(stack.runs for stack in self.stacks)

    def rows(self) -> dict[str, int]:
        """Return the rows of the tidy tables, by table."""
        tables = dict.fromkeys(table for stack in self.stacks for table in stack.rows)
        return {table: sum(s.rows.get(table, 0) for s in self.stacks) for table in tables}

    def time_terms(self) -> list[float]:
        """Return what takes time, in the order of a fit's rates."""
        steps = sum(stack.steps.calls for stack in self.stacks)
        looks = sum(stack.looks.calls for stack in self.stacks)
        # replays of one stack fill the gaps of the others
        replayed = steps / min(self.at_once, len(self.stacks)) if self.on_gpu else 0.0
        work = [stack.steps + stack.looks for stack in self.stacks]
        return [
            self.jobs,
            len(self.stacks),
            looks if self.on_gpu else looks + steps,
            replayed,
            sum(one.flops for one in work),
            sum(one.convolved for one in work),
            sum(one.bytes for one in work),
            sum(self.rows().values()),
        ]

    def memory_terms(self) -> list[float]:
        """Return what takes memory beside the data, in the order of a fit's rates.

        A process by itself, the stacks that are under way at once, and the rows.
        """
        largest = sorted((stack.peak_bytes for stack in self.stacks), reverse=True)
        return [1.0, sum(largest[: self.at_once]), sum(self.rows().values())]


def fit(terms: Sequence[Sequence[float]], measured: Sequence[float]) -> np.ndarray:
    """Return the rates, none negative, whose sums have the least squared relative errors.

    Args:
        terms: a row per measurement.
        measured: what each row sums up to, above 0.

    """
    a, y = np.asarray(terms, dtype=float), np.asarray(measured, dtype=float)
    scale = a.max(axis=0)
    scale[scale == 0] = 1
    rates, _ = nnls(a / scale / y[:, None], np.ones(len(y)))
    return np.asarray(rates / scale)


def left_out(terms: Sequence[Sequence[float]], measured: Sequence[float]) -> np.ndarray:
    """Return each measurement's relative error by a fit to all the others, signed."""
    errors = []
    for place, (row, value) in enumerate(zip(terms, measured, strict=True)):
        rest = [other for other in range(len(measured)) if other != place]
        rates = fit([terms[other] for other in rest], [measured[other] for other in rest])
        errors.append(float(np.dot(row, rates)) / value - 1)
    return np.asarray(errors)


def together(demands: Iterable[Demand]) -> Demand:
    """Return what several jobs of one dataset ask for."""
    parts = list(demands)
    stacks = tuple(stack for part in parts for stack in part.stacks)
    return replace(parts[0], jobs=sum(part.jobs for part in parts), stacks=stacks)
