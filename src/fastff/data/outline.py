"""A dataset of which only the sizes are known: before it is prepared, or without reading it."""

from __future__ import annotations

import math

import torch

from fastff.data.dataset import Dataset
from fastff.data.names import DATASET_SIZES


def outline(name: str) -> Dataset:
    """Return a dataset whose tensors have its shapes and, on torch's device "meta", no content.

    Raises:
        KeyError: for a name that is none of DATASET_NAMES.

    """
    n_train, n_test, image_shape, n_classes = DATASET_SIZES[name]
    in_features = math.prod(image_shape)
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
