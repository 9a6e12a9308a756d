"""A small dataset that a layer can learn: Gaussian blobs, one per class."""

import torch

from fastff.data.dataset import Dataset


def blobs(device: str = "cpu", n_train: int = 640, n_test: int = 100) -> Dataset:
    draw = torch.Generator().manual_seed(0)
    n = n_train + n_test
    labels = torch.arange(n) % 5
    centres = torch.randn(5, 24, generator=draw)
    inputs = centres[labels] + 0.8 * torch.randn(n, 24, generator=draw)
    data = Dataset(
        name="mnist5k",
        train_inputs=inputs[:n_train],
        train_labels=labels[:n_train],
        test_inputs=inputs[n_train:],
        test_labels=labels[n_train:],
        image_shape=(1, 4, 6),
        n_classes=5,
        class_names=tuple("abcde"),
        sha256="0" * 64,
    )
    return data.to(device)
