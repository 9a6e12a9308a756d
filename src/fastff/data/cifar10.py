"""CIFAR-10: Krizhevsky, Learning Multiple Layers of Features from Tiny Images, 2009."""

import tarfile
import zlib
from pathlib import Path

import numpy as np
from torchvision.datasets import CIFAR10

from fastff.data.errors import DataError
from fastff.data.images import LabelledImages, labelled_images
from fastff.data.safe_pickle import load_pickle
from fastff.data.source import Archive, DatasetSource

IMAGE_SHAPE = (3, 32, 32)
TEST_BATCH = "test_batch"


def read_cifar10(
    dataset: DatasetSource, paths: tuple[Path, ...]
) -> tuple[LabelledImages, LabelledImages]:
    """Read the Python version of CIFAR-10 from its tar archive or from its unpacked folder.

    Returns:
        The five training batches in order, and the test batch.

    Raises:
        DataError: a batch is missing, damaged, or not what a batch of CIFAR-10 holds.

    """
    (archive,), (path,) = dataset.archives, paths
    read = _read_folder if path.is_dir() else _read_tar
    contents = read(dataset, archive, path)
    batches: dict[bool, list[LabelledImages]] = {False: [], True: []}
    for name, checksum in archive.members:
        origin = f"{path}: {name}"
        dataset.verify_content(contents[name], checksum, origin)
        batch = _parse_batch(contents[name], dataset.n_classes, origin)
        batches[name == TEST_BATCH].append(batch)
    return _join(batches[False]), _join(batches[True])


def _read_tar(dataset: DatasetSource, archive: Archive, path: Path) -> dict[str, bytes]:
    """Return the members' bytes, straight from the archive: nothing is unpacked to disk."""
    contents = {}
    try:
        with tarfile.open(path, "r:gz") as tar:
            for member in tar:
                file = tar.extractfile(member) if member.isfile() else None
                if file is not None:
                    contents[member.name] = file.read()
    except (tarfile.TarError, EOFError, zlib.error, OSError) as error:
        raise DataError(f"{path}: not a readable archive ({error})") from error
    wanted = {name: f"{archive.unpacked}/{name}" for name, _ in archive.members}
    missing = [name for name in wanted.values() if name not in contents]
    if missing:
        raise DataError(f"{path}: no {missing[0]} in it. {dataset.ways_to_get()}")
    return {name: contents[inside] for name, inside in wanted.items()}


def _read_folder(dataset: DatasetSource, archive: Archive, path: Path) -> dict[str, bytes]:
    for name, checksum in archive.members:
        if not (path / name).is_file():
            raise dataset.damaged(path / name, checksum, "no such file")
    return {name: (path / name).read_bytes() for name, _ in archive.members}


def _parse_batch(content: bytes, n_classes: int, origin: str) -> LabelledImages:
    batch = load_pickle(content, origin)
    images = batch.get("data") if isinstance(batch, dict) else None
    labels = batch.get("labels") if isinstance(batch, dict) else None
    row = int(np.prod(IMAGE_SHAPE))
    if not isinstance(images, np.ndarray) or images.ndim != 2 or images.shape[1] != row:
        found = images.shape if isinstance(images, np.ndarray) else type(images).__name__
        raise DataError(f"{origin}: data is {found}; it must be an array of shape (n, {row})")
    if not isinstance(labels, list) or not all(type(label) is int for label in labels):
        raise DataError(f"{origin}: labels must be a list of integers")
    return labelled_images(
        images.reshape(-1, *IMAGE_SHAPE), np.array(labels, np.int64), n_classes, origin
    )


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
            filename=CIFAR10.filename,
            published=f"md5:{CIFAR10.tgz_md5}",
            unpacked=CIFAR10.base_folder,
            members=tuple(
                (name, f"md5:{md5}") for name, md5 in CIFAR10.train_list + CIFAR10.test_list
            ),
        ),
    ),
    class_names=(
        *("airplane", "automobile", "bird", "cat", "deer"),
        *("dog", "frog", "horse", "ship", "truck"),
    ),
    split="official: data_batch_1 to 5 (50,000) for training, test_batch (10,000) for test",
    licence="none stated by its authors",
    homepage="https://www.cs.toronto.edu/~kriz/cifar.html",
    base_urls=(CIFAR10.url.removesuffix(CIFAR10.filename),),
)
