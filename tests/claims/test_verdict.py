"""Verdicts: the shipped rules on numbers, by table, and what is said of them."""

from pathlib import Path

import pytest

from fastff.claims.judge import DOES_NOT, IN_PART, REPRODUCES, judge
from fastff.claims.load import load_claims
from fastff.claims.spec import Bound, Rule

RULES = load_claims(Path(__file__).parents[2] / "config" / "claims.yaml").rules
NAN = float("nan")
CASES = [
    # rule, effect, low, high, Holm's p, share of the published value
    ("higher", 2.0, 1.0, 3.0, 0.01, NAN, REPRODUCES),
    ("higher", 2.0, 1.0, 3.0, 0.20, NAN, IN_PART),
    ("higher", 2.0, -1.0, 5.0, 0.01, NAN, DOES_NOT),
    ("higher", -2.0, -3.0, -1.0, 0.01, NAN, DOES_NOT),
    ("lower", -2.0, -3.0, -1.0, 0.01, NAN, REPRODUCES),
    ("lower", -2.0, -3.0, -1.0, 0.05, NAN, IN_PART),
    ("lower", -2.0, -3.0, 0.0, 0.01, NAN, DOES_NOT),
    ("higher_by_half", 2.0, 1.0, 3.0, 0.01, 0.6, REPRODUCES),
    ("higher_by_half", 2.0, 1.0, 3.0, 0.01, 0.4, IN_PART),
    ("higher_by_half", 2.0, -0.1, 4.1, 0.01, 0.6, DOES_NOT),
    ("lower_by_half", -2.0, -3.0, -1.0, 0.01, 0.6, REPRODUCES),
    ("lower_by_half", -2.0, -3.0, -1.0, 0.01, 0.5, IN_PART),
    ("lower_by_half", 2.0, 1.0, 3.0, 0.01, -0.6, DOES_NOT),
    ("not_lower", 0.0, -0.4, 0.4, 0.9, NAN, REPRODUCES),
    ("not_lower", -0.5, -1.0, 0.1, 0.9, NAN, IN_PART),
    ("not_lower", -0.8, -1.0, -0.6, 0.9, NAN, DOES_NOT),
    ("the_same", 0.0, -0.4, 0.4, 0.9, NAN, REPRODUCES),
    ("the_same", 0.3, -0.4, 0.9, 0.9, NAN, IN_PART),
    ("the_same", 0.6, 0.4, 0.9, 0.9, NAN, DOES_NOT),
    ("as_fast", 91.0, 80.0, 99.0, NAN, 0.91, REPRODUCES),
    ("as_fast", 9.0, 8.0, 9.9, NAN, 0.09, IN_PART),
    ("as_fast", 1.0, 0.9, 1.1, NAN, 0.01, DOES_NOT),
]


@pytest.mark.parametrize(("name", "effect", "low", "high", "p_holm", "share", "verdict"), CASES)
def test_shipped_rules(name, effect, low, high, p_holm, share, verdict):
    numbers = {"effect": effect, "low": low, "high": high, "p_holm": p_holm, "share": share}
    assert judge(RULES[name], numbers)[0] == verdict


@pytest.mark.parametrize(
    ("name", "slowest", "fastest", "last", "verdict"),
    [
        ("overtakes", 0.5, 2.0, 2.0, REPRODUCES),
        ("overtakes", 1.5, 2.0, 2.0, IN_PART),
        ("overtakes", 0.5, 2.0, 0.9, DOES_NOT),
        ("overtakes_anywhere", 1.5, 2.0, 2.0, REPRODUCES),
        ("overtakes_anywhere", 0.5, 2.0, 2.0, REPRODUCES),
        ("overtakes_anywhere", 0.5, 2.0, 0.9, IN_PART),
        ("overtakes_anywhere", 0.5, 0.9, 0.9, DOES_NOT),
    ],
)
def test_shipped_rules_of_crossings(name, slowest, fastest, last, verdict):
    numbers = {"slowest": slowest, "fastest": fastest, "last": last}
    assert judge(RULES[name], numbers)[0] == verdict


def test_every_rule_is_tested_and_used():
    claims = load_claims(Path(__file__).parents[2] / "config" / "claims.yaml").claims.values()
    assert {claim.rule for claim in claims} == set(RULES)
    assert {case[0] for case in CASES} | {"overtakes", "overtakes_anywhere"} == set(RULES)


@pytest.mark.parametrize(
    ("bound", "inside", "outside"),
    [
        ({"above": 1}, [1.1], [1.0, 0.9, NAN]),
        ({"below": 1}, [0.9], [1.0, 1.1, NAN]),
        ({"above": 0, "below": 1}, [0.5], [0.0, 1.0, -1.0, 2.0, NAN]),
    ],
)
def test_a_bound_is_strict_and_a_missing_number_meets_none(bound, inside, outside):
    bound = Bound(**bound)
    assert all(bound.holds(value) for value in inside)
    assert not any(bound.holds(value) for value in outside)


def test_the_reason_names_what_holds_or_what_fails():
    rule = Rule.model_validate(
        {
            "says": "x",
            "reproduces": {"low": {"above": 0}, "p_holm": {"below": 0.05}},
            "in_part": [{"low": {"above": 0}}, {"effect": {"above": 5, "below": 9}}],
        }
    )
    numbers = {"effect": 2.0, "low": 1.0, "p_holm": 0.01}
    assert judge(rule, numbers)[1] == (
        "the interval's lower end is 1, above 0, Holm's p is 0.01, below 0.05"
    )
    assert judge(rule, numbers | {"p_holm": 0.2})[1] == "Holm's p is 0.2, not below 0.05"
    assert judge(rule, {"effect": NAN, "low": -1.0, "p_holm": 0.2})[1] == (
        "the interval's lower end is -1, not above 0; "
        "the effect is missing, not above 5 and below 9"
    )
