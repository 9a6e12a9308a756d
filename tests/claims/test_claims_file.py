"""Claims files: the shipped one, and the one clear message for what a file may not say."""

import json
import subprocess
from collections import Counter
from pathlib import Path

import pytest
import yaml

from fastff.claims.file import ClaimsFile
from fastff.claims.load import load_claims
from fastff.config.errors import ConfigError
from fastff.config.load import load_config
from fastff.config.yaml_file import merge_layers, read_layers

CONFIGS = Path(__file__).parents[2] / "config"
SHIPPED = yaml.safe_load((CONFIGS / "claims.yaml").read_text())
BEST_OF = "fff_is_below_feed_forward_fashion_mnist"
RUNS, TIMES = "merged_tree_beats_mixed_tree", "fff_is_6_times_as_fast_as_moe"


def changed(path: str, value: object) -> dict:
    """Return the shipped file with one key set, or without it for None."""
    values = json.loads(json.dumps(SHIPPED))  # what an alias stands for, apart
    values["configs"] = [str(CONFIGS / name) for name in SHIPPED["configs"]]
    *parents, last = path.split(".")
    inner = values
    for key in parents:
        inner = inner[int(key)] if isinstance(inner, list) else inner[key]
    if value is None:
        del inner[last]
    elif isinstance(inner, list):
        inner[int(last) :] = [value]
    else:
        inner[last] = value
    return values


def drawn() -> dict:
    """Return what the claims file's configs draw, by name; what several have is the first's."""
    blocks: dict = {}
    for name in reversed(SHIPPED["configs"]):
        blocks |= load_config(CONFIGS / name).drawn()
    return blocks


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


def test_claims_are_of_every_source_and_say_what_was_published():
    claims = load_claims(CONFIGS / "claims.yaml")
    assert {claim.source for claim in claims.claims.values()} == set(claims.sources)
    kinds = Counter(claim.kind for claim in claims.claims.values())
    assert set(kinds) == {"replication", "generalisation", "ours"}
    assert not any("\n" in claim.statement for claim in claims.claims.values())


def test_a_replication_is_of_the_published_dataset():
    blocks = drawn()
    for name, claim in load_claims(CONFIGS / "claims.yaml").claims.items():
        if claim.kind == "replication" and claim.experiment is not None:
            assert blocks[claim.experiment].dataset == claim.published.dataset, name


def test_a_replication_is_by_the_published_recipe():
    """An experiment has one of its own, or another's but for the cap and when to stop."""
    blocks = {}
    for name in reversed(SHIPPED["configs"]):
        blocks |= merge_layers(read_layers(CONFIGS / name))["experiments"]
    for name, claim in load_claims(CONFIGS / "claims.yaml").claims.items():
        if claim.kind == "replication" and claim.experiment is not None:
            for block in map(blocks.get, claim.variants()):
                changed = block.get("recipe", {}) if "extends" in block else {}
                assert changed.keys() <= {"epochs", "early_stopping"}, name
                assert "extends" not in block or not block.get("recipes"), name


def test_the_named_configs_can_test_every_claim_of_an_experiment():
    blocks = drawn()
    for claim in load_claims(CONFIGS / "claims.yaml").claims.values():
        if claim.experiment is not None:
            for experiment, variants in claim.variants().items():
                assert set(variants) <= set(blocks[experiment].variant_names())


@pytest.mark.parametrize("name", ["paper", "claim_times"])
def test_what_claims_on_speed_need_is_timed(name):
    benchmarks = load_config(CONFIGS / f"{name}.yaml").benchmarks
    for claim, spec in load_claims(CONFIGS / "claims.yaml").claims.items():
        if spec.benchmark is None:
            continue
        statistic, timed = spec.statistic, benchmarks[spec.benchmark]
        assert timed.processes >= 3
        case = timed.cases[statistic.where["case"]]
        assert case.device == spec.device
        for side in (statistic.treatment, statistic.baseline):
            (variant,) = (one for one in case.variants if one.name == side.variant)
            assert side.mode in (variant.modes or case.modes), claim
            assert statistic.where["dtype"] in (variant.dtypes or case.dtypes), claim
        assert statistic.where.get("batch", case.batch[0]) in case.batch, claim
        at = getattr(statistic, "at", [getattr(statistic, "last", 0)])
        if statistic.along != "training_width":
            assert set(at) <= set(getattr(case, statistic.along)), claim


