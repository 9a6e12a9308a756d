"""Draw every kind of figure and save it: run by a test, in processes of their own."""

import sys
from pathlib import Path

from fastff.analysis import (
    draw_distribution,
    draw_entropy,
    draw_epochs,
    draw_regions,
    load_table,
    load_tidy,
    save_figure,
)

if __name__ == "__main__":
    tidy, folder = load_tidy(sys.argv[1]), Path(sys.argv[3])
    tables = (load_table(sys.argv[2], name) for name in ("nodes", "projections", "epochs"))
    save_figure(
        draw_epochs(tidy.epochs.query("depth == 2 & hidden_features == 8"), "Epochs"),
        folder,
        "epochs",
    )
    save_figure(draw_entropy(tidy, "Entropy"), folder, "entropy")
    save_figure(draw_regions(*tables, "Regions"), folder, "regions")
    save_figure(draw_distribution(tidy, "Bars"), folder, "bars")
