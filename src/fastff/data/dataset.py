"""A prepared dataset, verified and ready for training."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from fastff.data.errors import DataError
from fastff.data.images import channel_statistics
from fastff.data.prepared import read_arrays, read_record

RECORD_KEYS = ("name", "mean", "std", "n_classes", "class_names", "bytes", "sha256")


@dataclass(frozen=True, eq=False)
class Dataset:
    """A dataset as tensors, all on one device.

    Attributes:
        train_inputs: (n, in_features), float32, normalised by the training images' mean and std
            per channel; channel, height and width are flattened in this order.
        train_labels: (n,), int64.
        test_inputs: (m, in_features), normalised by the same numbers.
        test_labels: (m,), int64.
        image_shape: channels, height and width of an input before it was flattened.
        class_names: one for each class, in the order of the labels.
        sha256: of the prepared file.

    """

    name: str
    train_inputs: Tensor
    train_labels: Tensor
    test_inputs: Tensor
    test_labels: Tensor
    image_shape: tuple[int, int, int]
    n_classes: int
    class_names: tuple[str, ...]
    sha256: str

    @property
    def in_features(self) -> int:
        """Number of input features."""
        return self.train_inputs.shape[1]

    @property
    def n_bytes(self) -> int:
        """Size of all tensors in bytes."""
        parts = (self.train_inputs, self.train_labels, self.test_inputs, self.test_labels)
        return sum(part.nbytes for part in parts)

    def to(self, device: str | torch.device) -> Dataset:
        """Return the dataset with its tensors on `device`."""
        return replace(
            self,
            train_inputs=self.train_inputs.to(device),
            train_labels=self.train_labels.to(device),
            test_inputs=self.test_inputs.to(device),
            test_labels=self.test_labels.to(device),
        )


def load(path: Path, *, device: str | torch.device = "cpu") -> Dataset:
    """Load what `fastff.data.prepare.prepare` wrote, after verifying its SHA-256.

    The inputs are computed on the CPU, so that they are the same bit for bit on every device.

    Args:
        path: the npz; its json lies beside it.
        device: where the tensors go.

    Raises:
        DataError: a file is missing, truncated or altered.

    """
    if path.suffix != ".npz":
        raise DataError(f"{path}: a prepared dataset is a file that ends in .npz")
    record = read_record(path.with_suffix(".json"), RECORD_KEYS)
    arrays = read_arrays(path, record)
    _check_record(path.with_suffix(".json"), record, arrays)
    mean, std = (torch.tensor(record[key]).view(1, -1, 1, 1) for key in ("mean", "std"))

    def inputs(images: np.ndarray) -> Tensor:
        pixels = torch.from_numpy(images).to(torch.float32)  # (n, channels, height, width)
        return pixels.div_(255).sub_(mean).div_(std).flatten(1)

    dataset = Dataset(
        name=record["name"],
        train_inputs=inputs(arrays["train_images"]),
        train_labels=torch.from_numpy(arrays["train_labels"]),
        test_inputs=inputs(arrays["test_images"]),
        test_labels=torch.from_numpy(arrays["test_labels"]),
        image_shape=arrays["train_images"].shape[1:],
        n_classes=record["n_classes"],
        class_names=tuple(record["class_names"]),
        sha256=record["sha256"],
    )
    return dataset.to(device)


def _check_record(path: Path, record: dict[str, Any], arrays: dict[str, np.ndarray]) -> None:
    """Raise a `DataError` where a number of the record is not that of the arrays."""
    for part in ("train", "test"):
        images, labels = arrays.get(f"{part}_images"), arrays.get(f"{part}_labels")
        if images is None or images.dtype != np.uint8 or images.ndim != 4 or not images.size:
            raise DataError(f"{path}: {part}_images should be bytes of shape (n, c, height, width)")
        if labels is None or labels.dtype != np.int64 or labels.shape != images.shape[:1]:
            raise DataError(f"{path}: {part}_labels should be an integer for each image")
        if labels.min() < 0:
            raise DataError(f"{path}: {part}_labels has {labels.min()}; allowed is 0 or more")
    try:
        found = [*record["mean"], *record["std"]]
        mean, std = channel_statistics(arrays["train_images"])
        statistics = np.allclose(found, [*mean, *std], rtol=1e-9, atol=0)
        n_classes = int(max(arrays[f"{part}_labels"].max() for part in ("train", "test"))) + 1
        classes = n_classes <= record["n_classes"] == len(record["class_names"])
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(f"{path}: {error}; prepare the dataset again") from error
    if not statistics or not classes:
        what = "n_classes or class_names" if statistics else "mean or std"
        raise DataError(f"{path}: {what} is not that of the arrays; prepare the dataset again")
