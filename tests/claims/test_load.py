"""Claims files: the shipped one, and the one clear message for what a file may not say."""

import copy
from pathlib import Path

import pytest
import yaml

from fastff.claims.load import load_claims
from fastff.config.errors import ConfigError
from fastff.config.load import load_config

CONFIGS = Path(__file__).parents[2] / "config"
SHIPPED = yaml.safe_load((CONFIGS / "claims.yaml").read_text())
RUNS, TIMES = "smear_improves_fff", "fff_is_6_times_as_fast_as_moe"


def changed(path: str, value: object) -> dict:
    """Return the shipped file with one key set, or without it for None."""
    values = copy.deepcopy(SHIPPED)
    values["experiments_of"] = str(CONFIGS / "reference.yaml")
    *parents, last = path.split(".")
    inner = values
    for key in parents:
        inner = inner[int(key)] if isinstance(inner, list) else inner[key]
    if value is None:
        del inner[last]
    else:
        inner[last] = value
    return values


def written(tmp_path: Path, values: dict) -> Path:
    path = tmp_path / "claims.yaml"
    path.write_text(yaml.safe_dump(values))
    return path


@pytest.mark.parametrize("name", ["config", "smoke", "paper", "reference"])
def test_the_shipped_file_is_that_of_every_shipped_config(name):
    config = load_config(CONFIGS / f"{name}.yaml")
    assert config.claims == "config/claims.yaml"
    claims = load_claims(CONFIGS / "claims.yaml", config)
    assert len(claims.claims) > 30


def test_claims_are_of_every_source_and_have_published_values_in_words():
    claims = load_claims(CONFIGS / "claims.yaml")
    assert {claim.source for claim in claims.claims.values()} == set(claims.sources)
    statements = [claim.statement for claim in claims.claims.values()]
    assert len(set(statements)) == len(statements)
    assert not any("\n" in statement for statement in statements)


def test_the_reference_config_can_test_every_claim_of_an_experiment():
    config = load_config(CONFIGS / "reference.yaml")
    for claim in load_claims(CONFIGS / "claims.yaml").claims.values():
        if claim.experiment is not None:
            block = config.experiments[claim.experiment]
            trained = {variant.name for variant in block.variants}
            assert set(claim.statistic.variants()) <= trained


