"""Which kernels there are for a device and dtype: Triton's, numba's, PyTorch's own, or none."""

from __future__ import annotations

import functools
import importlib
import logging
from types import ModuleType

import torch

from fastff.kernels import portable

log = logging.getLogger("fastff")
COMPILED = {
    "cpu": (torch.float32,),
    "cuda": (torch.float32, torch.bfloat16, torch.float16),
}
PORTABLE = {"cpu": (torch.float64, torch.bfloat16, torch.float16)}
PACKAGES = {"cpu": "numba", "cuda": "triton"}


def has_kernels(device_type: str, dtype: torch.dtype) -> bool:
    """Return whether kernels were written for tensors of this device and dtype."""
    return dtype in (*COMPILED.get(device_type, ()), *PORTABLE.get(device_type, ()))


def kernels_for(device_type: str, dtype: torch.dtype) -> ModuleType:
    """Return the module of the kernels, `portable` where none are compiled."""
    if dtype in COMPILED.get(device_type, ()):
        return compiled_for(device_type) or portable
    return portable


def autocasts(device_type: str) -> bool:
    """Return whether autocast is on for a device; "meta" has none to ask for."""
    return device_type != "meta" and torch.is_autocast_enabled(device_type)


@functools.cache
def compiled_for(device_type: str) -> ModuleType | None:
    """Return the module of the compiled kernels for "cpu" or "cuda".

    None where the package that compiles them isn't installed, or is broken; the logger "fastff"
    says so once, as information.
    """
    package = PACKAGES[device_type]
    try:
        importlib.import_module(package)
    except (ImportError, OSError) as error:  # OSError: a library beneath that can't be loaded
        reason = f"{package} can't be imported ({error})"
        log.info("layers take their plain, slower form on %s: %s", device_type, reason)
        return None
    return importlib.import_module(f"fastff.kernels.{device_type}")
