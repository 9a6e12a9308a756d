"""The run store: finished runs by a key of everything their result depends on.

A job trains only the runs that the store lacks, so that a new seed or grid point costs only
itself, and a killed job loses only the stack it was training.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from fastff.data.dataset import Dataset
from fastff.files import atomic_path
from fastff.sources import stage_digest
from fastff.spec import Point, TrainSpec
from fastff.train.results import RunResult

log = logging.getLogger(__name__)


class RunStore:
    """Results of a job's runs in a folder that jobs share, one JSON file each.

    Args:
        folder: made when the first run is stored.
        context: JSON values of all that the results depend on beside point and seed.

    """

    def __init__(self, folder: Path, context: dict[str, Any]) -> None:
        self.folder = folder
        self.context = context

    def path(self, point: Point, seed: int) -> Path:
        """Return the file of a run: its name is the SHA-256 of the run's key."""
        values = {**self.context, **point._asdict(), "seed": seed}
        key = hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()
        return self.folder / key[:2] / f"{key}.json"

    def get(self, point: Point, seed: int) -> RunResult | None:
        """Return the run's result, or None where it isn't stored or can't be read."""
        path = self.path(point, seed)
        try:
            return RunResult.from_json(json.loads(path.read_text(encoding="utf-8")))
        except FileNotFoundError:
            return None
        except (ValueError, KeyError, TypeError) as error:
            log.warning("stored run %s is damaged (%r): training it again", path, error)
            return None

    def put(self, point: Point, seed: int, result: RunResult) -> None:
        """Store a run's result."""
        with atomic_path(self.path(point, seed)) as path:
            path.write_text(json.dumps(result.to_json()), encoding="utf-8")


def run_stores(folder: Path | None, specs: Sequence[TrainSpec], data: Dataset) -> list[RunStore]:
    """Return the store of each job in one folder, or none without a folder."""
    if folder is None:
        return []
    return [RunStore(folder, run_context(spec, data)) for spec in specs]


def run_context(spec: TrainSpec, data: Dataset) -> dict[str, Any]:
    """Return what the runs of a job depend on beside point and seed.

    Names and labels are not part of it: a renamed variant is the same variant.
    """
    device = data.train_inputs.device
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu"
    return {
        "variant": spec.variant.model_dump(mode="json", exclude={"name", "label"}),
        "record": [sorted(spec.record), spec.record_every if spec.record else None],
        "recipe": spec.recipe.model_dump(mode="json"),
        "data": data.sha256,
        "sources": stage_digest("train"),
        "torch": str(torch.__version__),
        "device": name,
        "tf32": device.type == "cuda" and torch.backends.cuda.matmul.allow_tf32,
        "threads": torch.get_num_threads(),
    }
