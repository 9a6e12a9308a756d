"""The run store: finished runs by a key of everything their result depends on.

A job trains only the runs that the store lacks, so that a new seed or grid point costs only
itself, and a killed job loses only the stack it was training.

The runs of a stack are stored all or none: they go into one file of the folder `pending` first. A
job that was killed between two of them would train the rest in a smaller stack, whose last bits may
be others.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from fastff.config.job import Run, TrainSpec
from fastff.data.dataset import Dataset
from fastff.train.device import computed_on
from fastff.train.entries import DAMAGED, entry_path, read_entries, write_entries
from fastff.train.results import RunResult

log = logging.getLogger(__name__)


class RunStore:
    """Results of a job's runs in a folder that jobs share, one JSON file each.

    Args:
        folder: made when the first run is stored.
        context: JSON values of all that the results depend on beside model and seed.

    """

    def __init__(self, folder: Path, context: dict[str, Any]) -> None:
        self.folder = folder
        self.pending = folder / "pending"
        self.context = context

    def path(self, run: Run) -> Path:
        """Return the file of a run: its name is the SHA-256 of the run's key."""
        values = {**self.context, "model": run.model.model_dump(mode="json"), "seed": run.seed}
        return entry_path(self.folder, values)

    def get(self, run: Run) -> RunResult | None:
        """Return the run's result, or None where it isn't stored or can't be read."""
        path = self.path(run)
        try:
            return RunResult.from_json(read_entries(path)[path.name])
        except FileNotFoundError:
            return None
        except DAMAGED as error:
            log.warning("stored run %s is damaged (%r): training it again", path, error)
            return None

    def put(self, results: Mapping[Run, RunResult]) -> None:
        """Store the results of a stack's runs, all or, if the process ends, none."""
        values = {self.path(run).name: result.to_json() for run, result in results.items()}
        pending = self.pending / f"{next(iter(values))}"
        write_entries(pending, values)
        self._take_in(pending, values)

    def recover(self) -> None:
        """Take in what a process that ended in `put` has left pending."""
        for pending in sorted(self.pending.glob("[!.]*.json")):
            try:
                self._take_in(pending, read_entries(pending))
            except FileNotFoundError:  # another job was faster
                continue
            except ValueError as error:
                log.warning("pending runs %s are damaged (%r): not used", pending, error)
                pending.unlink(missing_ok=True)

    def _take_in(self, pending: Path, values: dict[str, Any]) -> None:
        for name, result in values.items():
            write_entries(self.folder / name[:2] / name, {name: result})
        pending.unlink(missing_ok=True)


def run_stores(folder: Path | None, contexts: Sequence[dict[str, Any]]) -> list[RunStore]:
    """Return the store of each job, of its `run_context`, or none without a folder."""
    return [] if folder is None else [RunStore(folder, context) for context in contexts]


def run_context(spec: TrainSpec, data: Dataset, sources: str) -> dict[str, Any]:
    """Return what the runs of a job depend on beside model and seed.

    Names and labels of variants are no part of it: what is renamed is the same. `sources` is the
    digest of the code that trains them, `fastff.workflow.digests.stage_digest("runs")`.
    """
    return {
        "record": [sorted(spec.record), spec.record_every if spec.record else None],
        "recipe": spec.recipe.model_dump(mode="json"),
        "data": data.sha256,
        "sources": sources,
        **computed_on(data.train_inputs.device),
    }
