"""Failed runs: named in the text, counted in the table, seen in the figure, in no mean."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from matplotlib.text import Text
from synthetic import write_tidy
from test_notebooks import CONFIG, LARGE, NAMES, corner, parameters_of, run_cells, stored

from fastff.analysis import (
    compare,
    describe_comparisons,
    describe_runs,
    draw_changes,
    draw_epochs,
    load_tidy,
    rank,
    runs_with_distribution,
    summarise,
    to_markdown,
    trend,
)
from fastff.analysis.failed import NOTHING
from fastff.tables.schema import RUN, TIDY

SCORES = [
    *("train_loss", "validation_loss", "validation_loss_hard", "accuracy_soft", "accuracy_hard"),
    *("validation_accuracy_soft", "validation_accuracy_hard"),
    *("train_accuracy_soft", "train_accuracy_hard"),
]


def with_failures(tables: dict[str, pd.DataFrame], gone: pd.Series, epoch: int = 2) -> dict:
    """Return the tables with the runs of a mask over `runs` as failed in an epoch."""
    runs = tables["runs"].copy()
    runs["failed_epoch"] = np.where(gone, epoch, np.nan)
    runs["last_loss"] = np.where(gone, 1234.5, np.nan)
    runs.loc[gone, [*SCORES, "best_epoch"]] = np.nan
    keys = pd.MultiIndex.from_frame(runs.loc[gone, list(RUN)])
    spoilt = {"runs": runs}
    for name, table in tables.items():
        if name == "runs":
            continue
        own = pd.MultiIndex.from_frame(table[list(RUN)]).isin(keys)
        if name == "epochs":
            late = own & (table["epoch"] >= epoch)
            scores = [score for score in SCORES if score in table]
            spoilt[name] = table.assign(**{s: table[s].mask(late) for s in scores})
        else:
            spoilt[name] = table[~own]
    return spoilt


def read(folder: Path) -> dict[str, pd.DataFrame]:
    return {name: pd.read_csv(folder / f"{name}.csv") for name in TIDY}


def first_point(runs: pd.DataFrame) -> pd.Series:
    """Return a mask of the first variant's first shape."""
    first = runs.iloc[0]
    keys = ["variant", "depth", "hidden_features", "region_leak"]
    return (runs[keys] == first[keys]).all(axis=1)


def texts(figure) -> str:
    return "\n".join(text.get_text() for text in figure.findobj(Text))


@pytest.fixture
def one_failed(tables, load):
    """A small experiment of three seeds, of which the first run of the first point failed."""
    runs = tables["runs"]
    return load(with_failures(tables, first_point(runs) & (runs["seed"] == 0)))


def test_text_and_table_say_which(one_failed):
    said = describe_runs(one_failed.runs)
    assert "1 run failed, the loss being NaN or infinite" in said
    assert "depth 1, 8 hidden units, seed 0 (epoch 2, last finite loss 1.23e+03)" in said
    assert "Early stopping" not in said
    summary = summarise(one_failed.runs, ["accuracy_hard"], best=True)
    assert summary["n_failed"].tolist() == [1] + [0] * (len(summary) - 1)
    assert np.isnan(summary.loc[0, "accuracy_hard_mean"])
    assert summary.loc[0, "accuracy_hard_best"] > 0
    assert summary.loc[1:, "accuracy_hard_mean"].notna().all()
    assert to_markdown(summary).splitlines()[2].count("–") >= 1
    assert "| failed |" in to_markdown(summary).replace("  ", "")


def test_without_failures_nothing_is_said(small):
    assert "failed" not in describe_runs(small.runs)
    assert "n_failed" not in summarise(small.runs, ["accuracy_hard"])
    assert "n_left_out" not in compare(small.runs, [PAIR])
    assert "failed" not in texts(draw_changes(small.runs, [PAIR], "T"))


PAIR = {"treatment": "fff_mixture_logsigmoid", "baseline": "moe_mixture"}


