"""Which kernels there are for a tensor: Triton's, numba's, or none."""

from __future__ import annotations

import functools
import importlib
import importlib.util
import warnings
from types import ModuleType

import torch
from torch import Tensor

DTYPES = {
    "cpu": (torch.float32,),
    "cuda": (torch.float32, torch.bfloat16, torch.float16),
}
MODULES = {
    "cpu": ("numba", "fastff.kernels.cpu"),
    "cuda": ("triton", "fastff.kernels.cuda"),
}


def has_kernels(device_type: str, dtype: torch.dtype | None) -> bool:
    """Return whether kernels were written for tensors of this device and dtype."""
    return dtype in DTYPES.get(device_type, ())


def kernels_for(x: Tensor) -> ModuleType | None:
    """Return the module of the kernels that run on tensors like `x`; None without any.

    A dtype or a device that no kernel was written for is nothing to mention. A package that is
    missing is: once, by a warning.
    """
    device_type = x.device.type
    return _load(*MODULES[device_type]) if has_kernels(device_type, x.dtype) else None


@functools.cache
def _load(package: str, module: str) -> ModuleType | None:
    """Return `module`, or None, with a warning, where the package that it needs is missing."""
    if importlib.util.find_spec(package) is None:
        warnings.warn(
            f"{package} isn't installed: fast feed-forward layers use their plain, slower form",
            stacklevel=2,
        )
        return None
    return importlib.import_module(module)
