"""What config files may say, and the one clear message for what they may not."""

import copy
import json
import re
from pathlib import Path

import jsonschema
import pytest
import yaml

from fastff.config import Config, json_schema, load_config, parse_config
from fastff.faults import ConfigError
from fastff.spec import MAX_DEPTH
from fastff.zoo import ZOO

ROOT = Path(__file__).parent.parent
SHIPPED = sorted((ROOT / "config").glob("*.yaml"))

GOOD = {
    "name": "trial",
    "experiments": {
        "soft_merging": {
            "title": "A title",
            "dataset": "mnist5k",
            "seeds": [0, 1],
            "recipe": {"epochs": 2, "batch_size": 8, "learning_rate": 0.01},
            "grid": {"depth": [1, 2], "hidden_features": [4]},
            "variants": ["moe_mixture", "moe_top1_switch"],
        }
    },
}
BLOCK = "experiments.soft_merging"


def changed(path: str, value: object) -> dict:
    """Return the good config with one key set; the path's parts are separated by dots."""
    values = copy.deepcopy(GOOD)
    *parents, last = path.split(".")
    inner = values
    for key in parents:
        inner = inner[key]
    inner[last] = value
    return values


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.name)
def test_shipped_configs_are_valid_and_named_as_their_file(path):
    config = load_config(path)
    assert config.name == {"config": "quick"}.get(path.stem, path.stem)
    jsonschema.validate(yaml.safe_load(path.read_text()), json_schema())
    for name, experiment in config.experiments.items():
        notebook = ROOT / "notebooks" / f"{experiment.notebook or name}.ipynb"
        assert notebook.is_file()


def test_default_config_has_the_experiments_of_the_study_with_five_seeds():
    config = load_config(ROOT / "config" / "config.yaml")
    assert {"soft_merging", "gate_activation", "expert_distribution"} <= set(config.experiments)
    assert all(len(experiment.seeds) >= 5 for experiment in config.experiments.values())
    assert {experiment.dataset for experiment in config.experiments.values()} == {"mnist5k"}


def test_paper_config_is_the_study_with_ten_seeds_on_three_datasets():
    config = load_config(ROOT / "config" / "paper.yaml")
    assert {len(experiment.seeds) for experiment in config.experiments.values()} == {10}
    datasets = {experiment.dataset for experiment in config.experiments.values()}
    assert datasets == {"mnist", "fashion_mnist", "cifar10"}


def test_written_schema_is_the_model_s():
    written = json.loads((ROOT / "workflow" / "schemas" / "config.schema.json").read_text())
    assert written == json.loads(json.dumps(json_schema())), "run `fastff schema`"


def test_a_good_config():
    config = parse_config(GOOD)
    (first, second) = config.train_specs("soft_merging")
    assert first.variant == ZOO["moe_mixture"]
    assert second.variant == ZOO["moe_top1_switch"]
    assert first.grid.shapes() == [(1, 4), (2, 4)]
    assert first.seeds == (0, 1)


def test_a_variant_defined_in_place():
    mine = {
        "name": "mine", "label": "Mine", "gate": {"kind": "tree", "form": "product"},
        "experts": {"kind": "mixture"},
    }  # fmt: skip
    config = parse_config(changed(f"{BLOCK}.variants", ["moe_mixture", mine]))
    assert config.train_specs("soft_merging")[1].variant.gate.form == "product"
    jsonschema.validate(changed(f"{BLOCK}.variants", ["moe_mixture", mine]), json_schema())


def test_names_of_figures_expand_over_variants():
    config = parse_config(changed(f"{BLOCK}.figures", ["{experiment}", "{experiment}_{variant}"]))
    names = config.experiments["soft_merging"].expand("figures", "soft_merging")
    assert names == ["soft_merging", "soft_merging_moe_mixture", "soft_merging_moe_top1_switch"]


