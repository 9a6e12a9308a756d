"""Figures: what they show, that nothing is on top of anything, and the same bytes every time."""

import os
import subprocess
import sys
from pathlib import Path

import matplotlib
import numpy as np
import pytest
from boxes import breaches, faults
from synthetic import LABELS, synthetic_tables, write_tidy

from fastff.analysis import (
    Tidy,
    draw_changes,
    draw_distribution,
    draw_entropy,
    load_tidy,
    mean_ci,
    save_figure,
)
from fastff.analysis.style import CHARACTER, wrap
from fastff.config.load import load_config

CONFIG = load_config(Path(__file__).parents[2] / "config" / "config.yaml")
LONG = "Merging of experts under a title as long as any config may have: that is a hundred letters"


def tidy_of(*args, **options) -> Tidy:
    return Tidy(**synthetic_tables(*args, **options))


def assert_clear(figure):
    assert faults(figure) == []


@pytest.mark.parametrize("experiment", ["soft_merging", "gate_activation"])
def test_changes_of_the_default_config(default_folders, experiment):
    runs = load_tidy(default_folders[experiment], LABELS).runs
    pairs = [pair.model_dump() for pair in CONFIG.experiments[experiment].comparisons]
    figure = draw_changes(runs, pairs, "Title")
    assert_clear(figure)
    n_widths = runs["hidden_features"].nunique()
    assert len(figure.axes) == 2 * n_widths
    assert all(len(axes.containers) == len(pairs) for axes in figure.axes)
    assert len({axes.get_ylim() for axes in figure.axes}) == 1
    assert figure._suptitle.get_text() == "Title · MNIST-5k · 5 seeds"
    names = [f"{LABELS[pair['treatment']]} − {LABELS[pair['baseline']]}" for pair in pairs]
    assert [text.get_text() for text in figure.legends[0].get_texts()] == names
    assert [a.get_ylabel() for a in figure.axes[::n_widths]] == [
        f"{form} accuracy,\ndifference (points)" for form in ("hard", "soft")
    ]
    bottom = figure.axes[-1]
    assert bottom.get_xlabel() == "depth"
    assert [tick.get_text() for tick in bottom.get_xticklabels()] == [
        str(depth) for depth in sorted(runs["depth"].unique())
    ]


def test_without_comparisons_a_note_says_so(small):
    (axes,) = draw_changes(small.runs, [], "Title").axes
    assert [text.get_text() for text in axes.texts] == ["The config names no comparisons."]


def test_distribution_of_the_default_config(default_folders):
    tidy = load_tidy(default_folders["expert_distribution"], LABELS)
    bars = draw_distribution(tidy, "Samples per expert", variants=["moe_mixture"])
    assert_clear(bars)
    assert len(bars.axes) == 3 * 4
    assert [axes.get_title().split("\n")[0] for axes in bars.axes[:4]] == [
        f"{width} hidden units" for width in (32, 16, 8, 4)
    ]
    assert_clear(draw_entropy(tidy, "Distribution of samples over experts"))


def test_distribution_of_several_variants_is_a_column_for_each(default_folders):
    figure = draw_distribution(load_tidy(default_folders["hypercube"], LABELS), "Title")
    assert_clear(figure)
    assert [axes.get_title().split("\n")[0] for axes in figure.axes[:3]] == [
        *("hypercube", "FFF, log-sigmoid", "MoE")
    ]


@pytest.mark.parametrize(
    ("depths", "widths"), [((2,), (8,)), ((1, 3), (8, 16)), ((1, 4, 6), (2, 4, 8, 16, 32, 64))]
)
def test_any_grid_is_clear(depths, widths):
    tidy = tidy_of(("moe_mixture", "a" * 40), depths, widths)
    for figure in (
        draw_changes(tidy.runs, [{"treatment": "a" * 40, "baseline": "moe_mixture"}], LONG),
        draw_entropy(tidy, LONG),
        draw_distribution(tidy, LONG, variants=["moe_mixture"]),
    ):
        assert_clear(figure)


def test_the_check_sees_faults():
    figure = draw_entropy(tidy_of(("moe_mixture",)), "Title")
    figure.suptitle("Title " * 50)
    figure.axes[0].set_title("wide " * 20)
    figure.legends[0].set_loc("center")
    found = faults(figure)
    assert any("leaves the page" in fault for fault in found)
    assert any(fault.endswith("on 'depth 2, 4 experts'") for fault in found)
    assert "a legend on a panel" in found


