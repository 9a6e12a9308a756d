"""Times of whole language models are compared like with like, whatever the order of the rows."""

from __future__ import annotations

import pandas as pd
import pytest

from fastff.analysis.language import language_times_table

MEDIANS = {
    ("dense_12", "graph"): 40.0,
    ("dense_640", "graph"): 60.0,
    ("dense_1536", "graph"): 80.0,
    ("dense_mine", "graph"): 90.0,
    ("hash", "graph"): 20.0,
    ("dense_1536", "compiled"): 10.0,
    ("hash", "compiled"): 15.0,
}


@pytest.mark.parametrize("seed", range(5))
def test_the_widest_dense_layer_is_the_measure_in_a_mode_that_all_have(seed):
    rows = [
        {"variant": variant, "label": variant, "mode": mode, "median_us": time, "us_per_byte": time}
        for (variant, mode), time in MEDIANS.items()
    ]
    times = pd.DataFrame(rows).assign(
        device="cuda", op="token", dtype="bfloat16", batch=1, peak_bytes=0
    )
    table = language_times_table(times.sample(frac=1, random_state=seed)).set_index("label")
    assert set(table["mode"]) == {"graph"}
    assert table["ratio"].to_dict() == {
        "dense_12": 2,
        "dense_640": pytest.approx(4 / 3),
        "dense_1536": 1,
        "dense_mine": pytest.approx(8 / 9),
        "hash": 4,
    }
