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
    load_ledger,
    shown_ledger,
    to_markdown,
)
from fastff.analysis.ledger import VERDICTS

REFERENCE = Path(__file__).parents[2] / "results" / "reference" / "claims.csv"
PUBLISHED = {"smear_improves_fff": 4.04, "speed": 220.0, "depth": 11.0}


def row(claim, unit, effect, low, high, verdict=VERDICTS[0]):
    return {
        "claim": claim, "source": "A paper, Table 1", "statement": f"The {claim} | claim.",
        "published": "a number", "experiment": "race", "target": "race", "device": "cuda",
        "statistic": "speedup", "effect": effect, "low": low, "high": high, "unit": unit, "n": 3,
        "p_value": np.nan, "p_holm": np.nan, "verdict": verdict, "reason": "because",
    }  # fmt: skip


@pytest.fixture
def table() -> pd.DataFrame:
    speeds = pd.DataFrame(
        [
            row("speed", "×", 41.26, 38.0, 45.0, VERDICTS[1]),
            row("slow", "×", 0.8, 0.7, 0.9, VERDICTS[2]),
            row("depth", "depth", 9.0, 8.0, np.nan),
            row("never", "depth", np.nan, np.nan, np.nan, VERDICTS[2]),
            row("unknown", "", np.nan, np.nan, np.nan, VERDICTS[3]),
        ]
    )
    known = load_ledger(REFERENCE)
    known = known[known["device"] == "any"]
    return pd.concat([known, speeds], ignore_index=True)


def test_the_figure_has_a_panel_per_unit_and_nothing_overlaps(table):
    figure = draw_ledger(table, PUBLISHED, "Which claims hold? · fashion_mnist")
    drawn = table[table["effect"].notna()]
    assert len(figure.axes) == drawn["unit"].nunique()
    labels = [text.get_text() for axes in figure.axes for text in axes.get_yticklabels()]
    assert sorted(labels) == sorted(name.replace("_", " ") for name in drawn["claim"])
    assert faults(figure) == []
    assert "without an effect: 2 of" in figure.legends[0].get_title().get_text()


def test_the_figure_shows_effect_interval_and_published_value(table):
    figure = draw_ledger(table[table["unit"] == "×"], PUBLISHED, "Speed")
    (axes,) = figure.axes
    assert axes.get_xscale() == "log"
    shown = [tuple(line.get_xdata()) for line in axes.lines]
    assert (38.0, 45.0) in shown
    assert (41.26,) in shown
    assert (220.0,) in shown


def test_the_figure_of_nothing_says_so(table):
    figure = draw_ledger(table[table["effect"].isna()], PUBLISHED, "Nothing")
    assert [text.get_text() for text in figure.axes[0].texts] == [
        "no claim is testable on this data"
    ]


@pytest.mark.parametrize(
    ("claim", "here"),
    [
        ("speed", "41.3× [38, 45]"),
        ("depth", "depth 9 [8, –]"),
        ("unknown", "–"),
        ("smear_improves_fff", "-1.02 % [-3.11, +1.01]"),
    ],
)
def test_the_table_shows_the_effect_with_its_unit(claim, here, table):
    place = list(table["claim"]).index(claim)
    assert shown_ledger(table)["here"].iloc[place] == here


def test_a_bar_in_a_statement_does_not_end_its_cell(table):
    lines = to_markdown(shown_ledger(table)).splitlines()
    assert r"The speed \| claim." in " ".join(lines)


def test_every_claim_is_a_line(table):
    lines = describe_ledger(table, {"speed": "Be fast."}).splitlines()
    assert len(lines) == len(table)
    assert lines[-5] == (
        "- **reproduces in part**: The speed | claim. *A paper, Table 1: a number.* Here, `race`, "
        "cuda, speedup 41.3× [38, 45]: because. Rule: Be fast."
    )
    assert lines[-4].endswith(": because.")
    assert "nan" not in "".join(lines)
    assert count_verdicts(table.tail(5)) == (
        "5 claims: reproduces 1, reproduces in part 1, does not reproduce 2, "
        "not testable on this data 1."
    )