def test_the_rules_see_what_breaks_them():
    seen: dict[str, str] = {}
    figure = draw_entropy(tidy_of(("moe_mixture", "fff_mixture_log")), "Title")
    assert breaches(figure, seen) == []
    assert seen.keys() == {"MoE", "FFF, log-sigmoid"}
    figure.axes[0].set_title("fashion_mnist")
    figure.axes[1].set_title("small", fontsize=6.4)
    figure.legends[0].set_title("\n".join("tall" for _ in range(9)))
    figure.legends[0].legend_handles[0].set_color("red")
    found = " ".join(breaches(figure, seen))
    for fault in ("identifier fashion_mnist", "6.4 points", "of the height", "elsewhere #"):
        assert fault in found
    figure = draw_entropy(tidy_of(("moe_mixture",)), "With logsigmoid")
    figure.set_size_inches(10, 5)
    found = " ".join(breaches(figure, seen))
    assert "identifier logsigmoid" in found
    assert "4.9 points" in found  # a wide figure is printed smaller


def test_lines_are_the_mean_differences_of_the_seeds(small):
    figure = draw_changes(small.runs, [PAIR], "Title")
    hard = small.runs.query("hidden_features == 16").pivot(
        index=["depth", "seed"], columns="variant", values="accuracy_hard"
    )
    change = 100 * (hard[PAIR["treatment"]] - hard[PAIR["baseline"]])
    expected = [mean_ci(rows) for _, rows in change.groupby("depth")]
    (container,) = figure.axes[1].containers
    line, _, (bars,) = container.lines
    assert line.get_ydata() == pytest.approx([mean for mean, _ in expected])
    for segment, (mean, half_width) in zip(bars.get_segments(), expected, strict=True):
        assert segment[:, 1] == pytest.approx([mean - half_width, mean + half_width])


PAIR = {"treatment": "fff_mixture_logsigmoid", "baseline": "moe_mixture"}


def test_bars_add_up_to_all_samples(small):
    figure = draw_distribution(small, "Title", variants=["moe_mixture"])
    for axes in figure.axes[:2]:
        patches = [bar for group in axes.containers for bar in group]
        assert sum(bar.get_height() for bar in patches) == pytest.approx(100)
    for axes in figure.axes[2:4]:
        means = axes.containers[0].lines[0].get_ydata()
        assert sum(means) == pytest.approx(100)
        assert (np.diff(means) <= 1e-9).all()


def test_one_seed_has_no_bars_and_no_warning():
    tidy = tidy_of(("moe_mixture",), seeds=(4,))
    figure = draw_entropy(tidy, "Title")
    assert_clear(figure)
    assert figure._suptitle.get_text().endswith("· 1 seed")
    assert_clear(draw_distribution(tidy, "Title"))


def test_a_diverged_run_leaves_a_gap(small):
    runs = small.runs.copy()
    runs.loc[runs["depth"] == 2, "accuracy_hard"] = np.nan
    line = draw_changes(runs, [PAIR], "Title").axes[0].containers[0].lines[0]
    assert np.isnan(line.get_ydata().astype(float)).tolist() == [False, True]


def test_unknown_variant(small):
    with pytest.raises(ValueError, match="no runs of variant 'mlp'; there are runs of fff_mixt"):
        draw_distribution(small, "Title", variants=["mlp"])


def test_settings_of_the_machine_change_nothing(small, tmp_path):
    plain = save_figure(draw_entropy(small, "Title"), tmp_path, "plain")
    before = dict(matplotlib.rcParams)
    with matplotlib.rc_context({"font.size": 20, "axes.facecolor": "red", "savefig.dpi": 50}):
        changed = save_figure(draw_entropy(small, "Title"), tmp_path, "changed")
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
    figure = draw_entropy(small, "Title")

    def fail(path, **options):
        Path(path).write_bytes(b"half")
        raise OSError("disk full")

    monkeypatch.setattr(figure, "savefig", fail)
    with pytest.raises(OSError, match="disk full"):
        save_figure(figure, tmp_path / "new", "trial")
    assert list((tmp_path / "new").iterdir()) == []


def test_titles_are_broken_between_their_parts_into_even_lines():
    long = "Accuracy beside feed-forward layers of equal size"
    parts = (long, "Width and depth", "Fashion-MNIST", "10 seeds")
    lines = wrap(" · ".join(parts), 5.0, heading=True).split("\n")
    assert " · ".join(lines) == " · ".join(parts)
    assert len(lines) == 2
    assert lines == [long, " · ".join(parts[1:])]
    words = wrap("word " * 21, 20 * 5 * CHARACTER)
    assert [len(line.split()) for line in words.split("\n")] == [11, 10]
    assert wrap("A", 1.0) == "A"
    assert wrap("x" * 40, 1.0).count("\n") == 2  # a word that is longer than a line