def test_rules_are_those_that_were_registered():
    """What a verdict depends on was committed before the runs, or says that it wasn't."""
    claims = load_claims(CONFIGS / "claims.yaml")
    judged = {
        name: commit
        for name, claim in claims.claims.items()
        if claim.not_tested is None and (commit := claims.registered_of(claim))
    }
    assert len(judged) > 40
    for commit in set(judged.values()):
        shown = subprocess.run(
            ["git", "show", f"{commit}:config/claims.yaml"],
            cwd=CONFIGS, capture_output=True, text=True, check=False,
        )  # fmt: skip
        if shown.returncode:
            pytest.skip(f"commit {commit} is not in this copy of the repository")
        before = ClaimsFile.model_validate(yaml.safe_load(shown.stdout)).claims
        for name in (name for name in judged if judged[name] == commit):
            assert claims.claims[name].rule == before[name].rule, name


BAD = [
    (f"claims.{RUNS}.experiment", "soft_mergin",
     "experiment = 'soft_mergin': unknown experiment 'soft_mergin', did you mean 'soft_merging"),
    (f"claims.{RUNS}.statistic.metric", "acuracy_hard",
     "statistic.metric = 'acuracy_hard': unknown column 'acuracy_hard', did you mean 'acc"),
    (f"claims.{RUNS}.statistic.match", ["depht"],
     "statistic.match = 'depht': unknown column 'depht', did you mean 'depth'?"),
    (f"claims.{RUNS}.statistic.pairs.0.baseline", "moe_mixture",
     "statistic = 'moe_mixture': unknown variant of soft_merging 'moe_mixture'; allowed: fff_mi"),
    (f"claims.{RUNS}.statistic.pairs.0.baseline", {"variant": "fff_mixture_softplus",
                                                   "metric": "x"},
     "statistic.pairs.metric = 'x': unknown column 'x'"),
    (f"claims.{RUNS}.statistic.pairs.0.baseline", {"variant": "fff_mixture_softplus",
                                                   "experiment": "gate_activatio"},
     "statistic.pairs.experiment = 'gate_activatio': unknown experiment 'gate_activatio', did yo"),
    (f"claims.{RUNS}.statistic.pairs.0.baseline", {"variant": "moe_top1_switch",
                                                   "experiment": "gate_activation"},
     "statistic = 'moe_top1_switch': unknown variant of gate_activation 'moe_top1_switch'"),
    (f"claims.{RUNS}.statistic.pairs.0.baseline", {"variant": "fff_mixture_softplus", "epoch": 0},
     "statistic.change.pairs[0].baseline.epoch = 0: Input should be greater than or equal to 1"),
    (f"claims.{RUNS}.statistic.pairs.0.baseline", {"variant": "fff_mixture_softplus", "epoch": 8,
                                                   "metric": "train_accuracy_hard"},
     "statistic.pairs.epoch = 'train_accuracy_hard': unknown column 'train_accuracy_hard'"),
    (f"claims.{RUNS}.statistic.pairs.0.baseline", {"variant": "fff_mixture_softplus", "epoch": 8,
                                                   "metric": "best_accuracy_hard"},
     "statistic.pairs.epoch = 'best_accuracy_hard': unknown column 'best_accuracy_hard'"),
    (f"claims.{RUNS}.statistic.pairs.0.minus", True,
     "statistic.change: pairs: one without minus is needed"),
    (f"claims.{BEST_OF}.statistic.metric", "train_loss",
     ": published.best_of: the best run is that of the highest accuracy, and metric 'train_l"),
    (f"claims.{BEST_OF}.statistic.pairs.1", {"treatment": "x", "baseline": "y", "minus": True},
     ": published.best_of: pairs with minus can't have it"),
    (f"claims.{RUNS}.target", "soft_merging_table",
     "target = 'soft_merging_table': unknown figure or table 'soft_merging_table', did you mean"),
    (f"claims.{RUNS}.statistic.kind", "cange",
     "statistic: Input tag 'cange' found using 'kind' does not match any of the expected tags"),
    (f"claims.{RUNS}.statistic.pairs", [], "statistic.change.pairs: There should be at least 1"),
    (f"claims.{RUNS}.statistic.pairs.0.treatment", {"variant": "x", "width": 3},
     "statistic.change.pairs[0].treatment: unknown key 'width', did you mean 'depth'?"),
    (f"claims.{RUNS}.device", "cpu", ": device: a claim of a benchmark needs it, and no other"),
    (f"claims.{RUNS}.experiment", None, ": allowed is one of experiment and benchmark, and one mu"),
    (f"claims.{RUNS}.statistic", {"kind": "crossing",
                                  "treatment": {"variant": "a", "mode": "eager"},
                                  "baseline": {"variant": "b", "mode": "eager"},
                                  "along": "depth", "last": 8, "where": {"case": "gates"}},
     ": statistic.kind = 'crossing' needs a benchmark"),
    (f"claims.{RUNS}.statistic", None, ": statistic and expects are missing; or say why it is not"),
    (f"claims.{RUNS}.not_tested", "no data", ": experiment: a claim that is not_tested can't have"),
    (f"claims.{RUNS}.published", None, ": published: a claim of ours has none, and every other o"),
    (f"claims.{RUNS}.published.best_of", 10, ": published.best_of: statistic 'change' can't have"),
    (f"claims.{RUNS}.published.mark", "Z", "published.mark = 'Z': Input should be"),
    (f"claims.{RUNS}.published.dataset", "cifar",
     "published.dataset = 'cifar': unknown dataset 'cifar', did you mean 'cifar10'?"),
    (f"claims.{RUNS}.kind", "mine", "kind = 'mine': Input should be"),
    (f"claims.{RUNS}.expects", {"kind": "faster"},
     ": expects.kind = 'faster': statistic 'change' allows higher, lower, equal"),
    (f"claims.{RUNS}.expects", {"kind": "equal"}, "expects.equal.margin: Field required"),
    (f"claims.{RUNS}.expects.margin", -1, "expects.higher.margin = -1: Input should be greater"),
    (f"claims.{RUNS}.statment", "x", ": unknown key 'statment', did you mean 'statement'?"),
    (f"claims.{RUNS}.source", "fast", "source = 'fast': unknown source 'fast', did you me"),
    (f"claims.{TIMES}.benchmark", "layer_bench",
     "benchmark = 'layer_bench': unknown benchmark 'layer_bench', did you mean 'layer_benchmark'?"),
    (f"claims.{TIMES}.statistic.treatment.variant", "ff",
     "statistic = 'ff': unknown variant of layer_benchmark 'ff', did you mean 'fff'?"),
    (f"claims.{TIMES}.statistic.treatment.mode", "fast",
     "statistic.speedup.treatment.mode = 'fast': Input should be"),
    (f"claims.{TIMES}.statistic.along", "width",
     "statistic.along = 'width': unknown column 'width'"),
    (f"claims.{TIMES}.statistic.along", "dtype",
     "statistic.along = 'dtype': unknown column 'dtype'"),
    (f"claims.{TIMES}.statistic.where", {"bach": 3},
     "statistic.where.bach = 'bach': unknown column 'bach', did you mean 'batch'?"),
    (f"claims.{TIMES}.device", None, ": device: a claim of a benchmark needs it"),
    (f"claims.{TIMES}.device", "tpu", "device = 'tpu': Input should be 'cpu' or 'cuda'"),
    (f"claims.{TIMES}.target", "widths",
     "target = 'widths': allowed are layer_benchmark and names that begin so"),
    (f"claims.{TIMES}.expects.kind", "overtakes",
     ": expects.kind = 'overtakes': statistic 'speedup' allows faster"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("path", "value", "message"), BAD, ids=[f"{p}={v}"[:70] for p, v, _ in BAD]
)
def test_a_bad_claim_is_refused_in_one_line_with_its_key(path, value, message, tmp_path):
    file = written(tmp_path, changed(path, value))
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
        ("least_processes", 1, "least_processes = 1: Input should be greater than or equal to 2"),
        ("registered", "yesterday", "registered = 'yesterday': "),
        ("configs", [], "configs: There should be at least 1 item"),
        ("configs", ["none.yaml"], "config file"),
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


def test_a_side_may_be_of_another_experiment_or_the_best_epoch(tmp_path):
    side = {"variant": "fff_soft_merged_softplus", "experiment": "gate_activation", "epoch": 8}
    best = {"variant": "fff_soft_merged_softplus", "metric": "best_accuracy_hard"}
    values = changed(
        f"claims.{RUNS}.statistic.pairs",
        [
            {"treatment": best, "baseline": "fff_soft_merged_softplus"},
            {"treatment": "moe_soft_merged", "baseline": side, "minus": True},
        ],
    )
    claim = load_claims(written(tmp_path, values)).claims[RUNS]
    assert claim.variants() == {
        "soft_merging": ["fff_soft_merged_softplus", "fff_soft_merged_softplus", "moe_soft_merged"],
        "gate_activation": ["fff_soft_merged_softplus"],
    }
    assert claim.statistic.metrics() == ["best_accuracy_hard", "accuracy_hard"]
    assert claim.statistic.origins() == [(None, None), ("gate_activation", 8)]


def test_a_file_that_is_none_is_named(tmp_path):
    with pytest.raises(ConfigError, match=r"claims file .*none\.yaml: No such file"):
        load_claims(tmp_path / "none.yaml")
