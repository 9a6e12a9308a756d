"""Which kernels there are for a device and dtype: Triton's, numba's, or none."""

from __future__ import annotations

import functools
import importlib
import importlib.util
import warnings
from types import ModuleType

import torch

DTYPES = {
    "cpu": (torch.float32,),
    "cuda": (torch.float32, torch.bfloat16, torch.float16),
}
PACKAGES = {"cpu": "numba", "cuda": "triton"}


def has_kernels(device_type: str, dtype: torch.dtype | None) -> bool:
    """Return whether kernels were written for tensors of this device and dtype."""
    return dtype in DTYPES.get(device_type, ())


@functools.cache
def kernels_for(device_type: str) -> ModuleType | None:
    """Return the module of the kernels for "cpu" or "cuda".

    None, with one warning, where the package that compiles them is missing.
    """
    package = PACKAGES[device_type]
    if importlib.util.find_spec(package) is None:
        warnings.warn(
            f"{package} isn't installed: fast feed-forward layers use their plain, slower form",
            stacklevel=2,
        )
        return None
    return importlib.import_module(f"fastff.kernels.{device_type}")
