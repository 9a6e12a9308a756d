"""Reading tidy tables: what is read is what was written, and each fault has one clear message."""

import lzma
import math

import pandas as pd
import pytest
from synthetic import write_tidy

from fastff.analysis import TidyError, load_table, load_tidy


def test_round_trip(load, tables):
    read = load(tables)
    for name, table in tables.items():
        pd.testing.assert_frame_equal(getattr(read, name), table, rtol=1e-14)


@pytest.mark.parametrize(
    ("table", "column"),
    [("runs", "accuracy_hard"), ("epochs", "train_loss"), ("expert_counts", "class")],
)
def test_missing_column(load, tables, table, column):
    tables[table] = tables[table].drop(columns=column)
    with pytest.raises(TidyError, match=rf"{table}\.csv: missing columns: {column}; found: exp"):
        load(tables)


def test_names_are_read_as_text_and_nothing_as_nan(load, tables):
    names = {"moe_mixture": "NA", "fff_mixture_logsigmoid": "32"}
    tables = {name: table.replace({"variant": names}) for name, table in tables.items()}
    tables["runs"].loc[0, "train_loss"] = math.nan
    runs = load(tables).runs
    assert set(runs["variant"]) == set(runs["label"]) == {"NA", "32"}
    assert runs["train_loss"].isna().to_list() == [True] + [False] * (len(runs) - 1)


def test_labels_are_those_given_and_not_an_older_file_s(tmp_path, tables):
    for name, table in tables.items():
        table.assign(label="As it was").to_csv(tmp_path / f"{name}.csv", index=False)
    tidy = load_tidy(tmp_path, {"moe_mixture": "Mine"})
    for table in (tidy.runs, tidy.epochs, tidy.expert_counts):
        assert list(table.columns[:4]) == ["experiment", "dataset", "variant", "label"]
        assert list(table["label"].unique()) == ["fff_mixture_logsigmoid", "Mine"]
    assert set(load_table(tmp_path, "runs")["label"]) == {"fff_mixture_logsigmoid", "moe_mixture"}


def test_a_header_only_table_has_numbers(load, tables):
    tables["runs"]["n_experts"] = 1
    tables["expert_counts"] = tables["expert_counts"].iloc[:0]
    counts = load(tables).expert_counts
    assert counts.empty
    assert counts["count"].dtype == counts["epoch"].dtype == float


@pytest.mark.parametrize("column", ["seed", "region_leak", "n_experts"])
def test_an_empty_key(load, tables, column):
    tables["runs"] = tables["runs"].astype({column: float})
    tables["runs"].loc[3, column] = math.nan
    with pytest.raises(TidyError, match=rf"runs\.csv: column {column} is empty in row 4"):
        load(tables)


def test_an_optional_number_may_be_empty(tmp_path, default_folders):
    nodes = load_table(default_folders["tree_regions"], "nodes")
    nodes[["entropy", "weight_x", "weight_y", "bias"]] = math.nan
    write_tidy({"nodes": nodes}, tmp_path)
    assert load_table(tmp_path, "nodes")["bias"].isna().all()


def test_a_model_that_does_not_route_needs_no_counts(load, tables):
    counts, runs = tables["expert_counts"], tables["runs"]
    tables["expert_counts"] = counts[counts["variant"] != "moe_mixture"]
    with pytest.raises(TidyError, match=r"expert_counts\.csv and runs\.csv .*moe_mixture"):
        load(tables)
    runs.loc[runs["variant"] == "moe_mixture", "n_experts"] = 1
    assert set(load(tables).expert_counts["variant"]) == {"fff_mixture_logsigmoid"}


def test_missing_file(load, tables):
    tables.pop("epochs")
    with pytest.raises(TidyError, match=r"epochs\.csv: No such file"):
        load(tables)


def test_no_rows(load, tables):
    tables["runs"] = tables["runs"].iloc[:0]
    with pytest.raises(TidyError, match=r"runs\.csv has no rows"):
        load(tables)


def test_text_among_numbers(load, tables):
    tables["runs"] = tables["runs"].astype({"depth": object})
    tables["runs"].loc[3, "depth"] = "two"
    with pytest.raises(TidyError, match=r"runs\.csv: column depth has 'two'; allowed are numbers"):
        load(tables)


def test_repeated_run(load, tables):
    runs = tables["runs"]
    tables["runs"] = pd.concat([runs, runs.iloc[[4]]])
    with pytest.raises(TidyError, match=r"runs\.csv: two rows for variant fff.*seed 1"):
        load(tables)


def test_tables_of_other_runs(load, tables):
    counts = tables["expert_counts"]
    tables["expert_counts"] = counts[counts["seed"] != 2]
    with pytest.raises(TidyError, match=r"expert_counts\.csv and runs\.csv .* seed 2"):
        load(tables)


def test_compressed_tables(tmp_path, tables):
    write_tidy(tables, tmp_path)
    plain = load_tidy(tmp_path)
    for path in list(tmp_path.iterdir()):
        path.with_suffix(".csv.xz").write_bytes(lzma.compress(path.read_bytes()))
        path.unlink()
    packed = load_tidy(tmp_path)
    for name in tables:
        pd.testing.assert_frame_equal(getattr(packed, name), getattr(plain, name))
    half = (tmp_path / "runs.csv.xz").read_bytes()[:200]
    for spoilt in (half, b"no archive"):
        (tmp_path / "runs.csv.xz").write_bytes(spoilt)
        with pytest.raises(TidyError, match=r"runs\.csv\.xz is not a CSV table"):
            load_tidy(tmp_path)
    (tmp_path / "runs.csv.xz").unlink()
    with pytest.raises(TidyError, match=r"runs\.csv: No such file"):
        load_tidy(tmp_path)


@pytest.mark.parametrize("text", [b"", b"\xff\xfe\x00", b'a,b\n"1,2\n'])
def test_not_a_table(load, tables, tmp_path, text):
    load(tables)
    (tmp_path / "tidy" / "runs.csv").write_bytes(text)
    with pytest.raises(TidyError, match=r"runs\.csv is not a CSV table"):
        load_tidy(tmp_path / "tidy")
