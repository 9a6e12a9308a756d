"""A prepared text, verified and ready for training."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from fastff.data.errors import DataError
from fastff.data.prepared import read_arrays, read_record


@dataclass(frozen=True, eq=False)
class Text:
    """A prepared text as tensors, on one device.

    Attributes:
        train: (n,), uint8.
        validation: (m,), uint8.
        sha256: of the prepared file.

    """

    name: str
    train: Tensor
    validation: Tensor
    sha256: str

    def to(self, device: str | torch.device) -> Text:
        """Return the text with its tensors on `device`."""
        return replace(self, train=self.train.to(device), validation=self.validation.to(device))

    def windows(self, context: int) -> Tensor:
        """Return the validation text in windows (n, context + 1), each behind the last one's end.

        Of every window all but the first byte is predicted, so that each counts once.
        """
        n_windows = (len(self.validation) - 1) // context
        starts = torch.arange(n_windows, device=self.validation.device).unsqueeze(-1) * context
        return self.validation[starts + torch.arange(context + 1, device=starts.device)]

    def check_context(self, context: int) -> None:
        """Raise DataError for a text that is too short for windows of so many bytes."""
        shortest = min(len(self.train), len(self.validation))
        if shortest <= context:
            raise DataError(
                f"{self.name}: its validation part has {shortest:,} bytes; allowed is a text with "
                f"more than decoder.context = {context} of them"
            )


def load_text(path: Path, *, device: str | torch.device = "cpu") -> Text:
    """Load what `prepare_text` wrote, after verifying its SHA-256.

    Raises:
        DataError: a file is missing, truncated or altered, or no text.

    """
    record = read_record(path.with_suffix(".json"), ("name", "vocabulary", "bytes", "sha256"))
    arrays = read_arrays(path, record)
    parts = [arrays.get(key) for key in ("train", "validation")]
    if any(part is None or part.dtype != np.uint8 or part.ndim != 1 for part in parts):
        raise DataError(f"{path}: train and validation should be bytes of shape (n,)")
    train, validation = (torch.tensor(part) for part in parts)
    return Text(record["name"], train, validation, record["sha256"]).to(device)
