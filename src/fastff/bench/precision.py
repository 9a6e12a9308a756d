"""The dtypes of benchmarks: those of torch, and float32 with products rounded to TF32."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

DTYPES = {
    "float32": torch.float32,
    "tf32": torch.float32,
    "bfloat16": torch.bfloat16,
    "float16": torch.float16,
}


def torch_dtype(name: str) -> torch.dtype:
    """Return the dtype of the tensors. Raises KeyError for a name that is none of DTYPES."""
    return DTYPES[name]


@contextmanager
def with_tf32(name: str) -> Iterator[None]:
    """Round the factors of matrix products on CUDA to TF32 within, if `name` says so."""
    before = torch.backends.cuda.matmul.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = name == "tf32"
    try:
        yield
    finally:
        torch.backends.cuda.matmul.allow_tf32 = before
