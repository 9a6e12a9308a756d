"""How many runs fit on a CUDA device at once."""

from __future__ import annotations

import torch

from fastff.config.grid import Point
from fastff.config.job import TrainSpec
from fastff.data.dataset import Dataset
from fastff.layers import Layer
from fastff.train.build import Sizes, build_model
from fastff.train.evaluate import CHUNKS

FLOAT = 4  # bytes
PER_PARAMETER = 10  # floats: itself, gradient, two moments, and what an update holds for a moment
PER_UNIT = 6  # floats of a hidden unit or expert and sample: forward, backward, and temporaries
SHARE = 0.8  # of the free memory; the rest is for what isn't counted


def runs_that_fit(spec: TrainSpec, point: Point, data: Dataset, stacks_at_once: int) -> int:
    """Return how many runs of a point fit on `data`'s device beside other stacks, at least 1.

    On a CPU there is no limit. The estimate counts parameters and their optimiser state, and the
    hidden units and routing weights of a batch and of a chunk of evaluation.
    """
    device = data.train_inputs.device
    if device.type != "cuda":
        return len(spec.seeds)
    with torch.device("meta"):
        sizes = Sizes(data.in_features, data.n_classes, point, data.image_shape)
        model = build_model(spec.variant, sizes)
    n_bytes = bytes_per_run(model, data, spec.recipe.batch_size + CHUNKS["cuda"])
    free, _ = torch.cuda.mem_get_info(device)
    return max(1, int(SHARE * free / stacks_at_once / n_bytes))


def bytes_per_run(model: Layer, data: Dataset, n_samples: int) -> int:
    """Return about how many bytes a run in training takes, beside the data.

    Args:
        model: of one run.
        data: what it is trained on.
        n_samples: of a batch, and of what is evaluated at once.

    """
    n_parameters = sum(parameter.numel() for parameter in model.parameters())
    n_units = model.training_width + model.n_trees * model.n_experts + data.n_classes
    n_floats = PER_PARAMETER * n_parameters
    n_floats += n_samples * (2 * data.in_features + PER_UNIT * n_units)
    n_floats += len(data.train_labels) * 2  # the order of the samples, 8 bytes each
    return FLOAT * n_floats
