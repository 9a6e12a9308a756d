"""The ledger: of the reference's tables, of few tables, and in a page."""

import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from made_up import timed

from fastff.analysis.ledger import VERDICTS, load_ledger, write_ledger
from fastff.analysis.summary import compare
from fastff.claims.judge import NOT_TESTABLE, Tables, holm_corrected, ledger
from fastff.claims.load import load_claims
from fastff.claims.readme import END, FIRST, START, inserted, page_part
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


def test_every_claim_has_a_row_and_only_what_is_not_testable_lacks_an_effect(computed):
    assert list(computed.columns) == list(LEDGER.header)
    assert list(computed["claim"]) == list(CLAIMS.claims)
    assert set(computed["verdict"]) <= set(VERDICTS)
    untested = computed["verdict"] == NOT_TESTABLE
    crossings = computed["statistic"] == "crossing"
    assert (computed["effect"].isna() == untested)[~crossings].all()
    assert (computed["n"] == 0).equals(untested)
    assert (computed["reason"].str.len() > 10).all()
    of_runs = computed[~untested & (computed["device"] == "any")]
    assert not of_runs[["effect", "low", "high", "p_value", "p_holm"]].isna().any(axis=None)


def test_the_study_s_test_is_that_of_the_table_of_comparisons(computed):
    runs = load_table(REFERENCE / "h100" / "tidy" / "soft_merging", "runs")
    pair = {"treatment": "fff_soft_merged_softplus", "baseline": "fff_mixture_softplus"}
    table = compare(runs, [pair], ["accuracy_hard"]).iloc[0]
    row = computed.set_index("claim").loc["smear_improves_fff"]
    assert row["effect"] == pytest.approx(100 * table["change_mean"], rel=1e-5)
    assert row["p_value"] == pytest.approx(table["p"], rel=1e-5)
    assert row["n"] == table["n_points"] == 12
    assert row["verdict"] == "does not reproduce"


def test_holm_by_hand():
    p_values = {"a": 0.01, "b": 0.04, "c": 0.03, "none": float("nan")}
    # the least times 3; the next times 2; the largest times 1, but no less than the one before
    assert holm_corrected(p_values) == pytest.approx({"a": 0.03, "c": 0.06, "b": 0.06})
    assert holm_corrected({"none": float("nan")}) == {}


@given(st.lists(st.floats(0, 1), min_size=1, max_size=20))
def test_holm_corrects_upwards_and_keeps_the_order(values):
    found = holm_corrected({str(place): value for place, value in enumerate(values)})
    corrected = np.array([found[str(place)] for place in range(len(values))])
    assert (corrected >= np.array(values)).all()
    assert (corrected <= 1).all()
    order = np.argsort(values, kind="stable")
    assert (np.diff(corrected[order]) >= 0).all()


def test_what_may_not_be_read_is_not_testable(tmp_path):
    table = ledger(CLAIMS, Tables([REFERENCE / "h100"], only=["region_leak"]))
    tested = table[table["verdict"] != NOT_TESTABLE]
    assert list(tested["claim"]) == ["more_region_leak_costs_more"]
    assert tested["p_holm"].equals(tested["p_value"])  # Holm's family is what was tested
    row = table.set_index("claim").loc["smear_improves_fff"]
    assert row["reason"] == "no runs of experiment soft_merging"
    empty = ledger(CLAIMS, Tables([tmp_path]))
    assert set(empty["verdict"]) == {NOT_TESTABLE}
    assert "no measurements of gate_benchmark" in set(empty["reason"])


def test_an_experiment_without_enough_seeds_is_not_testable(tmp_path):
    runs = load_table(REFERENCE / "h100" / "tidy" / "region_leak", "runs")
    folder = tmp_path / "tidy" / "region_leak"
    folder.mkdir(parents=True)
    runs[runs["seed"] < 2].to_csv(folder / "runs.csv", index=False)
    row = ledger(CLAIMS, Tables([tmp_path])).set_index("claim").loc["more_region_leak_costs_more"]
    assert row["verdict"] == NOT_TESTABLE
    assert row["reason"] == "2 seeds; at least 3 are needed"


