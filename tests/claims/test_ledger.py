"""The ledger: of the reference's tables, of few tables, and in a page."""

import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from made_up import timed

from fastff.analysis.ledger import SHORT, VERDICTS, load_ledger, write_ledger
from fastff.claims.file import Claim
from fastff.claims.ledger import Tables, ledger
from fastff.claims.load import load_claims
from fastff.claims.page import END, FIRST, START, inserted, page_part
from fastff.claims.verdict import NOT_TESTED
from fastff.cli import main
from fastff.config.errors import ConfigError
from fastff.tables.read import TidyError, load_table
from fastff.tables.schema import LEDGER

ROOT = Path(__file__).parents[2]
REFERENCE = ROOT / "results" / "reference"
CLAIMS = load_claims(ROOT / "config" / "claims.yaml")


@pytest.fixture(scope="module")
def computed() -> pd.DataFrame:
    folders = sorted(folder.parent for folder in REFERENCE.glob("*/tidy"))
    folders += sorted(folder.parent for folder in REFERENCE.glob("*/benchmarks"))
    return ledger(CLAIMS, Tables(list(dict.fromkeys(folders))))


def test_the_committed_ledger_is_what_the_reference_s_tables_give(computed, tmp_path):
    saved = write_ledger(computed, tmp_path / "claims")
    for path in (saved.csv, saved.md):
        assert path.read_bytes() == (REFERENCE / path.name).read_bytes()


@pytest.mark.parametrize(
    ("page", "rows"), [("README.md", 5), ("docs/ledger.md", len(CLAIMS.claims))]
)
def test_pages_show_the_committed_ledger(page, rows):
    text = (ROOT / page).read_text(encoding="utf-8")
    assert inserted(text, load_ledger(REFERENCE / "claims.csv")) == text
    table = FIRST.split(text)[-1].partition(END)[0]
    assert table.count("\n|") - 2 == rows


def test_every_claim_has_a_row_and_only_what_is_not_tested_lacks_numbers(computed):
    assert list(computed.columns) == list(LEDGER.header)
    assert list(computed["claim"]) == list(CLAIMS.claims)
    assert set(computed["verdict"]) <= set(VERDICTS)
    untested = computed["verdict"] == NOT_TESTED
    assert (computed["n"] == 0).equals(untested)
    assert (computed["reason"].str.len() > 10).all()
    of_runs = computed[~untested & (computed["device"] == "")]
    assert len(of_runs) > 5
    numbers = ["effect", "low", "high", "prediction_low", "prediction_high", "p_value", "p_holm"]
    assert not of_runs[numbers].isna().any(axis=None)
    assert (of_runs["n_agree"] <= of_runs["n_shapes"]).all()
    assert (of_runs["dataset"] != "").all()


def test_a_replication_on_other_data_is_a_generalisation_without_a_value(computed):
    """The committed runs are of Fashion-MNIST, the published ones of CIFAR-10 or MNIST."""
    others = computed[
        (computed["dataset"] != computed["published_dataset"]) & (computed["device"] == "")
    ]
    tested = others[(others["verdict"] != NOT_TESTED) & (others["kind"] != "ours")]
    assert set(tested["kind"]) == {"generalisation"}
    assert "replicates" not in set(tested["verdict"])


def test_holm_corrects_replications_apart_from_the_others(computed):
    for group in (computed["kind"] == "replication", computed["kind"] != "replication"):
        p_values = computed.loc[group, "p_value"].dropna()
        if len(p_values):
            corrected = computed.loc[p_values.index, "p_holm"]
            order = np.argsort(p_values.to_numpy(), kind="stable")
            factors = np.arange(len(p_values), 0, -1)
            oracle = np.minimum(1, np.maximum.accumulate(p_values.to_numpy()[order] * factors))
            assert corrected.to_numpy()[order] == pytest.approx(oracle, rel=1e-5)


def test_what_may_not_be_read_is_not_tested(tmp_path):
    table = ledger(CLAIMS, Tables([REFERENCE / "h100"], only=["gate_activation"]))
    tested = table[table["verdict"] != NOT_TESTED]
    assert set(tested["experiment"]) == {"gate_activation"}
    row = table.set_index("claim").loc["merged_tree_beats_mixed_tree"]
    assert row["reason"] == "no runs of experiment soft_merging"
    empty = ledger(CLAIMS, Tables([tmp_path]))
    assert set(empty["verdict"]) == {NOT_TESTED}
    assert "no measurements of gate_benchmark" in set(empty["reason"])


