"""Images with their labels, checked as soon as they are read."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from fastff.data.errors import DataError


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
