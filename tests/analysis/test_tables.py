"""Tables: every digit in the CSV, and readable text in Markdown and LaTeX."""

import csv
import math
import shutil
import subprocess

import pandas as pd
import pytest
from bs4 import BeautifulSoup

from fastff.analysis import (
    compare,
    runs_with_distribution,
    summarise,
    to_latex,
    to_markdown,
    write_table,
)
from fastff.tables.format import show, show_interval, show_p
from fastff.tables.schema import Column

FRAME = pd.DataFrame(
    {
        "experiment": "trial",
        "dataset": "mnist5k",
        "variant": ["a", "b"],
        "label": ["50 % & more_|", "plain"],
        "depth": [1, 2],
        "train_loss_mean": [0.123456789, math.nan],
        "train_loss_ci": [0.01, math.nan],
        "accuracy_hard_mean": [0.98765, 0.5],
        "accuracy_hard_ci": [0.00123, math.nan],
        "p": [0.00001, math.nan],
    }
)


def cells(markdown: str) -> list[list[str]]:
    """Return the cells of a table, without the caption below it."""
    lines = markdown.split("\n\n")[0].splitlines()
    rows = [line.replace(r"\|", "¦").strip("|").split("|") for line in lines]
    return [[cell.strip() for cell in row] for row in rows]


def test_csv_has_every_digit(tmp_path, small):
    frame = summarise(small.runs, ["train_loss", "accuracy_hard"])
    saved = write_table(frame, tmp_path / "new" / "trial")
    with saved.csv.open(newline="") as file:
        rows = list(csv.DictReader(file))
    for column in frame:
        texts = [row[column] for row in rows]
        kind = type(frame[column].tolist()[0])
        assert [kind(text) for text in texts] == frame[column].tolist()
    assert {path.name for path in (tmp_path / "new").iterdir()} == {
        *("trial.csv", "trial.md", "trial.tex", "trial.html")
    }


def test_markdown():
    head, rule, first, second = cells(to_markdown(FRAME))
    assert head == ["variant", "depth", "training loss (nats)", "hard accuracy (%)", "p"]
    assert first == ["50 % & more_¦", "1", "0.123 ± 0.010", "**98.77 ± 0.12**", "<0.0001"]
    assert second == ["plain", "2", "–", "50.00 ± –", "–"]
    assert [cell.endswith(":") for cell in rule] == [False, True, True, True, True]
    assert to_markdown(FRAME).endswith("\n\nIn all rows: dataset MNIST-5k.")


def test_latex_columns_are_of_words_numbers_or_a_width():
    assert to_latex(FRAME).startswith("\\begin{tabular}{lrrrr}\n")
    wide = to_latex(FRAME, {"variant": 3.5})
    assert wide.startswith("\\begin{tabular}{p{3.5cm}rrrr}\n")


def test_a_single_row_has_what_was_measured_and_says_of_what_below():
    assert cells(to_markdown(FRAME[:1]))[0] == ["training loss (nats)", "hard accuracy (%)", "p"]
    caption = "In all rows: dataset MNIST-5k; variant 50 % & more_|; depth 1."
    assert to_markdown(FRAME[:1]).endswith(caption)


def test_at_most_nine_columns_and_whole_groups(small):
    metrics = ["train_loss", "validation_loss", "train_accuracy_soft", "accuracy_hard", "entropy"]
    frame = summarise(runs_with_distribution(small).assign(train_accuracy_soft=0.5), metrics,
                      best=True)  # fmt: skip
    assert len(frame.columns) > 20
    assert cells(to_markdown(frame))[0] == [
        *("variant", "depth", "hidden units", "training loss (nats)", "held-out loss (nats)"),
        *("best run's held-out loss (nats)", "hard accuracy (%)", "best run's hard accuracy (%)"),
        "entropy (bits)",
    ]


def test_a_measure_that_no_row_has_is_left_out():
    frame = FRAME.assign(p=math.nan)
    assert "p" not in cells(to_markdown(frame))[0]
    assert "–" not in to_markdown(frame).split("\n\n")[1]


def test_the_table_for_people_may_be_another(tmp_path):
    saved = write_table(FRAME, tmp_path / "trial", shown=FRAME[["label", "depth"]])
    assert len(saved.csv.read_text().splitlines()[0].split(",")) == FRAME.shape[1]
    assert cells(saved.md.read_text())[0] == ["variant", "depth"]


