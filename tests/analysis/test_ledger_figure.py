"""The ledger as people see it: figure, table and sentences."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from boxes import faults

from fastff.analysis import (
    count_verdicts,
    describe_ledger,
    draw_ledger,
    draw_ledger_times,
    load_ledger,
    shown_ledger,
    to_markdown,
)
from fastff.analysis.ledger import SHORT, VERDICTS
from fastff.analysis.ledger_figure import shares
from fastff.claims.ledger import COUNTS, NUMBERS
from fastff.tables.schema import LEDGER

REFERENCE = Path(__file__).parents[2] / "results" / "reference" / "claims.csv"


def row(claim, unit, effect, low, high, verdict=VERDICTS[0], published=np.nan):
    texts = dict.fromkeys(LEDGER.texts, "") | {
        "claim": claim, "kind": "replication", "source": "A paper, Table 1",
        "short": f"the {claim} claim",
        "statement": f"The {claim} | claim.", "expects": "faster",
        "published": "a number", "experiment": "race",
        "target": "race", "device": "cuda", "dataset": "A GPU", "dtype": "float32", "batch": "32",
        "statistic": "speedup", "unit": unit, "decided": "before", "verdict": verdict,
        "reason": "because",
    }  # fmt: skip
    numbers = dict.fromkeys(NUMBERS, np.nan) | {"effect": effect, "low": low, "high": high}
    return texts | numbers | dict.fromkeys(COUNTS, 0) | {"n": 3, "published_value": published}


@pytest.fixture
def table() -> pd.DataFrame:
    speeds = pd.DataFrame(
        [
            row("speed", "×", 41.26, 38.0, 45.0, VERDICTS[1], 220.0),
            row("slow", "×", 0.8, 0.7, 0.9, VERDICTS[3]),
            row("depth", "depth", 9.0, 8.0, np.nan),
            row("never", "depth", np.nan, np.nan, np.nan),
            row("unknown", "", np.nan, np.nan, np.nan, VERDICTS[4]),
        ]
    )
    known = load_ledger(REFERENCE)
    known = known[known["device"] == ""]
    return pd.concat([known, speeds], ignore_index=True)


def test_the_figure_has_a_row_per_replication(table):
    figure = draw_ledger(table, "Which claims hold?")
    (effects,) = figure.axes
    replications = table[table["kind"] == "replication"]
    drawn = replications[replications["effect"].notna() & (replications["device"] == "")]
    names = [text.get_text() for text in effects.get_yticklabels()]
    assert names == [name[0].upper() + name[1:] for name in drawn["short"]]
    assert faults(figure) == []
    (legend,) = figure.legends
    hidden = len(replications) - len(drawn)
    assert legend.get_title().get_text() == f"{len(replications)} replications, {hidden} not tested"
    counts = drawn["verdict"].value_counts()
    assert [text.get_text() for text in legend.get_texts()] == [
        f"{counts.get(verdict, 0)} {verdict}" for verdict in VERDICTS[:4]
    ]


def test_figures_of_the_reference_fit_a_screen():
    known = load_ledger(REFERENCE)
    for draw in (draw_ledger, draw_ledger_times):
        figure = draw(known, "Which claims hold? " * 3)
        assert faults(figure) == []
        width, height = figure.get_size_inches()
        assert 900 * height / width <= 830


def test_claims_about_time_are_speeds_and_crossings(table):
    figure = draw_ledger_times(table, "Time")
    speeds, crossings = figure.axes
    assert [text.get_text() for text in speeds.get_yticklabels()] == ["The speed claim"]
    written = [text.get_text() for text in crossings.texts]
    assert written[:4] == ["from depth 9", "a number", "never", "a number"]
    assert faults(figure) == []
    (legend,) = figure.legends
    assert legend.get_title().get_text() == "speed-ups: 1; crossings: 2"


def test_speeds_are_drawn_over_the_published_on_a_logarithmic_axis(table):
    (axes,) = draw_ledger_times(table[table["claim"] == "speed"], "Speed").axes
    assert axes.get_xscale() == "log"
    shown = [tuple(line.get_xdata()) for line in axes.lines]
    assert (38.0 / 220.0, 45.0 / 220.0) in shown
    assert (41.26 / 220.0,) in shown
    assert (1 / 220.0,) in shown  # where neither is faster
    assert [text.get_text() for text in axes.texts[:2]] == ["41.3× [38, 45]", "220×"]


@pytest.mark.parametrize(
    ("expects", "margin", "numbers", "published", "expected"),
    [
        ("higher", 0.5, (4.0, 3.0, 5.0), 2.0, (2.0, 1.5, 2.5)),
        ("lower", 0.5, (-4.0, -5.0, -3.0), -2.0, (2.0, 2.5, 1.5)),
        ("lower", 0.5, (1.0, 0.0, 2.0), -2.0, (-0.5, 0.0, -1.0)),
        ("equal", 2.0, (0.5, -1.0, 2.0), -0.3, (0.75, 1.0, 0.0)),
        ("equal", 1.0, (-2.0, -3.0, -1.5), 0.1, (-1.0, -0.5, -2.0)),
        ("higher", 0.5, (4.0, 3.0, 5.0), np.nan, (np.nan, np.nan, np.nan)),
    ],
)
def test_effects_are_turned_so_that_right_supports(expects, margin, numbers, published, expected):
    keys = ("effect", "low", "high")
    rows = pd.DataFrame(
        [dict(zip(keys, numbers, strict=True))
         | {"expects": expects, "margin": margin, "published_value": published}]
    )  # fmt: skip
    np.testing.assert_allclose(shares(rows)[[*keys]].iloc[0], expected)


@pytest.mark.parametrize("draw", [draw_ledger, draw_ledger_times])
def test_the_figure_of_nothing_says_so(table, draw):
    figure = draw(table[table["verdict"] == VERDICTS[4]], "Nothing")
    assert [text.get_text() for text in figure.axes[0].texts] == [
        "no claim is tested by these results"
    ]


@pytest.mark.parametrize(
    ("claim", "here"),
    [
        ("speed", "41.3× [38, 45]"),
        ("depth", "depth 9 [8, –]"),
        ("unknown", "–"),
        ("merged_tree_beats_mixed_tree_fashion_mnist", "-0.808 % [-2.86, +1.24]"),
    ],
)
def test_the_table_shows_the_effect_with_its_unit(claim, here, table):
    place = list(table["claim"]).index(claim)
    assert shown_ledger(table)["here"].iloc[place] == here


def test_a_bar_in_a_statement_does_not_end_its_cell(table):
    lines = to_markdown(shown_ledger(table)).splitlines()
    assert r"The speed \| claim." in " ".join(lines)


def test_the_table_says_what_the_numbers_are_of(table):
    shown = shown_ledger(table)
    assert [column for column in shown if column in SHORT] == list(SHORT)
    assert shown["data"].iloc[-5] == "A GPU, float32, batch 32"
    place = list(table["claim"]).index("merged_tree_beats_mixed_tree_fashion_mnist")
    row = shown.iloc[place]
    assert (row["data"], row["form"], row["shapes"]) == ("Fashion-MNIST", "hard", "4 of 12")


def test_the_table_says_how_a_number_is_known_and_what_one_more_run_may_give():
    of_runs = row("runs", "points", -3.48, -3.9, -3.1, published=-3.5) | {
        "device": "", "mark": "P", "model": "a tree", "prediction_low": -5.08,
        "prediction_high": 1.5, "best_effect": -3.02, "p_holm": 0.012, "n": 10, "n_shapes": 4,
        "n_agree": 3, "exception": "depth 1: +2", "rules_commit": "0a8d0921", "runs_commit":
        "d51ede5f, 7474e8d0",
    }  # fmt: skip
    beyond = of_runs | {
        "best_effect": np.nan, "prediction_high": -1.5, "decided": "after", "rules_commit": "",
        "runs_commit": "", "exception": "",
    }  # fmt: skip
    best, alone = shown_ledger(pd.DataFrame([of_runs, beyond])).to_dict("records")
    assert best["here"] == "-3.48 points [-3.9, -3.1]; best of 10: -3.02"
    assert best["one more run"] == "best run: [-5.08, +1.5], holds 0"
    assert (best["mark"], best["model"], best["p (Holm)"]) == ("P", "a tree", "0.012")
    assert (best["shapes"], best["exception"]) == ("3 of 4", "depth 1: +2")
    assert best["rules, runs"] == "0a8d092, d51ede5 and 7474e8d"
    assert alone["here"] == "-3.48 points [-3.9, -3.1]"
    assert alone["one more run"] == "[-5.08, -1.5]"
    assert (alone["exception"], alone["rules, runs"]) == ("–", "after, –")
    untested = pd.DataFrame([beyond | {"statistic": ""}])
    assert shown_ledger(untested)["rules, runs"].tolist() == ["–"]


def test_every_claim_is_a_line(table):
    lines = describe_ledger(table).splitlines()
    assert len(lines) == len(table)
    assert lines[-5] == (
        "- **same direction** (replication): The speed | claim. *A paper, Table 1: a number.* "
        "Here, A GPU: speedup 41.3× [38, 45]. Because."
    )
    assert lines[-2].endswith("a number.* Because.")
    assert "nan" not in "".join(lines)
    after = table.assign(decided="after")
    assert "chosen with results at hand" in describe_ledger(after)


def test_verdicts_are_counted_by_kind(table):
    speeds = table.tail(5).assign(kind=["replication"] * 3 + ["ours"] * 2)
    assert count_verdicts(speeds.assign(verdict=VERDICTS[0], kind="ours")) == "5 ours: 5 replicate."
    assert count_verdicts(speeds) == (
        "3 replications: 1 replicates, 1 same direction, 1 contradicted. "
        "2 ours: 1 replicates, 1 not tested."
    )
