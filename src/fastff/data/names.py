"""Names of the datasets, on their own so that the config can check them without importing torch."""

DATASET_NAMES: tuple[str, ...] = ("mnist5k", "fashion_mnist", "mnist", "cifar10")

# Training samples of each, by which the config can tell that a batch is too large.
N_TRAIN: dict[str, int] = {
    "mnist5k": 4000,
    "fashion_mnist": 60_000,
    "mnist": 60_000,
    "cifar10": 50_000,
}
