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
# SHA-256 of the batches in the archive that the publisher offers.
BATCHES = {
    "data_batch_1.bin": "cee916563c9f80d84e3cc88e17fdc0941787f1244f00a67874d45b261883ada5",
    "data_batch_2.bin": "a591ca11fa1708a91ee40f54b3da4784ccd871ecf2137de63f51ada8b3fa57ed",
    "data_batch_3.bin": "bbe8596564c0f86427f876058170b84dac6670ddf06d79402899d93ceea26f67",
    "data_batch_4.bin": "014e562d6e23c72197cc727519169a60359f5eccd8945ad5a09d710285ff4e48",
    "data_batch_5.bin": "755304fc0b379caeae8c14f0dac912fbc7d6cd469eb67a1029a08a39453a9add",
    "test_batch.bin": "8e2eb146ae340b09e24670f29cabc6326dba54da8789dab6768acf480273f65b",
}
*TRAIN_BATCHES, TEST_BATCH = BATCHES
MOST_BYTES = 10_000 * RECORD  # of a batch


def read_cifar10(
    dataset: DatasetSource, paths: tuple[Path, ...]
) -> tuple[LabelledImages, LabelledImages]:
    """Read the binary version of CIFAR-10 from its tar archive, or from the unpacked batches.

    Returns:
        The five training batches in order, and the test batch.

    Raises:
        DataError: a batch is missing, damaged, or not what a batch of CIFAR-10 holds.

    """
    (archive,) = dataset.archives
    first, *_ = paths
    if first.name == archive.filename:
        origin, contents = first, _read_tar(dataset, first)
    else:
        origin = first.parent
        contents = {
            path.name: dataset.read_content(path, archive.members[path.name]) for path in paths
        }
    batches = {
        name: _parse_batch(content, dataset.n_classes, f"{origin}: {name}")
        for name, content in contents.items()
    }
    return _join([batches[name] for name in TRAIN_BATCHES]), batches[TEST_BATCH]


def _read_tar(dataset: DatasetSource, path: Path) -> dict[str, bytes]:
    """Return the batches' bytes, straight from the archive: nothing is unpacked to disk."""
    wanted = {f"{FOLDER}/{name}": name for name in BATCHES}
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
            members={name: f"sha256:{digest}" for name, digest in BATCHES.items()},
        ),
    ),
    class_names=(
        *("airplane", "automobile", "bird", "cat", "deer"),
        *("dog", "frog", "horse", "ship", "truck"),
    ),
    split="official: data_batch_1 to 5 (50,000) for training, test_batch (10,000) for test",
    licence="none stated by its authors",
    homepage="https://www.cs.toronto.edu/~kriz/cifar.html",
    subfolders=(FOLDER,),
    pickles=("cifar-10-batches-py", "cifar-10-python.tar.gz", "data_batch_1"),
    base_urls=("https://www.cs.toronto.edu/~kriz/",),
)
