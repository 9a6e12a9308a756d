"""Images with their labels, checked as soon as they are read."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from fastff.data.errors import DataError

IMAGES_PER_BLOCK = 1024


@dataclass(frozen=True, eq=False)
class LabelledImages:
    """One part of a dataset.

    Attributes:
        images: (n, channels, height, width), uint8.
        labels: (n,), int64, from 0 to the number of classes less one.

    """

    images: npt.NDArray[np.uint8]
    labels: npt.NDArray[np.int64]


def labelled_images(
    images: npt.NDArray[np.uint8], labels: npt.NDArray[np.integer], n_classes: int, origin: str
) -> LabelledImages:
    """Return the pair once it is certain that the labels fit the images and the classes.

    Args:
        images: (n, channels, height, width), uint8.
        labels: (n,), any integers.
        n_classes: labels must be below it.
        origin: the file or files, for the message.

    Raises:
        DataError: there are no images, or not one label each, or a label is out of range.

    """
    if len(images) == 0 or len(images) != len(labels):
        raise DataError(
            f"{origin}: {len(images)} images and {len(labels)} labels; "
            "there must be at least one image, and one label for each"
        )
    outside = labels[(labels < 0) | (labels >= n_classes)]
    if len(outside):
        raise DataError(f"{origin}: label {outside[0]}; allowed are 0 to {n_classes - 1}")
    return LabelledImages(images, labels.astype(np.int64))


def channel_statistics(images: npt.NDArray[np.uint8]) -> tuple[list[float], list[float]]:
    """Return the mean and the (population) std of each channel, of pixels scaled to [0, 1].

    They come from counts of the 256 values: exact, and with little memory.

    Args:
        images: (n, channels, height, width), uint8.

    """
    values = np.arange(256) / 255
    n_blocks = -(-len(images) // IMAGES_PER_BLOCK)
    mean, std = [], []
    for channel in range(images.shape[1]):
        counts = np.zeros(256, np.int64)
        for block in np.array_split(images[:, channel], n_blocks):
            counts += np.bincount(block.ravel(), minlength=256)
        share = counts / counts.sum()
        mean.append(float(share @ values))
        std.append(float(np.sqrt(share @ (values - mean[-1]) ** 2)))
    return mean, std