def test_soft_choices_of_runs_that_lack_them_are_not_tested():
    old = CLAIMS.claims["linear_beats_relu"]
    changed = old.statistic.model_copy(update={"metric": "train_choice_entropy"})
    claim = old.model_copy(update={"statistic": changed})
    claims = CLAIMS.model_copy(update={"claims": {"new": claim}})
    row = ledger(claims, Tables([REFERENCE / "h100"])).iloc[0]
    assert (row["verdict"], row["form"]) == (NOT_TESTED, "soft")
    assert row["reason"].startswith("train_choice_entropy is not recorded in these runs of ")


def test_an_experiment_without_enough_seeds_is_not_tested(tmp_path):
    runs = load_table(REFERENCE / "h100" / "tidy" / "gate_activation", "runs")
    folder = tmp_path / "tidy" / "gate_activation"
    folder.mkdir(parents=True)
    runs[runs["seed"] < 2].to_csv(folder / "runs.csv", index=False)
    row = ledger(CLAIMS, Tables([tmp_path])).set_index("claim").loc["linear_beats_relu"]
    assert row["verdict"] == NOT_TESTED
    assert row["reason"] == "2 seeds; at least 3 are needed"


def row_of(claim: str, tables=REFERENCE / "h100", **changes) -> pd.Series:
    """Return the row of a shipped claim with some values changed."""
    values = CLAIMS.claims[claim].model_dump(exclude_unset=True) | {"target": None} | changes
    claims = {"new": Claim.model_validate(values)}
    return ledger(CLAIMS.model_copy(update={"claims": claims}), Tables([tables])).iloc[0]


def mean_of(variant: str, epoch: int | None = None, **shape) -> float:
    """Return the mean over seeds of a committed variant's accuracy, after an epoch or the best."""
    epochs = load_table(REFERENCE / "h100" / "tidy" / "soft_merging", "epochs")
    for column, value in {"variant": variant, **shape}.items():
        epochs = epochs[epochs[column] == value]
    if epoch is not None:
        epochs = epochs[epochs["epoch"] == epoch]
    return 100 * epochs.groupby("seed")["accuracy_hard"].max().mean()


SOFTPLUS, MERGED = "fff_mixture_softplus", "fff_soft_merged_softplus"
POINT = {"depth": 2, "hidden_features": 8}


def difference(**sides) -> dict:
    return {"kind": "difference", "metric": "accuracy_hard", "pairs": [sides]}


def test_a_side_can_be_read_after_an_epoch_of_another_experiment():
    baseline = {"variant": SOFTPLUS, "experiment": "soft_merging", "epoch": 8, **POINT}
    treatment = {"variant": "fff_mixture_relu", **POINT}
    spec = difference(treatment=treatment, baseline=baseline)
    row = row_of("relu_beats_softplus_mixed", statistic=spec)
    runs = load_table(REFERENCE / "h100" / "tidy" / "gate_activation", "runs")
    point = runs[(runs["variant"] == "fff_mixture_relu") & (runs["depth"] == 2)]
    accuracy = 100 * point.loc[point["hidden_features"] == 8, "accuracy_hard"].mean()
    assert row["effect"] == pytest.approx(accuracy - mean_of(SOFTPLUS, 8, **POINT), rel=1e-5)
    assert row["verdict"] != NOT_TESTED

    baseline["epoch"] = 99
    late = row_of("relu_beats_softplus_mixed", statistic=spec)
    assert (late["verdict"], late["reason"]) == (NOT_TESTED, "the runs have no epoch 99")


def test_a_side_can_be_the_best_epoch():
    best = {"variant": SOFTPLUS, "metric": "best_accuracy_hard", **POINT}
    spec = difference(treatment={"variant": SOFTPLUS, "epoch": 25, **POINT}, baseline=best)
    row = row_of("merged_tree_beats_mixed_tree", statistic=spec)
    fall = mean_of(SOFTPLUS, 25, **POINT) - mean_of(SOFTPLUS, **POINT)
    assert row["effect"] == pytest.approx(fall, rel=1e-5)
    assert row["effect"] < 0
    assert (row["unit"], row["form"]) == ("points", "hard")
    assert row["statistic"] == "difference of accuracy_hard against best_accuracy_hard"


def test_a_run_that_failed_has_no_best_epoch(tmp_path):
    source, folder = REFERENCE / "h100" / "tidy" / "soft_merging", tmp_path / "tidy/soft_merging"
    folder.mkdir(parents=True)
    runs = load_table(source, "runs")
    runs.loc[(runs["variant"] == SOFTPLUS) & (runs["seed"] == 3), "accuracy_hard"] = np.nan
    runs.to_csv(folder / "runs.csv", index=False)
    load_table(source, "epochs").to_csv(folder / "epochs.csv", index=False)
    spec = difference(treatment=MERGED, baseline=SOFTPLUS) | {"metric": "best_accuracy_hard"}
    row = row_of("merged_tree_beats_mixed_tree", tmp_path, statistic=spec)
    assert row["reason"] == "a run has failed, or its metric is not finite"


