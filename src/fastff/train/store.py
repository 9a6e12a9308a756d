"""The run store: finished runs by a key of everything their result depends on.

A job trains only the runs that the store lacks, so that a new seed or grid point costs only
itself, and a killed job loses only the stack it was training.

The runs of a stack are stored all or none: they go into one file of the folder `pending` first. A
job that was killed between two of them would train the rest in a smaller stack, whose last bits may
be others.

A store may be somebody else's. Each result has the name of its file with it, so that files that
trade places are damaged ones, and no name leads out of the store.
"""

from __future__ import annotations

import hashlib
import json
import logging
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from fastff.config.job import Run, TrainSpec
from fastff.data.dataset import Dataset
from fastff.files import read_checked, write_checked
from fastff.train.results import RunResult

log = logging.getLogger(__name__)
NAME = re.compile(r"[0-9a-f]{64}\.json")  # of a run's file


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
        key = hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()
        return self.folder / key[:2] / f"{key}.json"

    def get(self, run: Run) -> RunResult | None:
        """Return the run's result, or None where it isn't stored or can't be read."""
        path = self.path(run)
        try:
            return RunResult.from_json(_read(path)[path.name])
        except FileNotFoundError:
            return None
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            log.warning("stored run %s is damaged (%r): training it again", path, error)
            return None

    def put(self, results: Mapping[Run, RunResult]) -> None:
        """Store the results of a stack's runs, all or, if the process ends, none."""
        values = {self.path(run).name: result.to_json() for run, result in results.items()}
        pending = self.pending / f"{next(iter(values))}"
        _write(pending, values)
        self._take_in(pending, values)

    def recover(self) -> None:
        """Take in what a process that ended in `put` has left pending."""
        for pending in sorted(self.pending.glob("[!.]*.json")):
            try:
                self._take_in(pending, _read(pending))
            except FileNotFoundError:  # another job was faster
                continue
            except ValueError as error:
                log.warning("pending runs %s are damaged (%r): not used", pending, error)
                pending.unlink(missing_ok=True)

    def _take_in(self, pending: Path, values: dict[str, Any]) -> None:
        for name, result in values.items():
            _write(self.folder / name[:2] / name, {name: result})
        pending.unlink(missing_ok=True)


def _write(path: Path, values: dict[str, Any]) -> None:
    write_checked(path, json.dumps(values).encode())


def _read(path: Path) -> dict[str, Any]:
    """Return results by their files' names. Raises ValueError for a file that is damaged."""
    values = json.loads(read_checked(path))
    if not isinstance(values, dict) or not all(map(NAME.fullmatch, values)):
        raise ValueError("it has other keys than names of runs")
    return values


def run_stores(folder: Path | None, contexts: Sequence[dict[str, Any]]) -> list[RunStore]:
    """Return the store of each job, of its `run_context`, or none without a folder."""
    return [] if folder is None else [RunStore(folder, context) for context in contexts]


def run_context(spec: TrainSpec, data: Dataset, sources: str) -> dict[str, Any]:
    """Return what the runs of a job depend on beside model and seed.

    Names and labels of variants are no part of it: what is renamed is the same. `sources` is the
    digest of the code that trains them, `fastff.workflow.digests.stage_digest("runs")`. Processors
    add in another order where their vector units are others.
    """
    device = data.train_inputs.device
    if device.type == "cuda":
        name = torch.cuda.get_device_name(device)
    else:
        name = f"cpu {torch.backends.cpu.get_cpu_capability()}"
    return {
        "record": [sorted(spec.record), spec.record_every if spec.record else None],
        "recipe": spec.recipe.model_dump(mode="json"),
        "data": data.sha256,
        "sources": sources,
        "torch": str(torch.__version__),
        "device": name,
        "tf32": device.type == "cuda" and torch.backends.cuda.matmul.allow_tf32,
        "threads": torch.get_num_threads(),
    }
