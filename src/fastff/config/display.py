"""What datasets, activations and number formats are called where people read them."""

from __future__ import annotations

from collections.abc import Mapping

DISPLAYED: Mapping[str, str] = {
    **{"mnist": "MNIST", "mnist5k": "MNIST-5k"},
    **{"fashion_mnist": "Fashion-MNIST", "cifar10": "CIFAR-10"},
    **{"shakespeare": "Shakespeare's plays"},
    **{"logsigmoid": "log-sigmoid", "relu": "ReLU", "gelu": "GELU", "selu": "SELU"},
    **{"prelu": "PReLU", "tf32": "TF32"},
}


def displayed(name: str) -> str:
    """Return what people call something that a config names: by default the name in words."""
    return DISPLAYED.get(name, name.replace("_", " "))