def test_the_statistic_says_what_differs_from_the_usual():
    pairs = [
        {"treatment": {"variant": MERGED, "depth": 1}, "baseline": {"variant": SOFTPLUS}},
        {"treatment": {"variant": MERGED, "depth": 4}, "baseline": SOFTPLUS, "minus": True},
    ]
    row = row_of(
        "merged_tree_beats_mixed_tree",
        statistic={"kind": "change", "metric": "accuracy_hard", "pairs": pairs},
        expects={"kind": "higher", "sided": "one"},
    )
    assert row["statistic"] == "change of accuracy_hard, one-sided, less that of other pairs"


def test_the_best_of_several_is_shown_beside_the_mean(computed):
    best = computed[computed["best_effect"].notna()]
    assert set(best["claim"]) <= {
        name
        for name, claim in CLAIMS.claims.items()
        if claim.published is not None and claim.published.best_of
    }
    assert (best["n"] == 10).all()
    assert best["reason"].str.contains("; the best of 10 runs of each side differ by ").all()


def test_runs_of_the_published_data_replicate(tmp_path):
    """As the committed ones, but said to be of CIFAR-10, with an effect near the published one."""
    runs = load_table(REFERENCE / "h100" / "tidy" / "gate_activation", "runs")
    linear = runs["variant"] == "fff_mixture_linear"
    relu = runs[runs["variant"] == "fff_mixture_relu"]
    noise = 1 + 0.01 * np.random.default_rng(0).standard_normal(len(relu))
    runs.loc[linear, "accuracy_hard"] = (1.03 * relu["accuracy_hard"] * noise).to_numpy()
    folder = tmp_path / "tidy" / "gate_activation"
    folder.mkdir(parents=True)
    runs.assign(dataset="cifar10").to_csv(folder / "runs.csv", index=False)
    row = ledger(CLAIMS, Tables([tmp_path])).set_index("claim").loc["linear_beats_relu"]
    assert (row["kind"], row["verdict"]) == ("replication", "replicates")
    assert row["prediction_low"] < row["published_value"] == 3.0 < row["prediction_high"]
    assert row["p_holm"] >= row["p_value"]


def test_claims_of_speed_read_one_mode_and_dtype_of_their_device(tmp_path):
    """A table of the benchmarks' schema: the fused descent is faster, on the GPU alone."""
    depths = range(1, 14)
    rows = [
        *timed("transition", {depth: 5.0 * 1.6**depth for depth in depths}, mode="eager"),
        *timed("linear", {depth: 6.0 + 0.001 * 2**depth for depth in depths}, mode="eager"),
        *timed("descent", {depth: 9.0 * depth for depth in depths}, mode="eager"),
        *timed("descent", dict.fromkeys(depths, 0.001)),
        *timed("linear", {depth: 6.0 + 0.001 * 2**depth for depth in depths}),
        *timed("descent_fused", dict.fromkeys(depths, 6.5)),
    ]
    layers = [
        *timed("fff", {15: 3.0}, case="width", batch=256, hidden_features=32),
        *timed("fff_gathered", {15: 3.0}, case="width", batch=256, hidden_features=32),
        *timed("dense", {0: 660.0}, case="width", batch=256, hidden_features=2**20),
        *timed("node_tree_gathered", {11: 1.0}, case="ultrafastbert", batch=1024, mode="eager"),
        *timed("dense_3072", {0: 3.0}, case="ultrafastbert", batch=1024, mode="eager"),
    ]
    folder = tmp_path / "benchmarks"
    folder.mkdir()
    pd.DataFrame(rows).to_csv(folder / "gate_benchmark.csv", index=False)
    pd.DataFrame(layers).to_csv(folder / "layer_benchmark.csv", index=False)
    found = ledger(CLAIMS, Tables([tmp_path])).set_index("claim")

    widest = found.loc["fff_is_220_times_as_fast_as_feed_forward"]
    assert (widest["effect"], widest["verdict"]) == (220, "same direction")  # another shape
    native = found.loc["ultrafastbert_gpu_native"]
    assert (native["effect"], native["verdict"]) == (3, "same direction")
    descent = found.loc["descent_overtakes_transition_gpu"]
    assert (descent["effect"], descent["verdict"]) == (5, "same direction")
    assert (descent["dtype"], descent["batch"]) == ("float32", "32")
    never = found.loc["descent_never_overtakes_dense_gates_gpu"]
    assert (never["kind"], never["verdict"]) == ("generalisation", "same direction")
    assert (native["batch"], native["runs_commit"]) == ("1024", "0123abcd")
    assert found.loc["fused_descent_beats_linear_gate_gpu", "verdict"] == "same direction"
    assert found.loc["descent_overtakes_dense_gates_cpu", "verdict"] == NOT_TESTED
    assert found.loc[found["device"] != "", ["p_value", "p_holm"]].isna().all(axis=None)


