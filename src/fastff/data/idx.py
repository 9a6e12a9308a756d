"""MNIST and Fashion-MNIST: IDX files, as published at http://yann.lecun.com/exdb/mnist/."""

import math
import struct
from pathlib import Path

import numpy as np
import numpy.typing as npt
from torchvision.datasets import MNIST, FashionMNIST

from fastff.data.download import is_allowed
from fastff.data.errors import DataError
from fastff.data.images import LabelledImages, labelled_images
from fastff.data.source import Archive, DatasetSource

UNSIGNED_BYTE = 0x08  # the type code of every file here

# SHA-256 of the decompressed files: the compressed form differs between distributors.
MNIST_CONTENT = {
    "train-images-idx3-ubyte": "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
    "train-labels-idx1-ubyte": "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
    "t10k-images-idx3-ubyte": "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
    "t10k-labels-idx1-ubyte": "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
}
FASHION_MNIST_CONTENT = {
    "train-images-idx3-ubyte": "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
    "train-labels-idx1-ubyte": "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
    "t10k-images-idx3-ubyte": "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
    "t10k-labels-idx1-ubyte": "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
}


def parse_idx(content: bytes, n_dimensions: int, origin: str | Path) -> npt.NDArray[np.uint8]:
    """Return the array that an IDX file of unsigned bytes holds.

    The file is two zero bytes, the type code, the number of dimensions, each dimension as a
    big-endian 32-bit integer, and the values with the last dimension fastest.

    Args:
        content: the whole file, decompressed.
        n_dimensions: 3 for images, 1 for labels.
        origin: the file, for the message.

    Raises:
        DataError: the file is of another type or shape, or is not as long as it says.

    """
    header_bytes = 4 + 4 * n_dimensions
    magic = bytes((0, 0, UNSIGNED_BYTE, n_dimensions))
    if content[:4] != magic:
        raise DataError(
            f"{origin}: starts with {content[:4].hex() or 'nothing'}; "
            f"an IDX file of {n_dimensions}-dimensional unsigned bytes starts with {magic.hex()}"
        )
    if len(content) < header_bytes:
        raise DataError(f"{origin}: {len(content)} bytes; the header alone has {header_bytes}")
    shape = struct.unpack(f">{n_dimensions}I", content[4:header_bytes])
    if len(content) != header_bytes + math.prod(shape):
        raise DataError(
            f"{origin}: {len(content)} bytes; "
            f"its shape {shape} needs {header_bytes + math.prod(shape)}"
        )
    return np.frombuffer(content, np.uint8, offset=header_bytes).reshape(shape)


def read_idx(
    dataset: DatasetSource, paths: tuple[Path, ...]
) -> tuple[LabelledImages, LabelledImages]:
    """Read (train images, train labels, test images, test labels), plain or gzipped.

    Returns:
        The official training part, and the official test part.

    Raises:
        DataError: a file is damaged, or images and labels do not belong together.

    """
    parts = []
    for first in (0, 2):
        images, labels = (
            parse_idx(dataset.read_content(paths[i], dataset.archives[i].content), n, paths[i])
            for i, n in ((first, 3), (first + 1, 1))
        )
        origin = f"{paths[first]} and {paths[first + 1]}"
        parts.append(labelled_images(images[:, None], labels, dataset.n_classes, origin))
    return parts[0], parts[1]


def _archives(resources: list[tuple[str, str]], content: dict[str, str]) -> tuple[Archive, ...]:
    """Return torchvision's list of files, with the checksums of their content in its order."""
    return tuple(
        Archive(filename, f"md5:{md5}", {name: f"sha256:{digest}"})
        for (filename, md5), (name, digest) in zip(resources, content.items(), strict=True)
    )


MNIST_SOURCE = DatasetSource(
    name="mnist",
    read=read_idx,
    archives=_archives(MNIST.resources, MNIST_CONTENT),
    class_names=tuple("0123456789"),
    split="official: train (60,000) for training, t10k (10,000) for test",
    licence="CC BY-SA 3.0",
    homepage="http://yann.lecun.com/exdb/mnist/",
    subfolders=("MNIST/raw", "raw"),
    base_urls=tuple(mirror for mirror in MNIST.mirrors if is_allowed(mirror)),
)

FASHION_MNIST_SOURCE = DatasetSource(
    name="fashion_mnist",
    read=read_idx,
    archives=_archives(FashionMNIST.resources, FASHION_MNIST_CONTENT),
    class_names=tuple(FashionMNIST.classes),
    split="official: train (60,000) for training, t10k (10,000) for test",
    licence="MIT",
    homepage="https://github.com/zalandoresearch/fashion-mnist",
    subfolders=("FashionMNIST/raw", "raw"),
    # torchvision's address is without TLS; this is the publisher's own, at a fixed commit
    base_urls=(
        "https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/"
        "b2617bb6d3ffa2e429640350f613e3291e10b141/data/fashion/",
    ),
    package="dataset-fashion-mnist",
    package_folder=lambda: Path("/usr/share/datasets/fashion-mnist"),
    package_install="apt-get install dataset-fashion-mnist",
)