def test_claims_of_speed_read_benchmarks_of_their_device(tmp_path):
    """A table of the benchmarks' schema: the fused descent overtakes, on the GPU alone."""
    depths = range(1, 14)
    rows = [
        *timed("product", {depth: 20.0 * depth for depth in depths}, 0.05),
        *timed("log", {depth: 21.0 * depth for depth in depths}, 0.05),
        *timed("transition", {depth: 5.0 * 1.6**depth for depth in depths}, 0.05),
        *timed("linear", {depth: 6.0 + 0.001 * 2**depth for depth in depths}, 0.05),
        *timed("descent", {depth: 9.0 * depth for depth in depths}, 0.05),
        *timed("descent_fused", dict.fromkeys(depths, 6.5), 0.01),
    ]
    layers = [
        *timed("fff", {15: 3.0}, case="width", batch=256, hidden_features=32),
        *timed("dense", {0: 660.0}, case="width", batch=256, hidden_features=2**20),
        *timed("moe_top1", {15: 6.0}, case="width", batch=256, hidden_features=32),
        *timed("node_tree", {11: 1.0}, case="ultrafastbert_cpu", batch=1, device="cpu"),
        *timed("dense_4095", {0: 100.0}, case="ultrafastbert_cpu", batch=1, device="cpu"),
    ]
    folder = tmp_path / "benchmarks"
    folder.mkdir()
    pd.DataFrame(rows).to_csv(folder / "gate_benchmark.csv", index=False)
    pd.DataFrame(layers).to_csv(folder / "layer_benchmark.csv", index=False)
    found = ledger(CLAIMS, Tables([tmp_path])).set_index("claim")
    verdicts = found["verdict"]

    assert found.loc["fff_is_220_times_as_fast_as_feed_forward", "effect"] == 220
    assert verdicts["fff_is_220_times_as_fast_as_feed_forward"] == "reproduces"
    assert found.loc["fff_is_6_times_as_fast_as_moe", "effect"] == 2
    assert verdicts["fff_is_6_times_as_fast_as_moe"] == "reproduces in part"
    assert verdicts["ultrafastbert_is_78_times_as_fast_cpu"] == "reproduces"
    assert verdicts["ultrafastbert_is_341_times_as_fast_cpu"] == "reproduces in part"
    assert verdicts["ultrafastbert_is_40_times_as_fast_gpu"] == NOT_TESTABLE
    # 2**9 / 1000 is the first above the half microsecond that the kernel starts with
    assert found.loc["fused_descent_overtakes_dense_gates_gpu", "effect"] == 9
    assert verdicts["fused_descent_overtakes_dense_gates_gpu"] == "reproduces"
    assert verdicts["descent_overtakes_dense_gates_gpu"] == "does not reproduce"
    assert pd.isna(found.loc["descent_overtakes_dense_gates_gpu", "effect"])
    assert found.loc["descent_overtakes_transition_gpu", "effect"] == 5
    assert verdicts["descent_overtakes_transition_gpu"] == "reproduces"
    assert verdicts["descent_overtakes_dense_gates_cpu"] == NOT_TESTABLE
    assert found.loc["level_by_level_overtakes_transition_gpu", "effect"] == 8
    speeds = found.loc[found["unit"] == "×", ["p_value", "p_holm"]]
    assert len(speeds) > 3
    assert speeds.isna().all(axis=None)


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
    assert f"\n{len(computed)} claims: " in new
    with pytest.raises(ConfigError, match="claim 'none' of the marker isn't in the ledger"):
        inserted(page.replace(f"{names[0]}:", "none:"), computed)


def test_the_command_writes_inserts_and_checks(tmp_path, capsys):
    stem, page = tmp_path / "claims", tmp_path / "page.md"
    file = str(ROOT / "config" / "claims.yaml")
    config = str(ROOT / "config" / "reference.yaml")
    shared = ["--tables", str(REFERENCE / "h100"), "--only", "region_leak", "--output"]
    of_config = ["claims", "--config", config, "--claims", file]
    assert main([*of_config, *shared, str(stem)]) == 0
    assert main(["claims", "--claims", file, *shared, str(tmp_path / "again")]) == 0
    for end in ("csv", "md", "tex"):
        assert stem.with_suffix(f".{end}").read_bytes() == (tmp_path / f"again.{end}").read_bytes()
    assert re.search(r"begin{tabular}{p{.*}llp{.*}}", stem.with_suffix(".tex").read_text())

    page.write_text(f"{START}\n{END}\n")
    insert = ["claims", "--insert", str(page), "--ledger", str(stem.with_suffix(".csv"))]
    assert main([*insert, "--check"]) == 1
    assert f"{page} is stale" in capsys.readouterr().out
    assert page.read_text() == f"{START}\n{END}\n"
    assert main(insert) == 0
    assert main([*insert, "--check"]) == 0
    assert "The more region leak, the lower the accuracy" in page.read_text()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--output", "x"], "--tables is missing"),
        (["--output", "x", "--tables", ".", "--claims", "none.yaml"], "claims file none.yaml: No"),
        (["--output", "x", "--tables", ".", "--config", "none.yaml"], "config file none.yaml: No"),
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
    with pytest.raises(TidyError, match="column verdict has 'holds'; allowed are reproduces"):
        load_ledger(saved.csv)
