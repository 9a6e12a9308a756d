"""Figures: what they show, that nothing is on top of anything, and the same bytes every time."""

import os
import subprocess
import sys
from pathlib import Path

import matplotlib
import numpy as np
import pytest
from boxes import faults, measure
from synthetic import LABELS, synthetic_tables, write_tidy

from fastff.analysis import (
    Tidy,
    draw_distribution,
    draw_entropy,
    draw_panels,
    load_tidy,
    save_figure,
    summarise,
)

LONG = "Merging of experts under a title as long as any config may have: that is a hundred letters"


def tidy_of(*args, **options) -> Tidy:
    return Tidy(**synthetic_tables(*args, **options))


def assert_clear(figure):
    assert faults(figure) == []


@pytest.mark.parametrize("experiment", ["soft_merging", "gate_activation"])
def test_panels_of_the_default_config(default_folders, experiment):
    runs = load_tidy(default_folders[experiment], LABELS).runs
    figure = draw_panels(runs, "Title")
    assert_clear(figure)
    n_widths, n_variants = runs["hidden_features"].nunique(), runs["variant"].nunique()
    assert len(figure.axes) == 3 * n_widths
    assert all(len(axes.containers) == n_variants for axes in figure.axes)
    assert figure._suptitle.get_text() == "Title · mnist5k · 5 seeds"
    assert {text.get_text() for text in figure.legends[0].get_texts()} == set(runs["label"])
    assert [a.get_ylabel() for a in figure.axes[::n_widths]] == [
        *("train loss (nats)", "validation loss (nats)", "hard accuracy (%)")
    ]
    bottom = figure.axes[-1]
    assert bottom.get_xlabel() == "depth"
    assert [tick.get_text() for tick in bottom.get_xticklabels()] == [
        str(depth) for depth in sorted(runs["depth"].unique())
    ]


def test_distribution_of_the_default_config(default_folders):
    tidy = load_tidy(default_folders["expert_distribution"], LABELS)
    bars = draw_distribution(tidy, "moe_mixture", "Distribution of samples over experts")
    assert_clear(bars)
    assert len(bars.axes) == 16
    assert_clear(draw_entropy(tidy, "Distribution of samples over experts"))


@pytest.mark.parametrize(
    ("depths", "widths"), [((2,), (8,)), ((1, 3), (8, 16)), ((1, 4, 6), (2, 4, 8, 16, 32, 64))]
)
def test_any_grid_is_clear(depths, widths):
    tidy = tidy_of(("moe_mixture", "a" * 40), depths, widths)
    for figure in (
        draw_panels(tidy.runs, LONG),
        draw_entropy(tidy, LONG),
        draw_distribution(tidy, "moe_mixture", LONG),
    ):
        assert_clear(figure)


def test_the_check_sees_faults():
    figure = draw_panels(tidy_of(("moe_mixture",)).runs, "Title")
    figure.suptitle("Title " * 50)
    figure.axes[0].set_title("wide " * 20)
    figure.legends[0].set_loc("center")
    found = faults(figure)
    assert any("leaves the page" in fault for fault in found)
    assert any(fault.endswith("on '16 hidden units'") for fault in found)
    assert "a legend on a panel" in found


def test_lines_are_the_means_of_the_table(small):
    figure = draw_panels(small.runs, "Title")
    summary = summarise(small.runs, ["accuracy_hard"]).query("hidden_features == 16")
    for container, variant in zip(figure.axes[5].containers, ZOO_ORDER, strict=True):
        rows = summary[summary["variant"] == variant]
        mean, half_width = 100 * rows["accuracy_hard_mean"], 100 * rows["accuracy_hard_ci"]
        line, _, (bars,) = container.lines
        assert line.get_ydata() == pytest.approx(mean.to_numpy())
        ends = np.array([segment[:, 1] for segment in bars.get_segments()])
        assert ends[:, 0] == pytest.approx((mean - half_width).to_numpy())
        assert ends[:, 1] == pytest.approx((mean + half_width).to_numpy())


ZOO_ORDER = ("fff_mixture_logsigmoid", "moe_mixture")


def test_bars_add_up_to_all_samples(small):
    figure = draw_distribution(small, "moe_mixture", "Title")
    for axes in figure.axes:
        patches = [bar for group in axes.containers for bar in group]
        assert sum(bar.get_height() for bar in patches) == pytest.approx(100)
        totals = np.sum([[bar.get_height() for bar in group] for group in axes.containers], 0)
        assert (np.diff(totals) <= 1e-9).all()


def test_one_seed_has_no_bars_and_no_warning():
    tidy = tidy_of(("moe_mixture",), seeds=(4,))
    figure = draw_panels(tidy.runs, "Title")
    assert_clear(figure)
    assert figure._suptitle.get_text().endswith("· 1 seed")
    assert_clear(draw_entropy(tidy, "Title"))
    assert_clear(draw_distribution(tidy, "moe_mixture", "Title"))


def test_a_diverged_run_leaves_a_gap(small):
    runs = small.runs.copy()
    runs.loc[runs["depth"] == 2, "train_loss"] = np.nan
    line = draw_panels(runs, "Title").axes[0].containers[0].lines[0]
    assert np.isnan(line.get_ydata().astype(float)).tolist() == [False, True]


def test_unknown_variant(small):
    with pytest.raises(ValueError, match="no runs of variant 'mlp'; there are runs of fff_mixt"):
        draw_distribution(small, "mlp", "Title")


def test_settings_of_the_machine_change_nothing(small, tmp_path):
    plain = save_figure(draw_panels(small.runs, "Title"), tmp_path, "plain")
    before = dict(matplotlib.rcParams)
    with matplotlib.rc_context({"font.size": 20, "axes.facecolor": "red", "savefig.dpi": 50}):
        changed = save_figure(draw_panels(small.runs, "Title"), tmp_path, "changed")
    assert changed.svg.read_bytes() == plain.svg.read_bytes()
    assert changed.png.read_bytes() == plain.png.read_bytes()
    assert dict(matplotlib.rcParams) == before


def test_two_processes_write_the_same_bytes(tables, default_folders, tmp_path):
    tidy = write_tidy(tables, tmp_path / "tidy")
    script = Path(__file__).with_name("draw_and_save.py")
    written = []
    for seed in ("1", "2"):
        folder = tmp_path / seed
        environment = {**os.environ, "PYTHONHASHSEED": seed, "TZ": f"UTC{seed}"}
        environment.pop("SOURCE_DATE_EPOCH", None)
        command = [sys.executable, script, tidy, default_folders["tree_regions"], folder]
        subprocess.run(command, env=environment, check=True)
        written.append({path.name: path.read_bytes() for path in folder.iterdir()})
    first, second = written
    assert len(first) == 12
    assert {name for name in first if first[name] != second.get(name)} == set()


def test_a_failed_save_leaves_nothing(small, tmp_path, monkeypatch):
    figure = draw_panels(small.runs, "Title")

    def fail(path, **options):
        Path(path).write_bytes(b"half")
        raise OSError("disk full")

    monkeypatch.setattr(figure, "savefig", fail)
    with pytest.raises(OSError, match="disk full"):
        save_figure(figure, tmp_path / "new", "trial")
    assert list((tmp_path / "new").iterdir()) == []


def test_text_is_large_enough_to_print(small):
    # at 100 dots per inch a 6-point letter is 8.3 pixels high; the box holds a whole line
    figure = draw_distribution(small, "moe_mixture", "Title")
    written, _, _ = measure(figure)
    assert figure.dpi == 100
    assert min(min(box.width, box.height) for text, box in written if len(text) > 3) > 6
