"""The datasets' names and sizes, on their own: the config checks them without importing torch."""

from __future__ import annotations

from typing import NamedTuple


class DatasetSize(NamedTuple):
    """How much a dataset holds; `image_shape` is (channels, height, width)."""

    n_train: int
    n_test: int
    image_shape: tuple[int, int, int]
    n_classes: int = 10


DATASET_SIZES: dict[str, DatasetSize] = {
    "mnist5k": DatasetSize(4000, 1000, (1, 28, 28)),
    "fashion_mnist": DatasetSize(60_000, 10_000, (1, 28, 28)),
    "mnist": DatasetSize(60_000, 10_000, (1, 28, 28)),
    "cifar10": DatasetSize(50_000, 10_000, (3, 32, 32)),
}
DATASET_NAMES: tuple[str, ...] = tuple(DATASET_SIZES)
