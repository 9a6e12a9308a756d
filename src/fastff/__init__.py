"""FastFF: fast feed-forward and mixture-of-experts layers, compared.

What the package offers to models is here by name, and is loaded on first use (PEP 562): the
command line and the jobs of a workflow start without torch.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

__version__ = "0.1.0"

__all__ = [
    "FFF",
    "Bottleneck",
    "Convolutional",
    "Experts",
    "FeedForward",
    "Gate",
    "HypercubeGate",
    "Layer",
    "LinearGate",
    "LinearLayer",
    "MasterLeafLayer",
    "MixtureExperts",
    "MoE",
    "NodeTree",
    "NoisyTopKGate",
    "RoutedLayer",
    "SoftMergedExperts",
    "StridedConvolutional",
    "TreeGate",
    "aux_loss",
    "kernels",
    "layers",
    "load_fastfeedforward",
    "set_hardening",
]

if TYPE_CHECKING:
    from fastff import kernels, layers
    from fastff.layers import *
else:

    def __getattr__(name: str) -> object:
        """Return what `__all__` names, of `fastff.layers` but for the modules themselves."""
        if name not in __all__:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        if name in ("kernels", "layers"):
            return importlib.import_module(f"{__name__}.{name}")
        return getattr(importlib.import_module(f"{__name__}.layers"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
