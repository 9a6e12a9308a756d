"""Names of columns of the tidy tables, for what must know them without reading a table."""

from __future__ import annotations

# A point of a grid. What a model doesn't have is 0: the depth of a feed-forward layer, the hidden
# units of a convolutional one, the region leak of a layer without a tree.
SHAPE = ("depth", "hidden_features", "region_leak")
LOSSES = ("train_loss", "validation_loss", "validation_loss_hard")
SCORES = (*LOSSES, "accuracy_soft", "accuracy_hard")
SIZES = ("n_parameters", "training_width", "inference_width")
OTHER_SCORES = (
    *("validation_accuracy_soft", "validation_accuracy_hard"),
    *("train_accuracy_soft", "train_accuracy_hard"),
)
# How evenly a run's samples spread over its experts, computed of the expert counts.
MEASURES = ("entropy", "effective_experts", "used_experts")

# A row of a benchmark is a point that was timed.
TIMED_TEXT = (
    *("case", "op", "variant", "label", "device", "dtype", "mode"),
    *("device_name", "driver", "torch", "clock", "commit"),
)
TIMES = ("q25_us", "median_us", "q75_us")
TIMED_SIZES = (
    *("batch", "in_features", "hidden_features", "out_features", "depth", "n_experts", "top_k"),
    "threads",
)
