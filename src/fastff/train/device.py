"""Where a run is computed, how exactly, and what it draws at random."""

from __future__ import annotations

import os
from typing import Any, Literal, get_args

import numpy as np
import torch

Stream = Literal["initialisation", "order", "noise", "split", "choices", "augmentation"]


def choose_device(name: str) -> torch.device:
    """Return the device for "auto" (CUDA where there is a device), "cpu" or "cuda".

    Raises:
        ValueError: for "cuda" where there is no CUDA device.

    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if name == "cuda" and not torch.cuda.is_available():
        raise ValueError("device = cuda: torch finds no CUDA device here; allowed are auto, cpu")
    return torch.device(name)


def set_precision(device: torch.device, *, tf32: bool) -> None:
    """Choose how a CUDA device computes: always the same way, and in float32 unless `tf32`.

    Before anything is computed there, since cuBLAS reads the size of its workspace once. On a CPU
    there is nothing to choose.
    """
    if device.type != "cuda":
        return
    os.environ["CUBLAS_WORKSPACE_CONFIG"] = ":4096:8"
    torch.use_deterministic_algorithms(True)
    # what is read before it is written would show, at a cost
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    torch.backends.cudnn.benchmark = False
    torch.backends.cuda.matmul.allow_tf32 = tf32
    torch.backends.cudnn.allow_tf32 = tf32


def computed_on(device: torch.device) -> dict[str, Any]:
    """Return the JSON values of where and how exactly this process computes on a device.

    Processors add in another order where their vector units are others.
    """
    is_cuda = device.type == "cuda"
    return {
        "torch": str(torch.__version__),
        "device": torch.cuda.get_device_name(device)
        if is_cuda
        else f"cpu {torch.backends.cpu.get_cpu_capability()}",
        "tf32": is_cuda and torch.backends.cuda.matmul.allow_tf32,
        "threads": torch.get_num_threads(),
    }


def generator(seed: int, stream: Stream, device: str | torch.device = "cpu") -> torch.Generator:
    """Return the generator of a run's `stream`; streams and seeds don't correlate.

    A run draws from nothing else, so that its result doesn't depend on the runs beside it.
    """
    sequence = np.random.SeedSequence([seed, get_args(Stream).index(stream)])
    state = int(sequence.generate_state(1, np.uint64)[0])
    return torch.Generator(device).manual_seed(state)
