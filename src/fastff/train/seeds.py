"""One independent random stream per run and purpose, from the run's seed alone."""

from __future__ import annotations

from typing import Literal, get_args

import numpy as np
import torch

Stream = Literal["initialisation", "order", "noise", "split"]


def generator(seed: int, stream: Stream, device: str | torch.device = "cpu") -> torch.Generator:
    """Return the generator of a run's `stream`; streams and seeds don't correlate.

    A run draws from nothing else, so that its result doesn't depend on the runs beside it.
    """
    sequence = np.random.SeedSequence([seed, get_args(Stream).index(stream)])
    state = int(sequence.generate_state(1, np.uint64)[0])
    return torch.Generator(device).manual_seed(state)