def test_the_page_is_the_printed_table(tmp_path):
    saved = write_table(FRAME, tmp_path / "table")
    page = BeautifulSoup(saved.html.read_text(), "html.parser")
    shown = [[cell.text for cell in row.select("th, td")] for row in page.select("tr")]
    head, _, *rows = cells(to_markdown(FRAME))
    plain = [[cell.replace("¦", "|").strip("*") for cell in row] for row in rows]
    assert shown == [head, *plain]
    assert page.select_one("caption").text == "In all rows: dataset MNIST-5k."
    assert [cell.text for cell in page.select("b")] == ["98.77 ± 0.12"]
    assert "td:nth-child(2)" in saved.html.read_text()  # depth is a number
    assert "td:nth-child(1)" not in saved.html.read_text()


def test_latex_is_escaped():
    text = to_latex(FRAME)
    assert r"50 \% \& more\_|" in text
    best = r"0.123 $\pm$ 0.010 & \textbf{98.77 $\pm$ 0.12} & $<$0.0001 \\"
    assert best in text
    assert text.endswith("% In all rows: dataset MNIST-5k.\n")
    assert r"50.00 $\pm$ -- & -- \\" in text
    assert r"hard accuracy (\%)" in text
    assert [rule in text for rule in (r"\toprule", r"\midrule", r"\bottomrule")] == [True] * 3
    assert text.isascii()


def test_a_name_without_label_is_shown():
    assert "variant" in to_markdown(FRAME.drop(columns="label")).splitlines()[0]


def test_changes_are_signed_percent(small):
    pair = {"treatment": "moe_mixture", "baseline": "fff_mixture_logsigmoid"}
    table = compare(small.runs, [pair])
    mean, half_width = table[["change_mean", "change_ci"]].iloc[0]
    shown = dict(zip(*(cells(to_markdown(table))[row] for row in (0, 2)), strict=True))
    assert shown["change (%)"] == show_interval("change", mean, half_width)
    assert shown["change (%)"][0] in "+-"
    assert shown["metric"] == "hard accuracy"
    assert "treatment MoE; baseline FFF, log-sigmoid" in to_markdown(table)


def test_the_best_run_stands_beside_the_mean(small):
    frame = summarise(small.runs, ["accuracy_hard"], best=True)
    head, _, first, *_ = cells(to_markdown(frame))
    shown = dict(zip(head, first, strict=True))
    assert shown["best run's hard accuracy (%)"] == f"{100 * frame['accuracy_hard_best'][0]:.2f}"


def test_a_region_leak_is_shown_where_there_is_one(small):
    frame = summarise(small.runs, ["accuracy_hard"])
    assert "region leak" not in to_markdown(frame)
    leaking = frame.assign(region_leak=[0.0] * 7 + [0.3])
    head, _, *rows = cells(to_markdown(leaking))
    assert [row[head.index("region leak")] for row in rows] == ["0"] * 7 + ["0.3"]


def test_empty_table(tmp_path, small):
    saved = write_table(compare(small.runs, []), tmp_path / "none")
    assert pd.read_csv(saved.csv).empty
    assert len(saved.md.read_text().splitlines()) == 2
    assert r"\bottomrule" in saved.tex.read_text()


@pytest.mark.parametrize(
    ("p", "shown"),
    [(0.5, "0.50"), (0.0379, "0.038"), (0.0079, "0.0079"), (0.003, "0.0030"), (1e-9, "<0.0001")],
)
def test_p_values(p, shown):
    assert show_p(p) == shown


def test_numbers():
    accuracy = Column("x", unit="%", style="fixed", digits=1)
    assert accuracy.heading == "x (%)"
    assert show_interval(accuracy, 0.5, 0.0149) == "50.0 ± 1.5"
    assert show_interval(accuracy, 0.5, 0.149) == "50 ± 15"
    assert show_interval(accuracy, 0.5, 0.000149) == "50.000 ± 0.015"
    assert show_interval(accuracy, 0.5, 0.0) == "50.0 ± 0"
    assert show(Column("x", style="fixed", signed=True), 0.5) == "+0.50"


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="needs pdflatex")
def test_latex_compiles(tmp_path):
    write_table(FRAME, tmp_path / "table")
    document = r"\documentclass{article}\usepackage{booktabs}\begin{document}\input{table}"
    (tmp_path / "main.tex").write_text(document + r"\end{document}")
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "main.tex"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
