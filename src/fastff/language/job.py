"""Language-model jobs: variants with all their seeds, the store of finished runs, and tidy tables.

Tables, of columns in `fastff.tables.schema.LANGUAGE`:

- runs: a row per run. `bits_per_byte` is the validation loss of the hard form over the whole
  validation text, `bits_per_byte_soft` the soft form's, in bits per byte. A run whose loss became
  NaN or infinite has neither, but `failed_step`, when that was seen.
- steps: the loss over the steps, by the hard form on a part of the validation text.
- usage: over the steps, how each block's layer routes that part: entropy of the shares of experts
  or leaves, in bits, and which share of experts, leaves or nodes was visited, now and ever.
- generated: what the first seed of a variant writes, as a JSON string.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from time import perf_counter
from typing import Any

import pandas as pd

from fastff.config.language import LanguageSpec
from fastff.language.text import Text
from fastff.language.train import LanguageResult, LanguageTraining
from fastff.tables.schema import HEAD, LANGUAGE
from fastff.train.checkpoint import Checkpoint
from fastff.train.device import computed_on
from fastff.train.entries import DAMAGED, entry_path, read_entries, write_entries
from fastff.train.graceful_shutdown import StopRequest

log = logging.getLogger(__name__)
Results = dict[int, LanguageResult]  # by seed


def train_language_models(
    specs: Sequence[LanguageSpec],
    text: Text,
    *,
    sources: str,
    store: Path | None = None,
    interval: float = 300.0,
    stop: StopRequest | None = None,
) -> list[Results]:
    """Return the results of each spec by seed.

    Args:
        specs: what to train.
        text: on the device to train on.
        sources: digest of the code that trains.
        store: folder of finished runs, to take and to add to, and of checkpoints.
        interval: seconds between two checkpoints of a run.
        stop: asks for a checkpoint, and an end.

    Raises:
        StoppedError: where the stop was asked for, when the run under way has its checkpoint.

    """
    stop = stop or StopRequest()
    found: list[Results] = []
    for spec in specs:
        text.check_context(spec.decoder.context)
        results: Results = {}
        training: LanguageTraining | None = None
        for seed in spec.seeds:
            context = _context(spec, seed, text, sources)
            path = None if store is None else entry_path(store / "language", context)
            result = None if path is None else _stored(path)
            if result is None:
                began = perf_counter()
                training = training or LanguageTraining(spec, text)
                checkpoint = None
                if store is not None:
                    file = f"{spec.experiment}.{spec.variant.name}.{seed}.checkpoint"
                    checkpoint = Checkpoint(store / "checkpoints" / file, context, interval, stop)
                result = training.train(seed, checkpoint, _teller(spec, seed))
                result = replace(result, seconds=perf_counter() - began)
                if path is not None:
                    write_entries(path, {path.name: result.to_json()})
                if checkpoint is not None:
                    checkpoint.remove()
            log.info("%s", _described(spec, seed, result))
            results[seed] = result
        found.append(results)
    return found


def tidy_language_tables(
    specs: Sequence[LanguageSpec], jobs: Sequence[Results]
) -> dict[str, pd.DataFrame]:
    """Return the tables of jobs, by name, one job's rows after the other's."""
    rows: dict[str, list[dict[str, Any]]] = {name: [] for name in LANGUAGE}
    for spec, results in zip(specs, jobs, strict=True):
        for seed, result in results.items():
            head = _head(spec, seed)
            rows["runs"].append(head | asdict(result) | _run_row(spec, result))
            rows["steps"] += [head | asdict(look) for look in result.looks]
            rows["usage"] += [head | asdict(one) for one in result.usage]
            if result.generated:
                rows["generated"].append(head | {"text": json.dumps(result.generated)})
    return {
        name: pd.DataFrame(found, columns=list(LANGUAGE[name].header)).astype(
            LANGUAGE[name].nullable_dtypes
        )
        for name, found in rows.items()
    }


def _run_row(spec: LanguageSpec, result: LanguageResult) -> dict[str, Any]:
    recipe = spec.recipe
    failed = result.failed_step is not None
    return {
        "steps": recipe.steps,
        "batch_size": recipe.batch_size,
        "learning_rate": recipe.learning_rate,
        "train_loss": None if failed else result.looks[-1].train_loss,
    }


def failed_language_runs(specs: Sequence[LanguageSpec], jobs: Sequence[Results]) -> list[str]:
    """Return a line for each run that failed."""
    return [
        _described(spec, seed, result)
        for spec, results in zip(specs, jobs, strict=True)
        for seed, result in results.items()
        if result.failed_step is not None
    ]


def _head(spec: LanguageSpec, seed: int) -> dict[str, Any]:
    layer = spec.variant.layer
    depth, hidden_features, leak = layer.shape if layer is not None else (0, 0, 0.0)
    values = (spec.experiment, spec.text, spec.variant.name, depth, hidden_features, leak)
    return dict(zip(HEAD, (*values, 2**depth, seed), strict=True))


def _context(spec: LanguageSpec, seed: int, text: Text, sources: str) -> dict[str, Any]:
    """Return what a run depends on. Names are no part of it: what is renamed is the same."""
    writes = spec.generated if seed == spec.seeds[0] else 0
    return {
        "decoder": spec.decoder.model_dump(mode="json"),
        "recipe": spec.recipe.model_dump(mode="json"),
        "variant": spec.variant.model_dump(mode="json", exclude={"name", "label"}),
        "seed": seed,
        "generated": writes,
        "text": text.sha256,
        "sources": sources,
        **computed_on(text.train.device),
    }


def _stored(path: Path) -> LanguageResult | None:
    """Return a stored result, or None where it isn't stored or can't be read."""
    try:
        return LanguageResult.from_json(read_entries(path)[path.name])
    except FileNotFoundError:
        return None
    except DAMAGED as error:
        log.warning("stored run %s is damaged (%r): training it again", path, error)
        return None


def _teller(spec: LanguageSpec, seed: int) -> Any:
    def tell(step: int, loss: float) -> None:
        log.info(
            "%s, seed %d: step %d of %d, loss %.3f nats",
            *(spec.variant.name, seed, step, spec.recipe.steps, loss),
        )

    return tell


def _described(spec: LanguageSpec, seed: int, result: LanguageResult) -> str:
    run = f"{spec.variant.name}, seed {seed}"
    if result.failed_step is not None:
        return f"{run}: failed; its loss was not finite at step {result.failed_step}"
    return f"{run}: {result.bits_per_byte:.4f} bits per byte"
