"""Which device to train on."""

from __future__ import annotations

import torch


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
