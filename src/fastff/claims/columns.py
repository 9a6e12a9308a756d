"""The columns that a claim may name."""

from __future__ import annotations

from fastff.tables.schema import (
    MEASURES,
    OTHER_SCORES,
    SCORES,
    SHAPE,
    SIZES,
    TIMED_SIZES,
    TIMED_TEXT,
    TIMES,
)

RUN_COLUMNS = {
    "metric": (*SCORES, *OTHER_SCORES, *MEASURES),
    "along": SHAPE,
    "match": (*SHAPE, *SIZES, "n_experts"),
}
TIMED_COLUMNS = (*TIMED_TEXT, *TIMES, *TIMED_SIZES)
# hidden units of all experts together: what a feed-forward layer is compared by
TRAINING_WIDTH = "training_width"
ALONG_COLUMNS = (*TIMED_SIZES, TRAINING_WIDTH)
