"""The datasets by name."""

from collections.abc import Mapping
from types import MappingProxyType

from fastff.data.cifar10 import CIFAR10_SOURCE
from fastff.data.idx import FASHION_MNIST_SOURCE, MNIST_SOURCE
from fastff.data.mnist5k import MNIST5K_SOURCE
from fastff.data.source import DatasetSource

# In the order of `fastff.data.names.DATASET_NAMES`, which a test holds it to.
DATASETS: Mapping[str, DatasetSource] = MappingProxyType(
    {
        source.name: source
        for source in (MNIST5K_SOURCE, FASHION_MNIST_SOURCE, MNIST_SOURCE, CIFAR10_SOURCE)
    }
)
