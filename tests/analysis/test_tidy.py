"""Reading tidy tables: what is read is what was written, and each fault has one clear message."""

import pandas as pd
import pytest

from fastff.analysis import TidyError, load_tidy


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


@pytest.mark.parametrize("text", [b"", b"\xff\xfe\x00", b'a,b\n"1,2\n'])
def test_not_a_table(load, tables, tmp_path, text):
    load(tables)
    (tmp_path / "tidy" / "runs.csv").write_bytes(text)
    with pytest.raises(TidyError, match=r"runs\.csv is not a CSV table"):
        load_tidy(tmp_path / "tidy")
