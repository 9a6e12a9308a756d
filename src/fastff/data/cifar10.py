"""CIFAR-10: Krizhevsky, Learning Multiple Layers of Features from Tiny Images, 2009.

The binary version: the Python version holds the same images in pickles, which can run code.
"""

import tarfile
import zlib
from pathlib import Path

import numpy as np

from fastff.data.errors import DataError
from fastff.data.images import LabelledImages, labelled_images
from fastff.data.source import Archive, DatasetSource

IMAGE_SHAPE = (3, 32, 32)
RECORD = 1 + 3 * 32 * 32  # bytes: a label, then red, green and blue, row by row
FOLDER = "cifar-10-batches-bin"  # in the archive
TRAIN_BATCHES = tuple(f"data_batch_{number}.bin" for number in range(1, 6))
TEST_BATCH = "test_batch.bin"
MOST_BYTES = 10_000 * RECORD  # of a batch


def read_cifar10(
    dataset: DatasetSource, paths: tuple[Path, ...]
) -> tuple[LabelledImages, LabelledImages]:
    """Read the binary version of CIFAR-10 from its tar archive.

    Returns:
        The five training batches in order, and the test batch.

    Raises:
        DataError: a batch is missing, damaged, or not what a batch of CIFAR-10 holds.

    """
    (path,) = paths
    contents = _read_tar(dataset, path)
    batches = {
        name: _parse_batch(content, dataset.n_classes, f"{path}: {name}")
        for name, content in contents.items()
    }
    return _join([batches[name] for name in TRAIN_BATCHES]), batches[TEST_BATCH]


def _read_tar(dataset: DatasetSource, path: Path) -> dict[str, bytes]:
    """Return the batches' bytes, straight from the archive: nothing is unpacked to disk."""
    wanted = {f"{FOLDER}/{name}": name for name in (*TRAIN_BATCHES, TEST_BATCH)}
    contents: dict[str, bytes] = {}
    try:
        with tarfile.open(path, "r:gz") as tar:
            for member in tar:
                if member.name not in wanted or not member.isfile():
                    continue
                if member.size > MOST_BYTES:
                    raise DataError(
                        f"{path}: {member.name} has {member.size} bytes; at most {MOST_BYTES} "
                        "are allowed"
                    )
                file = tar.extractfile(member)
                contents[wanted[member.name]] = b"" if file is None else file.read()
    except (tarfile.TarError, EOFError, zlib.error, OSError) as error:
        raise DataError(f"{path}: not a readable archive ({error})") from error
    missing = [inside for inside, name in wanted.items() if name not in contents]
    if missing:
        raise DataError(f"{path}: no {missing[0]} in it. {dataset.ways_to_get()}")
    return contents


def _parse_batch(content: bytes, n_classes: int, origin: str) -> LabelledImages:
    if len(content) % RECORD:
        raise DataError(f"{origin}: {len(content)} bytes; a batch is records of {RECORD} bytes")
    records = np.frombuffer(content, np.uint8).reshape(-1, RECORD)
    images = records[:, 1:].reshape(-1, *IMAGE_SHAPE)
    return labelled_images(images, records[:, 0], n_classes, origin)


def _join(batches: list[LabelledImages]) -> LabelledImages:
    return LabelledImages(
        np.concatenate([batch.images for batch in batches]),
        np.concatenate([batch.labels for batch in batches]),
    )


CIFAR10_SOURCE = DatasetSource(
    name="cifar10",
    read=read_cifar10,
    archives=(
        Archive(
            filename="cifar-10-binary.tar.gz",
            published="sha256:c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd",
        ),
    ),
    class_names=(
        *("airplane", "automobile", "bird", "cat", "deer"),
        *("dog", "frog", "horse", "ship", "truck"),
    ),
    split="official: data_batch_1 to 5 (50,000) for training, test_batch (10,000) for test",
    licence="none stated by its authors",
    homepage="https://www.cs.toronto.edu/~kriz/cifar.html",
    base_urls=("https://www.cs.toronto.edu/~kriz/",),
)
