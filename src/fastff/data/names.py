"""Names of the datasets, on their own so that the config can check them without importing torch."""

DATASET_NAMES: tuple[str, ...] = ("mnist5k", "fashion_mnist", "mnist", "cifar10")