def test_a_page_keeps_what_is_around_the_ledger(computed):
    page = f"before\n{START}\nold\n{END}\nafter\n"
    new = inserted(page, computed)
    assert new == f"before\n{START}\n{page_part(computed)}\n{END}\nafter\n"
    assert inserted(new, computed) == new
    assert new.count("\n| ") == len(computed) + 2


@pytest.mark.parametrize("page", ["", START, END, f"{END}{START}", f"{START}{END}{START}{END}"])
def test_a_page_without_the_markers_is_refused(page, computed):
    with pytest.raises(ConfigError, match="allowed is a page with"):
        inserted(page, computed)


def test_a_page_may_name_the_rows_that_it_shows(computed):
    names = list(computed["claim"][:2])
    page = START.replace("claims:", f"claims {' '.join(reversed(names))}:") + f"\n{END}\n"
    new = inserted(page, computed)
    assert inserted(new, computed) == new
    assert new.count("\n| ") == len(names) + 2
    assert f"\n| {' | '.join(SHORT)} |\n" in new
    assert " not tested. " in new
    with pytest.raises(ConfigError, match="claim 'none' of the marker isn't in the ledger"):
        inserted(page.replace(f"{names[0]}:", "none:"), computed)


def test_the_command_writes_inserts_and_checks(tmp_path, capsys):
    stem, page = tmp_path / "claims", tmp_path / "page.md"
    file = str(ROOT / "config" / "claims.yaml")
    config = str(ROOT / "config" / "reference.yaml")
    shared = ["--tables", str(REFERENCE / "h100"), "--only", "gate_activation", "--output"]
    of_config = ["claims", "--config", config, "--claims", file]
    assert main([*of_config, *shared, str(stem)]) == 0
    assert main(["claims", "--claims", file, *shared, str(tmp_path / "again")]) == 0
    for end in ("csv", "md", "tex"):
        assert stem.with_suffix(f".{end}").read_bytes() == (tmp_path / f"again.{end}").read_bytes()
    columns = re.sub("p", r"p{[\\d.]+cm}", "lpppplpllllplll")
    assert re.search(f"begin{{tabular}}{{{columns}}}", stem.with_suffix(".tex").read_text())

    page.write_text(f"{START}\n{END}\n")
    insert = ["claims", "--insert", str(page), "--ledger", str(stem.with_suffix(".csv"))]
    assert main([*insert, "--check"]) == 1
    assert f"{page} is stale" in capsys.readouterr().out
    assert page.read_text() == f"{START}\n{END}\n"
    assert main(insert) == 0
    assert main([*insert, "--check"]) == 0
    assert (
        "A mixed tree is more accurate with linear nodes than with ReLU nodes" in page.read_text()
    )


TABLES = str(REFERENCE / "h200")
CLAIMS_FILE = str(ROOT / "config" / "claims.yaml")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--output", "x"], "--tables is missing"),
        (["--output", "x", "--tables", TABLES, "--claims", "none.yaml"], "file none.yaml: No"),
        (["--output", "x", "--tables", TABLES, "--config", "none.yaml"], "file none.yaml: No"),
        (["--output", "x", "--tables", "."], "--tables .: has neither tidy/ nor benchmarks/"),
        (
            ["--output", "x", "--tables", TABLES, "--claims", CLAIMS_FILE, "--only", "top_q"],
            "--only top_q: unknown experiment 'top_q'; allowed: soft_merging, ",
        ),
        (["--output", "x", "--check"], "--check is about a page"),
        (["--insert", "none.md", "--ledger", "none.csv"], "none.csv: No such file"),
    ],
)
def test_bad_input_gives_code_2_and_a_line(arguments, message, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["claims", *arguments]) == 2
    assert message in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_a_table_that_is_no_ledger_is_refused(computed, tmp_path):
    saved = write_ledger(computed, tmp_path / "claims")
    computed.drop(columns="p_holm").to_csv(saved.csv, index=False)
    with pytest.raises(TidyError, match=r"claims\.csv: missing columns: p_holm"):
        load_ledger(saved.csv)
    computed.assign(verdict="holds").to_csv(saved.csv, index=False)
    with pytest.raises(TidyError, match="column verdict has 'holds'; allowed are replicates"):
        load_ledger(saved.csv)
