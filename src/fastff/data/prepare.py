"""The datasets by name, and one prepared file of each: images and labels, and what they are."""

import json
from pathlib import Path
from typing import Any

import numpy as np

from fastff.data.cifar10 import CIFAR10_SOURCE
from fastff.data.download import checksum_file
from fastff.data.errors import DataError
from fastff.data.idx import FASHION_MNIST_SOURCE, MNIST_SOURCE
from fastff.data.images import channel_statistics
from fastff.data.mnist5k import MNIST5K_SOURCE
from fastff.data.source import DatasetSource, describe, locate
from fastff.data.text import prepare_text
from fastff.data.text_names import TEXT_NAMES
from fastff.files import atomic_path

# In the order of `fastff.data.names.DATASET_NAMES`, which a test holds it to.
DATASETS: dict[str, DatasetSource] = {
    source.name: source
    for source in (MNIST5K_SOURCE, FASHION_MNIST_SOURCE, MNIST_SOURCE, CIFAR10_SOURCE)
}


def prepare(
    name: str, data_dir: Path, *, folder: Path | None = None, mirror: str | None = None
) -> Path:
    """Write `<data_dir>/<name>.npz` and `<data_dir>/<name>.json`, and return the former.

    The npz holds train_images and test_images, (n, channels, height, width) uint8, and
    train_labels and test_labels, (n,) int64; its bytes depend on the dataset alone. The
    json, written last, holds the npz's SHA-256, the mean and std of each channel of the training
    images scaled to [0, 1], and where everything came from.

    Args:
        name: one of `fastff.data.names.DATASET_NAMES`, or a text, which
            `prepare_text` prepares.
        data_dir: made if need be; downloads are kept in its folder `archives`.
        folder: folder with the dataset's archives.
        mirror: base URL to download the archives from, instead of the dataset's own.

    Raises:
        DataError: the name is unknown, or an archive is missing, damaged or malformed.

    """
    if name in TEXT_NAMES:
        if mirror is not None:
            raise DataError(f"{name}: mirror {mirror!r}; a text has none")
        return prepare_text(name, data_dir, folder=folder)
    if name not in DATASETS:
        allowed = ", ".join([*DATASETS, *TEXT_NAMES])
        raise DataError(f"dataset: {name!r}; allowed are {allowed}")
    return prepare_dataset(DATASETS[name], data_dir, folder=folder, mirror=mirror)


def prepare_dataset(
    dataset: DatasetSource,
    data_dir: Path,
    *,
    folder: Path | None = None,
    mirror: str | None = None,
) -> Path:
    """Do as `prepare` does, for a dataset of any description."""
    located = locate(dataset, data_dir, folder=folder, mirror=mirror)
    train, test = dataset.read(dataset, located.paths)
    mean, std = channel_statistics(train.images)
    if not all(std):
        raise DataError(f"{dataset.name}: a channel of the training images is constant")
    arrays: dict[str, Any] = {
        "train_images": train.images,
        "train_labels": train.labels,
        "test_images": test.images,
        "test_labels": test.labels,
    }
    path = data_dir / f"{dataset.name}.npz"
    with atomic_path(path) as temporary:
        # Uncompressed, since compressed bytes differ between versions of zlib. NumPy dates every
        # member 1980, so nothing in the file depends on when it was written.
        np.savez(temporary, **arrays)
    record = {
        "name": dataset.name,
        "source": located.origin,
        "archives": describe(located),
        "url": dataset.homepage,
        "licence": dataset.licence,
        "split": dataset.split,
        "shapes": {key: list(array.shape) for key, array in arrays.items()},
        "n_classes": dataset.n_classes,
        "class_names": list(dataset.class_names),
        "mean": mean,
        "std": std,
        "bytes": path.stat().st_size,
        "sha256": checksum_file(path, "sha256").removeprefix("sha256:"),
    }
    with atomic_path(path.with_suffix(".json")) as temporary:
        temporary.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
    return path