TREE = {"kind": "tree"}
BAD = [
    ("nmae", "x", "config: unknown key 'nmae', did you mean 'name'? allowed: name, "),
    ("name", "Big Name", "name = 'Big Name': should match"),
    ("name", "../up", "name = '../up': should match"),
    ("name", "reference", "name = 'reference': this name is reserved"),
    ("name", 3, "name = 3: Input should be a valid string"),
    ("device", "tpu", "device = 'tpu': Input should be 'auto', 'cpu' or 'cuda'"),
    ("threads", 0, "threads = 0: Input should be greater than or equal to 1"),
    ("threads", "two", "threads = 'two': Input should be a valid integer"),
    ("experiments", {}, "experiments: Dictionary should have at least 1 item"),
    ("experiments", None, "experiments = None: Input should be a valid dictionary"),
    ("datasets", {"imagenet": {}}, "datasets.imagenet"),
    ("datasets", {"mnist": {"folder": "/x", "mirror": "https://y"}}, "datasets.mnist: both folder"),
    ("datasets", {"mnist": {"path": "/x"}}, "datasets.mnist: unknown key 'path'"),
    (f"{BLOCK}.dataset", "imagenet", f"{BLOCK}.dataset = 'imagenet': Input should be 'mnist5k', "),
    (f"{BLOCK}.seeds", [], f"{BLOCK}.seeds: Tuple should have at least 1 item"),
    (f"{BLOCK}.seeds", [1, 1], f"{BLOCK}.seeds: given more than once: 1"),
    (f"{BLOCK}.seeds", [-1], f"{BLOCK}.seeds[0] = -1: Input should be greater than or equal to 0"),
    (f"{BLOCK}.seeds", 5, f"{BLOCK}.seeds = 5: Input should be a valid tuple"),
    (f"{BLOCK}.seed", [1], f"{BLOCK}: unknown key 'seed', did you mean 'seeds'?"),
    (f"{BLOCK}.grid.depth", [0], f"{BLOCK}.grid.depth[0] = 0: Input should be greater than or"),
    (f"{BLOCK}.grid.depth", [1, 40], f"{BLOCK}.grid.depth[1] = 40: Input should be less than or "
     f"equal to {MAX_DEPTH}"),
    (f"{BLOCK}.grid.depth", ["3"], f"{BLOCK}.grid.depth[0] = '3': Input should be a valid integer"),
    (f"{BLOCK}.grid.depth", [True], f"{BLOCK}.grid.depth[0] = True: Input should be a valid int"),
    (f"{BLOCK}.grid.width", [4], f"{BLOCK}.grid: unknown key 'width'"),
    (f"{BLOCK}.grid.hidden_features", [4, 4], f"{BLOCK}.grid.hidden_features: given more than"),
    (f"{BLOCK}.recipe.learning_rate", -1.0, f"{BLOCK}.recipe.learning_rate = -1.0: Input should"),
    (f"{BLOCK}.recipe.learning_rate", float("nan"), f"{BLOCK}.recipe.learning_rate = nan: Input"),
    (f"{BLOCK}.recipe.learning_rate", "8e-4", f"{BLOCK}.recipe.learning_rate = '8e-4': Input "
     "should be a valid number"),
    (f"{BLOCK}.recipe.epochs", 2.5, f"{BLOCK}.recipe.epochs = 2.5: Input should be a valid int"),
    (f"{BLOCK}.recipe.betas", [0.9, 1.0], f"{BLOCK}.recipe.betas: both numbers must be at least 0"),
    (f"{BLOCK}.recipe.warmup", 0.1, f"{BLOCK}.recipe: unknown key 'warmup', did you mean"),
    (f"{BLOCK}.variants", ["moe_mixtrue"], f"{BLOCK}.variants[0] = 'moe_mixtrue': unknown variant "
     "'moe_mixtrue', did you mean 'moe_mixture'? allowed: moe_mixture, "),
    (f"{BLOCK}.variants", [], f"{BLOCK}.variants: Tuple should have at least 1 item"),
    (f"{BLOCK}.variants", ["moe_mixture"] * 2, f"{BLOCK}: given more than once: moe_mixture"),
    (f"{BLOCK}.comparisons", [{"treatment": "moe_mixture", "baseline": "x"}],
     f"{BLOCK}: comparisons: unknown variant 'x'; allowed: moe_mixture, moe_top1_switch"),
    (f"{BLOCK}.figures", ["../x"], "config: figures: '../x' is no name of a file"),
    (f"{BLOCK}.variants",
     [{"name": "m", "label": "m", "gate": {"kind": "linear", "top_k": 4},
       "experts": {"kind": "mixture"}}],
     "config: variant 'm' has top_k = 4, but depth 1 has only 2 experts"),
    (f"{BLOCK}.variants",
     [{"name": "m", "label": "m", "gate": TREE | {"node_activation": "relu"},
       "experts": {"kind": "mixture"}}],
     f"{BLOCK}.variants[0].gate.tree: node_activation = 'relu' needs form = 'transition'"),
    (f"{BLOCK}.variants",
     [{"name": "m", "label": "m", "gate": {"kind": "linear", "renormalise": True},
       "experts": {"kind": "mixture"}}],
     f"{BLOCK}.variants[0].gate.linear: renormalise = true has no meaning without top_k"),
    (f"{BLOCK}.variants",
     [{"name": "m", "label": "m", "gate": {"kind": "cube"}, "experts": {"kind": "mixture"}}],
     f"{BLOCK}.variants[0].gate: Input tag 'cube' found using 'kind' does not match any of the "
     "expected tags: 'linear', 'noisy_top_k', 'hypercube', 'tree'"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("path", "value", "message"), BAD, ids=[f"{p}={v}"[:60] for p, v, _ in BAD]
)
def test_a_bad_value_gives_one_line_with_the_key(path, value, message):
    with pytest.raises(ConfigError) as caught:
        parse_config(changed(path, value))
    assert str(caught.value).startswith(message), str(caught.value)
    assert "\n" not in str(caught.value)


def test_two_faults_give_two_lines():
    values = changed("threads", 0)
    values["experiments"]["soft_merging"]["grid"]["depth"] = [40]
    with pytest.raises(ConfigError) as caught:
        parse_config(values)
    assert [re.split(" = ", line)[0] for line in str(caught.value).splitlines()] == [
        "threads",
        f"{BLOCK}.grid.depth[0]",
    ]


def test_two_experiments_that_write_the_same_figure_are_refused():
    values = copy.deepcopy(GOOD)
    values["experiments"]["other"] = {**GOOD["experiments"]["soft_merging"], "figures": ["twice"]}
    values["experiments"]["soft_merging"]["figures"] = ["twice"]
    with pytest.raises(ConfigError, match="figures: two experiments would write 'twice'"):
        parse_config(values)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name: [", "is not YAML"),
        ("- 1", "expected keys with values"),
        ("", "expected keys with values"),
    ],
)
def test_a_file_that_is_no_config_is_named(text, message, tmp_path):
    path = tmp_path / "broken.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=message) as caught:
        load_config(path)
    assert str(path) in str(caught.value)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(ConfigError, match=r"none\.yaml: No such file"):
        load_config(tmp_path / "none.yaml")


def test_configs_are_frozen():
    config = parse_config(GOOD)
    with pytest.raises(ValueError, match="frozen"):
        config.name = "other"
    assert isinstance(config, Config)