def test_a_comparison_leaves_the_point_out_and_says_so(one_failed, small):
    row = compare(one_failed.runs, [PAIR], ["accuracy_hard"]).iloc[0]
    rest = small.runs[~((small.runs["depth"] == 1) & (small.runs["hidden_features"] == 8))]
    expected = compare(rest, [PAIR], ["accuracy_hard"]).iloc[0]
    assert (row["n_points"], row["n_left_out"]) == (3, 1)
    for name in ("change_mean", "change_ci", "t", "p", "n_better"):
        assert row[name] == pytest.approx(expected[name], nan_ok=True)
    said = describe_comparisons(compare(one_failed.runs, [PAIR]))
    assert "of 3 grid points (1 other left out, where a run failed)" in said


def test_a_variant_with_a_failed_run_comes_last_without_a_rank(one_failed):
    last = rank(one_failed.runs).iloc[-1]
    assert last["variant"] == PAIR["treatment"]
    assert np.isnan(last["accuracy_hard_mean"])
    assert np.isnan(last["mean_rank"])


def test_a_trend_is_over_the_runs_that_finished(one_failed, small):
    found = trend(runs_with_distribution(one_failed)).set_index(["variant", "depth"])
    whole = trend(runs_with_distribution(small)).set_index(["variant", "depth"])
    place = (PAIR["treatment"], 1)
    assert found.loc[place, "n_runs"] == whole.loc[place, "n_runs"] - 1
    assert np.isfinite(found.loc[place, "rho"])
    assert found.drop(index=place).equals(whole.drop(index=place))


def test_figures_have_a_cross_and_the_number(one_failed):
    for figure, n_crosses in (
        (draw_changes(one_failed.runs, [PAIR], "T"), 2),
        (draw_epochs(one_failed.epochs[one_failed.epochs["depth"].eq(1)
                     & one_failed.epochs["hidden_features"].eq(8)], "T"), 3),
    ):  # fmt: skip
        assert "1 run failed" in texts(figure)
        crosses = [line for axes in figure.axes for line in axes.lines if line.get_marker() == "x"]
        assert len(crosses) == n_crosses  # one in each panel of a metric
        assert all(len(line.get_xdata()) == 1 for line in crosses)
        assert "cross: a run failed" in texts(figure)


@pytest.mark.faults
@pytest.mark.parametrize("which", ["the first variant", "all"])
@pytest.mark.parametrize("name", NAMES)
def test_every_notebook_copes(name, which, default_folders, tmp_path, monkeypatch):
    """A variant that has no finished run, and the first seed of another; and no run at all."""
    block = CONFIG.experiments[name]
    folder = default_folders[name]
    tables = read(corner(folder, tmp_path / "whole") if name in LARGE else folder)
    runs = tables["runs"]
    gone = runs["variant"] == runs["variant"].iloc[0]
    gone |= (runs["variant"] == runs["variant"].iloc[-1]) & (runs["seed"] == 0)
    if which == "all":
        gone |= True
    tidy = write_tidy(with_failures(tables, gone), tmp_path / "tidy")
    assert load_tidy(tidy).runs["failed_epoch"].notna().sum() == gone.sum()
    monkeypatch.chdir(tmp_path)
    shown = run_cells(stored(block.notebook or name), parameters_of(block, name, tidy, tmp_path))
    for kind, ending in (("figures", "svg"), ("tables", "md")):
        found = {path.name for path in (tmp_path / kind).glob(f"*.{ending}")}
        assert found == {f"{stem}.{ending}" for stem in block.expand(kind, name)}
    said = [output.data for outputs in shown for output in outputs if hasattr(output, "data")]
    said = [text for text in said if isinstance(text, str)]
    assert f"{gone.sum()} runs failed, the loss being" in said[0]
    assert not any("nan" in text.replace("NaN", "") for text in said)
    if which == "all":
        assert NOTHING[:9] in "".join(said) or name not in ("region_leak", "parallel_trees")
