"""Statistics of runs: against scipy, hand-computed cases, simulations, and what can't be tested."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from made_up import HIGHER, both_sides, paired, runs_of, slope
from scipy import stats

from fastff.claims.file import METRICS, RUN_ENDS, Direction, Equivalence
from fastff.claims.runs import (
    NotTestedError,
    best_interval,
    estimate_of_runs,
    mean_interval,
    prediction_interval,
)

NEW = np.array([[0.80, 0.84, 0.85], [0.70, 0.74, 0.73], [0.90, 0.92, 0.94]])
OLD = np.array([[0.78, 0.80, 0.80], [0.70, 0.70, 0.72], [0.86, 0.90, 0.90]])
ACCURACIES = arrays(float, (4, 3), elements=st.floats(0.3, 0.99))


def estimate(runs, spec, expects=HIGHER, others=None, **more):
    """Return the estimate of runs, and of those of other origins."""
    origins = {RUN_ENDS: runs} | (others or {})
    return estimate_of_runs(origins, spec, expects, **{"least_seeds": 3} | more)


def test_the_unit_is_the_seed():
    found = estimate(both_sides(NEW, OLD), paired())
    seeds = 100 * (NEW - OLD).mean(axis=0)
    oracle = stats.ttest_1samp(seeds, 0)
    assert found.effect == pytest.approx(seeds.mean())
    assert found.p_value == pytest.approx(oracle.pvalue)
    assert (found.low, found.high) == pytest.approx(tuple(oracle.confidence_interval()))
    assert (found.n, found.unit, found.dataset) == (3, "points", "mnist5k")


def test_a_change_is_relative_to_each_seed_s_baseline():
    found = estimate(both_sides(NEW, OLD), paired("change"))
    assert found.effect == pytest.approx(100 * ((NEW - OLD) / OLD).mean())
    assert found.unit == "%"


def test_the_study_s_test_is_over_the_shapes_of_one_run():
    found = estimate(both_sides(NEW, OLD), paired())
    of_runs = [stats.ttest_rel(NEW[:, seed], OLD[:, seed]) for seed in range(3)]
    assert found.over_shapes == pytest.approx(
        (np.median([one.statistic for one in of_runs]), np.median([one.pvalue for one in of_runs]))
    )
    assert found.over_shapes[0] > 0  # treatment less baseline
    alone = estimate(both_sides(NEW[:1], OLD[:1]), paired())
    assert np.isnan(alone.over_shapes).all()


def test_runs_whose_shapes_all_have_the_same_effect_are_left_out_of_the_study_s_test():
    new = NEW.copy()
    new[:, 0] = OLD[:, 0] + 0.1
    found = estimate(both_sides(new, OLD), paired())
    of_runs = [stats.ttest_rel(NEW[:, seed], OLD[:, seed]) for seed in (1, 2)]
    assert found.over_shapes[0] == pytest.approx(np.mean([one.statistic for one in of_runs]))


LOWER = Direction(kind="lower")


@pytest.mark.parametrize(
    ("changes", "expects", "n_agree", "exception"),
    [
        ((2, 3, 4), HIGHER, 3, ""),
        ((2, -2, -1), HIGHER, 1, "hidden_features 8, region_leak 0: -2"),
        ((-9, 2, 1), HIGHER, 2, "hidden_features 4, region_leak 0: -9"),  # though the mean is < 0
        ((2, -3, 0), LOWER, 1, "hidden_features 4, region_leak 0: +2"),
        ((0.9, -0.9, 0.1), Equivalence(kind="equal", margin=1.0), 3, ""),
        (
            (3, -4, 0.1),
            Equivalence(kind="equal", margin=1.0),
            1,
            "hidden_features 8, region_leak 0: -4",
        ),
    ],
)
def test_shapes_are_counted_that_agree_with_the_claim(changes, expects, n_agree, exception):
    change = np.array(changes)[:, None] + [[-0.01, 0.0, 0.01]]
    found = estimate(both_sides(OLD + change / 100, OLD), paired(), expects)
    assert (found.n_shapes, found.n_agree) == (3, n_agree)
    assert found.exception == (f"depth 1, {exception}" if exception else "")


def test_one_sided_claims_have_one_sided_tests():
    runs = both_sides(NEW, OLD)
    both = estimate(runs, paired())
    higher, lower = (
        estimate(runs, paired(), Direction(kind=kind, sided="one")) for kind in ("higher", "lower")
    )
    assert higher.p_value == pytest.approx(both.p_value / 2)
    assert lower.p_value == pytest.approx(1 - both.p_value / 2)
    assert both.low < higher.low < higher.high < both.high


def test_an_equivalence_is_two_one_sided_tests():
    runs = both_sides(NEW, OLD)
    seeds = 100 * (NEW - OLD).mean(axis=0)
    found = estimate(runs, paired(), Equivalence(kind="equal", margin=5.0))
    assert found.p_value == pytest.approx(stats.ttest_1samp(seeds, 5.0, alternative="less").pvalue)
    assert (found.p_value < 0.05) == (found.high < 5.0)


def test_soft_choices_of_training_samples_are_metrics():
    runs = both_sides(NEW, OLD)
    runs = runs.assign(train_choice_entropy=3 * runs["accuracy_hard"], train_choice_experts=8.0)
    runs.loc[runs["seed"] == 0, "train_choice_experts"] -= runs["variant"] == "new"
    for metric, unit in (("train_choice_entropy", "bits"), ("train_choice_experts", "experts")):
        assert metric in METRICS
        found = estimate(runs, paired(metric=metric))
        assert found.unit == unit
        assert found.effect == pytest.approx(3 * (NEW - OLD).mean() if unit == "bits" else -1 / 3)


def test_sides_may_have_other_metrics():
    pairs = [{"treatment": {"variant": "new", "metric": "accuracy_soft"}, "baseline": "old"}]
    found = estimate(both_sides(NEW, OLD), paired(pairs=pairs))
    assert found.effect == pytest.approx(1 + 100 * (NEW - OLD).mean())


def test_pairs_are_pooled():
    more = both_sides(NEW - 0.1, OLD - 0.2)
    more["variant"] = more["variant"] + "_too"
    pairs = [
        {"treatment": "new", "baseline": "old"},
        {"treatment": "new_too", "baseline": "old_too"},
    ]
    found = estimate(pd.concat([both_sides(NEW, OLD), more]), paired(pairs=pairs))
    assert found.n_shapes == 6
    assert found.effect == pytest.approx(100 * ((NEW - OLD).mean() + 0.05))


def gains(treatments, baselines):
    """Return runs and a statistic: what the first gains over that of the second."""
    runs = both_sides(treatments[0], baselines[0])
    more = both_sides(treatments[1], baselines[1])
    more["variant"] = more["variant"] + "_too"
    pairs = [
        {"treatment": "new", "baseline": "old"},
        {"treatment": "new_too", "baseline": "old_too", "minus": True},
    ]
    return pd.concat([runs, more], ignore_index=True), paired(pairs=pairs)


def test_a_claim_can_be_of_a_difference_of_gains():
    runs, spec = gains((NEW, NEW[:2] - 0.3), (OLD, OLD[1:] - 0.3))
    found = estimate(runs, spec)
    seeds = 100 * ((NEW - OLD).mean(axis=0) - (NEW[:2] - OLD[1:]).mean(axis=0))
    oracle = stats.ttest_1samp(seeds, 0)
    assert found.effect == pytest.approx(seeds.mean())
    assert found.p_value == pytest.approx(oracle.pvalue)
    assert (found.low, found.high) == pytest.approx(tuple(oracle.confidence_interval()))
    of_others = (NEW[:2] - OLD[1:]).mean()
    assert found.n_shapes == 3
    assert found.n_agree == ((NEW - OLD).mean(axis=1) > of_others).sum()
    assert np.isnan(found.over_shapes).all()


@given(ACCURACIES, ACCURACIES)
def test_swapped_gains_mirror_the_effect(new, old):
    there, back = gains((new, old), (0 * new, 0 * old)), gains((old, new), (0 * old, 0 * new))
    seeds = (new - old).mean(axis=0)
    if np.allclose(seeds, seeds[0], rtol=1e-9, atol=1e-12):
        return
    found, mirrored = estimate(*there), estimate(*back)
    assert found.effect == pytest.approx(100 * seeds.mean())
    assert (found.low, found.high) == pytest.approx((-mirrored.high, -mirrored.low))


def test_a_side_can_be_of_another_experiment_and_epoch():
    origin = ("earlier", 8)
    baseline = {"variant": "old", "experiment": "earlier", "epoch": 8}
    spec = paired(pairs=[{"treatment": "new", "baseline": baseline}])
    runs, earlier = both_sides(NEW, NEW), both_sides(OLD, OLD)
    found = estimate(runs, spec, others={origin: earlier})
    assert found.effect == pytest.approx(100 * (NEW - OLD).mean())
    with pytest.raises(NotTestedError, match=r"several datasets \(mnist5k, cifar10\)"):
        estimate(runs, spec, others={origin: earlier.assign(dataset="cifar10")})


def test_shapes_of_one_side_alone_are_left_out():
    wide = runs_of("old", np.full((1, 3), 0.1), widths=[64])
    assert estimate(pd.concat([both_sides(NEW, OLD), wide]), paired()).n_shapes == 3


def test_single_shapes_are_compared_whatever_they_are():
    runs = pd.concat(
        [runs_of("new", NEW[:1], widths=[8], depth=3), runs_of("old", OLD[:1], [256], depth=0)]
    )
    assert estimate(runs, paired()).effect == pytest.approx(100 * (NEW - OLD)[0].mean())


def test_a_side_can_fix_some_of_the_shape():
    runs = runs_of("new", NEW, widths=[8, 8, 8], leaks=[0.0, 0.1, 0.3])
    pairs = [
        {
            "treatment": {"variant": "new", "region_leak": 0.3},
            "baseline": {"variant": "new", "region_leak": 0.0},
        }
    ]
    found = estimate(runs, paired(pairs=pairs))
    assert found.effect == pytest.approx(100 * (NEW[2] - NEW[0]).mean())


def test_shapes_can_be_matched_by_another_column():
    runs = pd.concat(
        [
            runs_of("new", NEW, widths=[8, 16, 32], depth=2),
            runs_of("old", OLD, widths=[32, 64, 128], depth=0),
        ]
    )
    found = estimate(runs, paired(match=["training_width"]))
    assert found.effect == pytest.approx(100 * (NEW - OLD).mean())


def test_a_slope_is_that_of_least_squares_for_each_seed():
    found = estimate(runs_of("new", NEW), slope())
    slopes = [np.polyfit([2, 3, 4], 100 * NEW[:, seed], 1)[0] for seed in range(3)]
    assert found.effect == pytest.approx(np.mean(slopes))
    assert found.p_value == pytest.approx(stats.ttest_1samp(slopes, 0).pvalue)
    assert (found.unit, found.n_shapes) == ("points per doubling", 1)


def test_a_slope_by_a_step_and_at_one_depth():
    runs = pd.concat(
        [
            runs_of("new", NEW, widths=[4, 4, 4], leaks=[0.0, 0.1, 0.2]),
            runs_of("new", OLD, widths=[4, 4, 4], leaks=[0.0, 0.1, 0.2], depth=2),
        ]
    )
    spec = slope(along="region_leak", step=0.1, where={"depth": 1})
    slopes = [np.polyfit([0, 1, 2], 100 * NEW[:, seed], 1)[0] for seed in range(3)]
    found = estimate(runs, spec)
    assert found.effect == pytest.approx(np.mean(slopes))
    assert found.unit == "points per 0.1"


@given(ACCURACIES, ACCURACIES)
def test_swapped_sides_mirror_the_effect(new, old):
    seeds = (new - old).mean(axis=0)
    if np.allclose(seeds, seeds[0], rtol=1e-9, atol=1e-12):
        return
    there, back = (estimate(both_sides(*sides), paired()) for sides in ((new, old), (old, new)))
    assert there.effect == pytest.approx(-back.effect)
    assert (there.low, there.high) == pytest.approx((-back.high, -back.low))
    assert there.p_value == pytest.approx(back.p_value)
    assert there.prediction[0] <= there.low <= there.effect <= there.high <= there.prediction[1]


@pytest.mark.parametrize("n_seeds", [3, 5, 10])
@pytest.mark.parametrize("interval", [mean_interval, prediction_interval])
def test_intervals_cover_what_they_say(interval, n_seeds):
    """Of simulated normals, at 3, 5 and 10 seeds: a percentile bootstrap covers 75 to 90 %."""
    draw = np.random.default_rng(0)
    n_draws = 4000
    samples = 1 + draw.standard_normal((n_draws, n_seeds))
    inside = 0
    for seeds in samples:
        low, high = interval(seeds)
        target = 1 if interval is mean_interval else 1 + draw.standard_normal()
        inside += low <= target <= high
    least, most = stats.binom.interval(0.999, n_draws, 0.95)
    assert least <= inside <= most


@pytest.mark.parametrize("n_seeds", [3, 5, 10])
def test_an_equivalence_at_the_margin_is_seldom_found(n_seeds):
    draw = np.random.default_rng(1)
    n_draws = 2000
    effects = 0.5 + 0.1 * draw.standard_normal((n_draws, 1, n_seeds))
    rule = Equivalence(kind="equal", margin=50.0)
    found = sum(
        estimate(both_sides(effect, np.zeros_like(effect)), paired(), rule).high < 50.0
        for effect in effects[:400]
    )
    assert found <= stats.binom.ppf(0.999, 400, 0.05)


@pytest.mark.parametrize("n_seeds", [3, 5, 10])
@pytest.mark.parametrize("spread", [0.05, 0.3, 1.0])
def test_the_interval_of_the_best_of_ten_covers_it(n_seeds, spread):
    """It may cover a little more; with mean and spread as if known it covers 63 to 84 %."""
    draw = np.random.default_rng(3)
    n_draws = 200
    spreads = np.array([1.0, spread])
    inside = 0
    for _ in range(n_draws):
        low, high = best_interval(spreads * draw.standard_normal((1, n_seeds, 2)), 10, 1.0)
        best = (spreads * draw.standard_normal((10, 2))).max(axis=0)
        inside += low <= best[0] - best[1] <= high
    assert inside >= stats.binom.ppf(0.001, n_draws, 0.95)


def test_the_best_of_more_runs_is_more():
    draw = np.random.default_rng(2)
    samples = np.stack(
        [0.9 + 0.02 * draw.standard_normal((1, 10)), 0.9 + 0.001 * draw.standard_normal((1, 10))],
        axis=-1,
    )
    low, high = best_interval(samples, 10, 100.0)
    spread = samples[..., 0].std(ddof=1)
    # the mean of the largest of ten standard normals is 1.539
    centre = 100 * (np.diff(samples.mean(axis=1)[0, ::-1])[0] + 1.539 * spread)
    assert low < centre < high
    found = estimate(both_sides(NEW, OLD), paired(), best_of=10)
    assert found.prediction == best_interval(np.stack([NEW, OLD], axis=-1), 10, 100.0)
    best = 100 * np.mean([0.85 - 0.80, 0.74 - 0.72, 0.94 - 0.90])
    assert found.best_effect == pytest.approx(best)
    assert np.isnan(estimate(both_sides(NEW, OLD), paired()).best_effect)


@pytest.mark.parametrize(
    ("runs", "spec", "message"),
    [
        (both_sides(NEW[:, :2], OLD[:, :2]), paired(), "2 seeds; at least 3 are needed"),
        (runs_of("old", OLD), paired(), "variant new was not trained"),
        (both_sides(NEW * np.nan, OLD), paired(), "a run has failed, or its metric is not finite"),
        (both_sides(OLD + 0.01, OLD), paired(), "all seeds have the same effect"),
        (both_sides(NEW, 0 * OLD), paired("change"), "a baseline is 0"),
        (
            pd.concat([runs_of("new", NEW), runs_of("old", OLD, depth=2)]),
            paired(),
            "the two sides have no shape in common",
        ),
        (
            pd.concat([runs_of("new", NEW), runs_of("old", OLD), runs_of("far", OLD, depth=2)]),
            paired(
                pairs=[
                    {"treatment": "new", "baseline": "old"},
                    {"treatment": "new", "baseline": "far", "minus": True},
                ]
            ),
            "the two sides have no shape in common",
        ),
        (runs_of("new", NEW[:1]), slope(), "hidden_features has fewer than two values"),
        (
            runs_of("new", NEW, widths=[4, 4, 4], leaks=[0.0, 0.1, 0.2]),
            slope(along="region_leak"),
            "region_leak is 0, which can't be doubled",
        ),
        (
            both_sides(NEW, OLD),
            paired(metric="train_choice_entropy"),
            "train_choice_entropy is not recorded in these runs of new",
        ),
        (
            runs_of("new", NEW).assign(train_choice_experts=np.nan),
            slope(metric="train_choice_experts"),
            "train_choice_experts is not recorded in these runs of new",
        ),
        (
            runs_of("new", NEW),
            slope(where={"depth": 7}),
            "variant new was not trained with depth 7",
        ),
        (
            pd.concat(
                [runs_of("new", NEW, depth=2), runs_of("old", OLD, [16] * 3, 0, [0, 0.1, 0.2])]
            ),
            paired(match=["training_width"]),
            "variant old has several shapes with training_width 16",
        ),
    ],
)
def test_what_cannot_be_tested_says_why(runs, spec, message):
    with pytest.raises(NotTestedError, match=message):
        estimate(runs, spec)