BAD = [
    (f"claims.{RUNS}.experiment", "soft_mergin",
     "experiment = 'soft_mergin': unknown experiment 'soft_mergin', did you mean 'soft_merging'?"),
    (f"claims.{RUNS}.statistic.metric", "acuracy_hard",
     "statistic.metric = 'acuracy_hard': unknown column 'acuracy_hard', did you mean 'acc"),
    (f"claims.{RUNS}.statistic.match", ["depht"],
     "statistic.match[0] = 'depht': unknown column 'depht', did you mean 'depth'?"),
    (f"claims.{RUNS}.statistic.pairs.0.baseline", "moe_mixture",
     "statistic = 'moe_mixture': unknown variant of soft_merging 'moe_mixture'; allowed: fff_mi"),
    (f"claims.{RUNS}.target", "soft_merging_table",
     "target = 'soft_merging_table': unknown figure or table 'soft_merging_table', did you mean"),
    (f"claims.{RUNS}.statistic.kind", "cange",
     "statistic: Input tag 'cange' found using 'kind' does not match any of the expected tags"),
    (f"claims.{RUNS}.statistic.over", "runs", "statistic.change.over = 'runs': Input should be"),
    (f"claims.{RUNS}.statistic.pairs", [], "statistic.change.pairs: There should be at least 1"),
    (f"claims.{RUNS}.statistic.pairs.0.treatment", {"variant": "x", "width": 3},
     "statistic.change.pairs[0].treatment: unknown key 'width', did you mean 'depth'?"),
    (f"claims.{RUNS}.device", "cpu", ": device: a claim of a benchmark needs it, and no other may"),
    (f"claims.{RUNS}.experiment", None, ": allowed is one of experiment and benchmark, and one mu"),
    (f"claims.{RUNS}.statistic", {"kind": "crossing", "treatment": "a", "baseline": "b",
                                  "along": "depth"},
     ": statistic.kind = 'crossing' needs a benchmark"),
    (f"claims.{RUNS}.statment", "x", ": unknown key 'statment', did you mean 'statement'?"),
    (f"claims.{RUNS}.published.value", None,
     "rule = 'higher_by_half': it asks for share, but published.value is missing"),
    (f"claims.{RUNS}.rule", "highr", "rule = 'highr': unknown rule 'highr', did you mean 'hig"),
    (f"claims.{RUNS}.rule", "overtakes_anywhere",
     "rule = 'overtakes_anywhere': it asks for fastest and last; statistic 'change' gives effe"),
    (f"claims.{RUNS}.source", "fast", "source = 'fast': unknown source 'fast', did you me"),
    (f"claims.{TIMES}.benchmark", "layer_bench",
     "benchmark = 'layer_bench': unknown benchmark 'layer_bench', did you mean 'layer_benchmark'?"),
    (f"claims.{TIMES}.statistic.treatment", "ff",
     "statistic = 'ff': unknown variant of layer_benchmark 'ff', did you mean 'fff'?"),
    (f"claims.{TIMES}.statistic.along", "width",
     "statistic.along = 'width': unknown column 'width'"),
    (f"claims.{TIMES}.statistic.along", "dtype",
     "statistic.along = 'dtype': unknown column 'dtype'"),
    (f"claims.{TIMES}.statistic.where", {"bach": 3},
     "statistic.where.bach = 'bach': unknown column 'bach', did you mean 'batch'?"),
    (f"claims.{TIMES}.statistic.least", 8, None),
    (f"claims.{TIMES}.device", None, ": device: a claim of a benchmark needs it"),
    (f"claims.{TIMES}.device", "tpu", "device = 'tpu': Input should be 'cpu' or 'cuda'"),
    (f"claims.{TIMES}.target", "widths",
     "target = 'widths': allowed are layer_benchmark and names that begin with it"),
    (f"claims.{TIMES}.rule", "higher",
     "rule = 'higher': it asks for p_holm; statistic 'speedup' gives effect, low, high, share"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("path", "value", "message"), BAD, ids=[f"{p}={v}"[:70] for p, v, _ in BAD]
)
def test_a_bad_claim_is_refused_in_one_line_with_its_key(path, value, message, tmp_path):
    file = written(tmp_path, changed(path, value))
    if message is None:
        assert load_claims(file)
        return
    with pytest.raises(ConfigError) as caught:
        load_claims(file)
    claim = ".".join(path.split(".")[:2])
    start = f"{file}: {claim}{message if message.startswith(':') else f'.{message}'}"
    assert str(caught.value).startswith(start), str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("least_seeds", 1, "least_seeds = 1: Input should be greater than or equal to 2"),
        ("bootstrap.level", 1.0, "bootstrap.level = 1.0: Input should be less than 1"),
        ("bootstrap.samples", 7, "bootstrap: unknown key 'samples', did you mean 'resamples'?"),
        ("rules.higher.reproduces", {"lo": {"above": 0}}, "rules.higher.reproduces[0]: key 'lo'"),
        ("rules.higher.reproduces", {"low": {}}, "rules.higher.reproduces[0].low: neither above"),
        ("rules.higher.in_part", {}, "rules.higher.in_part[0]: There should be at least 1"),
        ("experiments_of", "none.yaml", "config file"),
        ("claims", {}, "claims: There should be at least 1 item"),
    ],
)
def test_a_bad_file_is_refused(path, value, message, tmp_path):
    with pytest.raises(ConfigError) as caught:
        load_claims(written(tmp_path, changed(path, value)))
    assert message in str(caught.value)


def test_two_bad_claims_give_two_lines(tmp_path):
    values = changed(f"claims.{RUNS}.experiment", "x")
    values["claims"][TIMES]["target"] = "y"
    with pytest.raises(ConfigError) as caught:
        load_claims(written(tmp_path, values))
    assert len(str(caught.value).splitlines()) == 2


def test_a_claim_may_be_about_an_experiment_of_the_config_in_use(tmp_path):
    values = changed(f"claims.{RUNS}.experiment", "mine")
    del values["claims"][RUNS]["target"]
    file = written(tmp_path, values)
    with pytest.raises(ConfigError, match="unknown experiment 'mine'"):
        load_claims(file)
    config = tmp_path / "mine.yaml"
    config.write_text(
        f"extends: [{CONFIGS}/smoke.yaml]\nexperiments: {{mine: {{extends: soft_merging}}}}\n"
    )
    assert load_claims(file, load_config(config)).claims[RUNS].block == "mine"


def test_a_file_that_is_none_is_named(tmp_path):
    with pytest.raises(ConfigError, match=r"claims file .*none\.yaml: No such file"):
        load_claims(tmp_path / "none.yaml")
