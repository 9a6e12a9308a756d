"""The datasets' names and sizes, on their own: the config checks them without importing torch."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from fastff.data.dataset import Dataset


class DatasetSize(NamedTuple):
    """How much a dataset holds; `image_shape` is (channels, height, width)."""

    n_train: int
    n_test: int
    image_shape: tuple[int, int, int]
    n_classes: int = 10

    @property
    def features(self) -> tuple[int, int]:
        """How many features an input has, and an output."""
        return math.prod(self.image_shape), self.n_classes


DATASET_SIZES: dict[str, DatasetSize] = {
    "mnist5k": DatasetSize(4000, 1000, (1, 28, 28)),
    "fashion_mnist": DatasetSize(60_000, 10_000, (1, 28, 28)),
    "mnist": DatasetSize(60_000, 10_000, (1, 28, 28)),
    "cifar10": DatasetSize(50_000, 10_000, (3, 32, 32)),
}
DATASET_NAMES: tuple[str, ...] = tuple(DATASET_SIZES)


def outline(name: str) -> Dataset:
    """Return a dataset that isn't read: its tensors have shapes, but no content (device "meta").

    Raises:
        KeyError: for a name that is none of DATASET_NAMES.

    """
    import torch

    from fastff.data.dataset import Dataset

    n_train, n_test, image_shape, n_classes = DATASET_SIZES[name]
    in_features, _ = DATASET_SIZES[name].features
    with torch.device("meta"):
        return Dataset(
            name=name,
            train_inputs=torch.empty(n_train, in_features),
            train_labels=torch.empty(n_train, dtype=torch.int64),
            test_inputs=torch.empty(n_test, in_features),
            test_labels=torch.empty(n_test, dtype=torch.int64),
            image_shape=image_shape,
            n_classes=n_classes,
            class_names=tuple(map(str, range(n_classes))),
            sha256="",
        )
