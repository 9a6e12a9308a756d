"""The benchmark of whole language models: time per step, per batch, and per byte written."""

from __future__ import annotations

import gc
import logging
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from fastff.bench.measure import CLOCKS, Timer, peak_bytes
from fastff.bench.provenance import provenance
from fastff.config.language import LanguageBenchmarkSpec, LanguageCase, LanguageSpec
from fastff.language.feed_forward import VOCABULARY
from fastff.language.text import Text
from fastff.language.train import LanguageTraining
from fastff.tables.schema import LANGUAGE_TIMES, PROCESS

log = logging.getLogger(__name__)
COMPILED = {"compiled": None, "max_autotune": "max-autotune-no-cudagraphs"}
N_INPUTS = 4


def language_benchmark(
    spec: LanguageBenchmarkSpec, devices: list[torch.device], process: int = 0
) -> pd.DataFrame:
    """Return the time of every variant of a language model, in every case that is for a device.

    Models have their initial parameters, and see random bytes. A "token" is one byte behind all
    but the last of a context, whose keys and values are there. The variants of a case are timed one
    after another, for all of them together may not fit into memory.

    Columns: those of LANGUAGE_TIMES. `median_us`, `q25_us` and `q75_us` are microseconds of one
    call, over `repeats` samples; `batch` is its number of bytes.

    Args:
        spec: what to measure.
        devices: to measure on, at most one of a type; cases of other types are left out.
        process: the number of this process among those of the benchmark.

    """
    torch.set_num_threads(spec.threads)
    rows: list[dict[str, Any]] = []
    for device in devices:
        constant = {PROCESS: process, **provenance(device), "clock": CLOCKS[device.type]}
        for name, case in spec.cases.items():
            if case.device != device.type:
                continue
            for model in spec.models:
                if case.only is None or model.variant.name in case.only:
                    for row in _measure(name, case, spec, model, device):
                        rows.append({**row, **constant})
                    log.info("%s, %s: %s", device.type, name, model.variant.name)
    return pd.DataFrame(rows, columns=list(LANGUAGE_TIMES.header))


def _measure(
    name: str,
    case: LanguageCase,
    spec: LanguageBenchmarkSpec,
    model: LanguageSpec,
    device: torch.device,
) -> Iterator[dict[str, Any]]:
    """Yield the rows of a variant in a case."""
    n_bytes = model.recipe.batch_size * model.decoder.context
    for mode in case.modes:
        torch.manual_seed(0)
        torch.compiler.reset()  # or what was compiled before would count towards a limit
        gc.collect()
        if device.type == "cuda":
            torch.cuda.empty_cache()
        text = _random_text(n_bytes, model.decoder.context, device)
        training = LanguageTraining(model, text)
        if mode in COMPILED:
            for block in training.model.blocks:
                block.compile(dynamic=False, mode=COMPILED[mode])
        for op in case.ops:
            run, inputs = _call(op, training, device)
            learns = op == "train_step"
            training.model.train(learns)
            try:
                timer = Timer(
                    *(run, inputs, "eager" if mode == "eager" else "graph", spec.seconds),
                    gradients=learns,
                )
            except torch.OutOfMemoryError:
                log.info("%s, %s left out: it takes more memory than there is", name, op)
                continue
            samples = [timer.sample() for _ in range(spec.repeats)]
            low, middle, high = np.quantile(samples, [0.25, 0.5, 0.75]) * 1e6
            with torch.inference_mode(not learns):
                peak = peak_bytes(partial(run, inputs[0]), device)
            yield {
                "case": name,
                "op": op,
                "variant": model.variant.name,
                "label": model.variant.label,
                "device": device.type,
                "dtype": model.recipe.precision if device.type == "cuda" else "float32",
                "batch": 1 if op == "token" else n_bytes,
                "mode": mode,
                "median_us": middle,
                "q25_us": low,
                "q75_us": high,
                "peak_bytes": peak,
            }


def _call(
    op: str, training: LanguageTraining, device: torch.device
) -> tuple[Callable[[Tensor], object], list[Tensor]]:
    """Return what is timed of a model, and inputs that take turns."""
    model, recipe = training.model, training.spec.recipe
    context = training.spec.decoder.context
    if op == "train_step":
        starts = torch.randint(context, (N_INPUTS, recipe.batch_size), device=device)

        def train_step(x: Tensor) -> None:
            training.starts.copy_(x)
            training.step()

        return train_step, list(starts.unbind())
    with torch.inference_mode():
        dtype = torch.bfloat16 if training.is_half else torch.float32
        past = model.past(1, dtype, context - 1) if op == "token" else None

    def infer(x: Tensor) -> Tensor:
        with training.autocast():
            out: Tensor = model(x, hard=True, past=past)
        return out

    shape = (1, 1) if op == "token" else (recipe.batch_size, context)
    tokens = torch.randint(VOCABULARY, (N_INPUTS, *shape), device=device)
    return infer, list(tokens.unbind())


def _random_text(n_bytes: int, context: int, device: torch.device) -> Text:
    content = torch.randint(VOCABULARY, (n_bytes + context + 1,), dtype=torch.uint8, device=device)
    return Text("random", content, content, "")
