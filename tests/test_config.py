"""What config files may say, and the one clear message for what they may not."""

import copy
import json
import re
import textwrap
from pathlib import Path

import jsonschema
import pytest
import yaml

from fastff.config.errors import ConfigError
from fastff.config.load import Config, json_schema, load_config, parse_config
from fastff.config.model import MAX_DEPTH, Grid, GridPoint
from fastff.config.presets import PRESETS
from fastff.config.recipe import Recipe
from fastff.config.yaml_file import merge, merge_layers, read_layers

ROOT = Path(__file__).parent.parent
SHIPPED = [
    ROOT / "config" / f"{name}.yaml" for name in ("config", "paper", "reference", "smoke", "table3")
]
PARTS = [ROOT / "config" / f"{name}.yaml" for name in ("study", "benchmarks")]

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


def routed(gate: dict, experts: dict | None = None, **more: object) -> dict:
    """Return a variant of a routed layer, as a config defines it in place."""
    model = {"kind": "routed", "gate": gate, "experts": experts or {"kind": "mixture"}}
    return {"name": "m", "label": "m", "model": model | more}


def bottleneck(**more: object) -> dict:
    """Return a variant of a feed-forward layer before two features, as a config defines it."""
    body = {"kind": "feed_forward", "hidden_features": 4}
    return {"name": "m", "label": "m", "model": {"kind": "bottleneck", "body": body} | more}


def shapes(spec) -> list[tuple]:
    return [model.shape for model in spec.variant.models(spec.grid)]


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.name)
def test_shipped_configs_are_valid_and_named_as_their_file(path):
    config = load_config(path)
    assert config.name == {"config": "quick", "reference": "redrawn"}.get(path.stem, path.stem)
    for name, experiment in config.experiments.items():
        notebook = ROOT / "notebooks" / f"{experiment.notebook or name}.ipynb"
        assert notebook.is_file()


@pytest.mark.parametrize("path", [*SHIPPED, *PARTS], ids=lambda path: path.name)
def test_editors_find_no_fault_in_a_shipped_file(path):
    jsonschema.validate(yaml.safe_load(path.read_text()), json_schema())
    assert path.read_text().startswith("# yaml-language-server: $schema=../workflow/schemas/")


def test_default_config_has_every_experiment_as_a_demonstration():
    config = load_config(ROOT / "config" / "config.yaml")
    assert {"soft_merging", "gate_activation", "expert_distribution"} <= set(config.experiments)
    study, published = (
        yaml.safe_load((ROOT / "config" / f"{name}.yaml").read_text())["experiments"]
        for name in ("study", "published")
    )
    assert set(config.experiments) == {*study, *published}
    assert all(len(config.experiments[name].seeds) >= 3 for name in study)
    assert {experiment.dataset for experiment in config.experiments.values()} == {"mnist5k"}


def test_paper_config_is_the_study_with_ten_seeds_on_three_datasets():
    config = load_config(ROOT / "config" / "paper.yaml")
    n_seeds = {name: len(experiment.seeds) for name, experiment in config.experiments.items()}
    long = {name for name in n_seeds if name.startswith("fff_table2")}  # up to 1,000 epochs each
    assert {n_seeds.pop(name) for name in long} == {3}
    assert set(n_seeds.values()) == {10}
    datasets = {experiment.dataset for experiment in config.experiments.values()}
    assert datasets == {"mnist", "fashion_mnist", "cifar10"}


def test_table_3_has_transformers_with_trees_of_every_leaf_width():
    plain, *routed = load_config(ROOT / "config" / "table3.yaml").train_specs("fff_table3")
    assert [model.shape[:2] for model in plain.variant.models(plain.grid)] == [(0, 128)]
    for spec in routed:
        models = spec.variant.models(spec.grid)
        assert [model.shape[:2] for model in models] == [
            (2, 32), (3, 16), (4, 8), (5, 4), (6, 2), (7, 1),
        ]  # fmt: skip
        assert {model.n_blocks for model in models} == {4}
    gates = [spec.variant.model.feed_forward.gate for spec in routed]
    assert [gate.hardening_weight for gate in gates] == [5.0, 10.0, 0.0]
    assert [gate.hard_training for gate in gates] == [False, False, True]


def test_reference_config_is_the_paper_s():
    reference, paper = (
        load_config(ROOT / "config" / f"{name}.yaml") for name in ("reference", "paper")
    )
    assert reference.experiments == paper.experiments
    assert reference.benchmarks == paper.benchmarks


@pytest.mark.parametrize(("name", "processes"), [("paper", 3), ("config", 1), ("smoke", 1)])
def test_claims_of_speed_need_three_processes_and_a_demonstration_one(name, processes):
    config = load_config(ROOT / "config" / f"{name}.yaml")
    timed = [block for block in config.benchmarks.values() if block.kind == "timing"]
    assert {block.spec().processes for block in timed} == {processes}


def test_what_the_page_on_configs_shows_is_valid():
    text = (ROOT / "docs" / "configs.md").read_text()
    blocks = [yaml.safe_load(textwrap.dedent(block)) for block in
              re.findall(r"^ *```yaml\n(.*?)^ *```", text, re.MULTILINE | re.DOTALL)]  # fmt: skip
    mine, variants, grid, recipe, phases, decoder = blocks
    assert mine["extends"] == ["config.yaml"]  # tests/workflow/test_configs.py plans a run of it
    jsonschema.validate(mine, json_schema())
    shown = GOOD["experiments"]["soft_merging"] | {"dataset": "mnist"} | grid | recipe | variants
    block = parse_config(changed(BLOCK, shown)).experiments["soft_merging"]
    assert block.best_of_seeds
    assert block.recipe.early_stopping.patience == 350
    assert block.variants[1].model.gate.top_k == 2
    assert len(block.grid.points()) == 4 * 4 + 1
    study = merge_layers(read_layers(ROOT / "config" / "config.yaml"))
    texts = parse_config(merge(study, decoder)).language_models["language_model"]
    jsonschema.validate(decoder, json_schema())
    assert len(texts.variants) == 6
    assert texts.text == "own_text"
    phased = Recipe.model_validate({"epochs": 400, "batch_size": 1, "learning_rate": 0.1} | phases)
    assert phased.phase_of(301).balance_weight == 0


def test_written_schema_is_the_model_s():
    written = json.loads((ROOT / "workflow" / "schemas" / "config.schema.json").read_text())
    assert written == json.loads(json.dumps(json_schema())), "run `fastff schema`"


@pytest.mark.parametrize(
    ("labels", "fault"),
    [
        (["<b>", "b"], r"variants\[0\].*label"),
        (["a\nb", "b"], r"variants\[0\].*label"),
        (["$\\frac$", "b"], "can't draw the formula"),
        (["same", "same"], "label 'same'"),
    ],
)
def test_labels_of_feed_forward_layers_are_lines_and_differ(labels, fault):
    """Those of a language model, as those of an experiment's variants."""
    variants = [{"name": f"v{i}", "label": label} for i, label in enumerate(labels)]
    study = merge_layers(read_layers(ROOT / "config" / "config.yaml"))
    change = {"language_models": {"language_model": {"variants": variants}}}
    with pytest.raises(ConfigError, match=fault):
        parse_config(merge(study, change))


def test_a_good_config():
    config = parse_config(GOOD)
    (first, second) = config.train_specs("soft_merging")
    assert first.variant == PRESETS["moe_mixture"]
    assert second.variant == PRESETS["moe_top1_switch"]
    assert shapes(first) == [(1, 4, 0.0), (2, 4, 0.0)]
    assert first.seeds == (0, 1)


def test_a_variant_defined_in_place():
    mine = routed({"kind": "tree", "form": "product"})
    config = parse_config(changed(f"{BLOCK}.variants", ["moe_mixture", mine]))
    assert config.train_specs("soft_merging")[1].variant.model.gate.form == "product"
    jsonschema.validate(changed(f"{BLOCK}.variants", ["moe_mixture", mine]), json_schema())


def test_a_benchmark_of_single_operations():
    (race,) = parse_config(changed("benchmarks", timing())).benchmarks.values()
    assert race.expand("tables", "race") == ["race_ratios"]
    assert [variant.name for variant in race.spec().cases["one"].variants] == ["dense", "fff"]
    jsonschema.validate(changed("benchmarks", timing()), json_schema())


def test_names_of_figures_expand_over_variants():
    config = parse_config(changed(f"{BLOCK}.figures", ["{experiment}", "{experiment}_{variant}"]))
    names = config.experiments["soft_merging"].expand("figures", "soft_merging")
    assert names == ["soft_merging", "soft_merging_moe_mixture", "soft_merging_moe_top1_switch"]


def timing(**changes: object) -> dict:
    """Return a benchmark of one case, as a config says it."""
    case = {"device": "cpu", "op": "layer", "variants": ["dense", "fff"], "in_features": 8,
            "out_features": 8, "batch": [4], "depth": [2]}  # fmt: skip
    return {"race": {"kind": "timing", "title": "A race", "cases": {"one": case | changes}}}


ONE = "benchmarks.race.timing.cases.one"
TREE = {"kind": "tree"}
BAD = [
    ("benchmarks", {"race": {"title": "A race"}}, "benchmarks.race: Unable to extract tag using "
     "discriminator 'kind'"),
    ("benchmarks", {"race": {"kind": "speed"}}, "benchmarks.race: Input tag 'speed' found using "
     "'kind' does not match any of the expected tags: 'engine', 'timing'"),
    ("benchmarks", timing(variants=["ffn"]), f"{ONE}: unknown form 'ffn' of op layer, did you mean "
     "'fff'? allowed: dense, "),
    ("benchmarks", timing(variants=["product"]), f"{ONE}: unknown form 'product' of op layer;"),
    ("benchmarks", timing(variants=["fff", "fff"]), f"{ONE}: given more than once: fff"),
    ("benchmarks", timing(dtypes=["tf32"]), f"{ONE}: dtypes: tf32 needs device = cuda"),
    ("benchmarks", timing(modes=["graph"]), f"{ONE}: modes: graph needs device = cuda"),
    ("benchmarks", timing(dtypes=["int8"]), f"{ONE}.dtypes[0] = 'int8': Input should be"),
    ("benchmarks", timing(out_features=None), f"{ONE}: out_features is missing; op layer needs"),
    ("benchmarks", timing(depth=[0]), f"{ONE}: depth = 0: op layer needs at least 1"),
    ("benchmarks", timing(batch=[4, 4]), f"{ONE}.batch: given more than once: 4"),
    ("benchmarks", timing(variants=[{"name": "a", "form": "fff", "modes": ["compiled"]}]),
     f"{ONE}: a.modes: compiled is none of the case's"),
    ("benchmarks", {"race": timing()["race"] | {"processes": 0}},
     "benchmarks.race.timing.processes = 0: Input should be greater than or equal to 1"),
    ("benchmarks", {"race": timing()["race"] | {"tables": ["{experiment}"]}},
     "config: tables: 'race' is where a benchmark writes its times"),
    ("benchmarks_from", "results", "benchmarks_from = 'results': Input should be a list"),
    ("nmae", "x", "config: unknown key 'nmae', did you mean 'name'? allowed: name, "),
    ("name", "Big Name", "name = 'Big Name': should match"),
    ("name", "../up", "name = '../up': should match"),
    ("name", "reference", "name = 'reference': this name is reserved"),
    ("name", 3, "name = 3: Input should be a valid string"),
    ("device", "tpu", "device = 'tpu': Input should be 'auto', 'cpu' or 'cuda'"),
    ("threads", 0, "threads = 0: Input should be greater than or equal to 1"),
    ("threads", "two", "threads = 'two': Input should be a valid integer"),
    ("experiments", {}, "experiments: There should be at least 1 item"),
    ("experiments", None, "experiments = None: Input should be a mapping"),
    ("datasets", {"imagenet": {}}, "datasets: key 'imagenet': Input should be 'mnist5k', "),
    ("datasets", {"mnist": {"folder": "/x", "mirror": "https://y"}}, "datasets.mnist: both folder"),
    ("datasets", {"mnist": {"path": "/x"}}, "datasets.mnist: unknown key 'path'"),
    (f"{BLOCK}.dataset", "imagenet", f"{BLOCK}.dataset = 'imagenet': Input should be 'mnist5k', "),
    (f"{BLOCK}.seeds", [], f"{BLOCK}.seeds: There should be at least 1 item"),
    (f"{BLOCK}.seeds", [1, 1], f"{BLOCK}.seeds: given more than once: 1"),
    (f"{BLOCK}.seeds", [-1], f"{BLOCK}.seeds[0] = -1: Input should be greater than or equal to 0"),
    (f"{BLOCK}.seeds", 5, f"{BLOCK}.seeds = 5: Input should be a list"),
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
    (f"{BLOCK}.recipe.warmup", 0.1, f"{BLOCK}.recipe: unknown key 'warmup'; allowed: epochs, "),
    (f"{BLOCK}.variants", ["moe_mixtrue"], f"{BLOCK}.variants[0] = 'moe_mixtrue': unknown variant "
     "'moe_mixtrue', did you mean 'moe_mixture'? allowed: moe_mixture, "),
    (f"{BLOCK}.variants", [], f"{BLOCK}.variants: There should be at least 1 item"),
    (f"{BLOCK}.variants", ["moe_mixture"] * 2, f"{BLOCK}: given more than once: moe_mixture"),
    (f"{BLOCK}.comparisons", [{"treatment": "moe_mixture", "baseline": "x"}],
     f"{BLOCK}: comparisons: unknown variant 'x'; allowed: moe_mixture, moe_top1_switch"),
    (f"{BLOCK}.figures", ["../x"], "config: figures: '../x' is no name of a file"),
    (f"{BLOCK}.variants", [routed({"kind": "linear", "top_k": 4})],
     "config: variant 'm' at depth 1: top_k = 4, but there are only 2 experts"),
    (f"{BLOCK}.variants", [routed({"kind": "noisy_top_k", "top_k": 2, "load_weight": 0.1})],
     "config: variant 'm' at depth 1: load_weight > 0 needs an expert that is left out, but "),
    (f"{BLOCK}.variants", [routed(TREE | {"node_activation": "relu"})],
     f"{BLOCK}.variants[0].model.routed.gate.tree: node_activation = 'relu' needs form = 'trans"),
    (f"{BLOCK}.variants", [routed({"kind": "linear", "renormalise": True})],
     f"{BLOCK}.variants[0].model.routed.gate.linear: renormalise = true has no meaning without"),
    (f"{BLOCK}.variants", [routed({"kind": "cube"})],
     f"{BLOCK}.variants[0].model.routed.gate: Input tag 'cube' found using 'kind' does not match "
     "any of the expected tags: 'hypercube', 'linear', 'noisy_top_k', 'tree'"),
    (f"{BLOCK}.variants", [routed(TREE, {"kind": "soft_merged", "activation": "prelu"})],
     f"{BLOCK}.variants[0].model.routed.experts.soft_merged.activation = 'prelu': Input should"),
    (f"{BLOCK}.variants", [routed(TREE, depth=0)],
     f"{BLOCK}.variants[0].model.routed.depth = 0: Input should be greater than or equal to 1"),
    (f"{BLOCK}.variants", [bottleneck(features=0)],
     f"{BLOCK}.variants[0].model.bottleneck.features = 0: Input should be greater than"),
    (f"{BLOCK}.variants", [bottleneck(head={"kind": "bottleneck"})],
     f"{BLOCK}.variants[0].model.bottleneck.head: Input tag 'bottleneck' found using 'kind' does"),
    (f"{BLOCK}.variants", [bottleneck(head={"kind": "convolutional"})],
     f"{BLOCK}.variants[0].model.bottleneck.head: the head sees features, not images"),
    (f"{BLOCK}.grid.region_leak", [0.1, 1.5], f"{BLOCK}.grid.region_leak[1] = 1.5: Input should be "
     "less than or equal to 1"),
    (f"{BLOCK}.grid.training_width", [16], f"{BLOCK}.grid: one of depth and training_width is ne"),
    (f"{BLOCK}.grid", {"training_width": [24], "hidden_features": [8]},
     f"{BLOCK}.grid: training_width = 24 with hidden_features = 8: the one must be a power of 2"),
    (f"{BLOCK}.grid.also", [{"training_width": 8, "hidden_features": 8}],
     f"{BLOCK}.grid.also[0]: training_width = 8 with hidden_features = 8: the one must be"),
    (f"{BLOCK}.variants", [routed(TREE | {"transition_start": "uniform"})],
     f"{BLOCK}.variants[0].model.routed.gate.tree: transition_start = 'uniform' needs form = 'lea"),
    (f"{BLOCK}.recipe.phases", [{"epochs": 77}],
     f"{BLOCK}.recipe: phases: they have 77 epochs together, but epochs = "),
    (f"{BLOCK}.recipe.select_on_test", True,
     f"{BLOCK}.recipe: select_on_test = true has a meaning only with early stopping, or a plateau"),
    (f"{BLOCK}.grids", {"moe_mixtrue": {"depth": [1]}},
     f"{BLOCK}: grids: unknown variant 'moe_mixtrue', did you mean 'moe_mixture'?"),
    (f"{BLOCK}.grids", {"moe_mixture": {"depth": []}}, f"{BLOCK}.grids.moe_mixture.depth: There"),
    (f"{BLOCK}.recipes", {"x": {"epochs": 1}}, f"{BLOCK}: recipes: unknown variant 'x'; allowed: "),
    (f"{BLOCK}.recipes", {"moe_mixture": {"epochs": 0}},
     f"{BLOCK}.recipes.moe_mixture.epochs = 0: Input should be greater than or equal to 1"),
    (f"{BLOCK}.equal_size", "x", f"{BLOCK}: equal_size: unknown variant 'x'; allowed: moe_mixture"),
    (f"{BLOCK}.equal_size", "moe_mixture", "config: equal_size = 'moe_mixture': allowed is a "
     "variant of kind 'feed_forward'"),
    (f"{BLOCK}.record", ["gradient"], f"{BLOCK}.record[0] = 'gradient': Input should be 'gradien"),
    (f"{BLOCK}.record", ["nodes"], f"{BLOCK}: record: 'nodes' needs a variant with a tree"),
    (f"{BLOCK}.record", ["projections"], "config: variant 'moe_mixture': record 'projections' "
     "needs a model of kind 'bottleneck' with features = 2"),
    (f"{BLOCK}.record_every", 0, f"{BLOCK}.record_every = 0: Input should be greater than or"),
    (f"{BLOCK}.best_of_seeds", "yes", f"{BLOCK}.best_of_seeds = 'yes': Input should be a valid b"),
    (f"{BLOCK}.recipe.optimiser", {"kind": "adam"}, f"{BLOCK}.recipe.optimiser: Input tag 'adam'"),
    (f"{BLOCK}.recipe.optimiser", {"kind": "sgd", "betas": [0.9, 0.99]},
     f"{BLOCK}.recipe.optimiser.sgd: unknown key 'betas'; allowed: kind, momentum, weight_decay"),
    (f"{BLOCK}.recipe.optimiser", {"kind": "adamw", "betas": [0.9, 1.0]},
     f"{BLOCK}.recipe.optimiser.adamw.betas[1] = 1.0: Input should be less than 1"),
    (f"{BLOCK}.recipe.schedule", {"kind": "one_cycle", "momentum": [0.8, 0.9]},
     f"{BLOCK}.recipe.schedule: momentum: the highest comes first, then the lowest"),
    (f"{BLOCK}.recipe.schedule", {"kind": "plateau"},
     f"{BLOCK}.recipe: validation_samples = 0: early stopping, or a plateau schedule by another "),
    (f"{BLOCK}.recipe.schedule", {"kind": "plateau", "metric": "train_loss", "factor": 1.0},
     f"{BLOCK}.recipe.schedule.plateau.factor = 1.0: Input should be less than 1"),
    (f"{BLOCK}.recipe.early_stopping", {"patience": 3},
     f"{BLOCK}.recipe: validation_samples = 0: early stopping, or a plateau schedule by another "),
    (f"{BLOCK}.recipe.early_stopping", {},
     f"{BLOCK}.recipe.early_stopping.patience: Field required"),
    (f"{BLOCK}.recipe.region_leak", 2.0, f"{BLOCK}.recipe.region_leak = 2.0: Input should be less"),
    (f"{BLOCK}.recipe.train_samples", 0, f"{BLOCK}.recipe.train_samples = 0: Input should be gre"),
    ("defaults", {"seed": [1]}, "defaults: unknown key 'seed', did you mean 'seeds'?"),
    ("defaults", {"recipe": 3}, "defaults.recipe = 3: Input should be a mapping"),
    ("defaults", {"recipe": {"warmup": 3}}, f"{BLOCK}.recipe: unknown key 'warmup'"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("path", "value", "message"), BAD, ids=[f"{p}={v}"[:60] for p, v, _ in BAD]
)
def test_a_bad_value_gives_one_line_with_the_key(path, value, message):
    with pytest.raises(ConfigError) as caught:
        parse_config(changed(path, value))
    assert str(caught.value).startswith(message), str(caught.value)
    assert "\n" not in str(caught.value)


def test_early_stopping_under_a_planned_schedule_is_refused():
    recipe = GOOD["experiments"]["soft_merging"]["recipe"]
    recipe = recipe | {"early_stopping": {"patience": 3}, "validation_samples": 10}
    with pytest.raises(ConfigError, match=r"early_stopping has no meaning with schedule\.kind"):
        parse_config(changed(f"{BLOCK}.recipe", recipe))
    parse_config(changed(f"{BLOCK}.recipe", recipe | {"schedule": {"kind": "constant"}}))


def test_a_recipe_s_hardening_that_a_gate_cannot_have_is_refused():
    values = changed(f"{BLOCK}.variants", [routed(TREE | {"hard_training": True})])
    values["experiments"]["soft_merging"]["recipe"]["hardening_weight"] = 3.0
    with pytest.raises(ConfigError) as caught:
        parse_config(values)
    assert str(caught.value).startswith(f"{BLOCK}.variants.m: hard_training = true takes one leaf")
    assert "\n" not in str(caught.value)


def test_defaults_fill_in_what_an_experiment_leaves_open():
    block = {"title": "T", "grid": {"depth": [1], "hidden_features": [4]}, "variants": ["mlp_relu"]}
    values = {
        "name": "trial",
        "defaults": {
            "dataset": "mnist5k",
            "seeds": [3],
            "recipe": {"epochs": 2, "batch_size": 8, "learning_rate": 0.1},
            "best_of_seeds": True,
        },
        "experiments": {
            "plain": block,
            "own": block | {"figures": ["x"], "tables": ["y"], "seeds": [4, 5],
                            "best_of_seeds": False, "recipe": {"epochs": 7}},
        },
    }  # fmt: skip
    config = parse_config(values)
    plain, own = config.experiments["plain"], config.experiments["own"]
    assert (plain.seeds, plain.recipe.epochs, plain.best_of_seeds) == ((3,), 2, True)
    assert (own.seeds, own.recipe.epochs, own.best_of_seeds) == ((4, 5), 7, False)
    assert own.recipe.batch_size == 8
    jsonschema.validate(values, json_schema())


def test_single_variants_have_grids_and_recipes_of_their_own():
    values = changed(f"{BLOCK}.grids", {"moe_mixture": {"hidden_features": [8, 16]}})
    values["experiments"]["soft_merging"]["recipes"] = {"moe_mixture": {"learning_rate": 0.5}}
    jsonschema.validate(values, json_schema())
    first, second = parse_config(values).train_specs("soft_merging")
    assert shapes(first) == [
        (1, 8, 0),
        (1, 16, 0),
        (2, 8, 0),
        (2, 16, 0),
    ]
    assert shapes(second) == [(1, 4, 0), (2, 4, 0)]
    assert (first.recipe.learning_rate, second.recipe.learning_rate) == (0.5, 0.01)
    assert first.recipe.epochs == second.recipe.epochs == 2


def test_the_recipe_s_tree_options_are_for_all_trees():
    values = changed(f"{BLOCK}.variants", ["fff_mixture_log", "moe_mixture", "fff_on_plane"])
    values["experiments"]["soft_merging"]["recipe"] |= {"region_leak": 0.2, "hardening_weight": 3.0}
    tree, flat, plane = (spec.variant for spec in parse_config(values).train_specs("soft_merging"))
    for gate in (tree.model.gate, plane.model.head.gate):
        assert (gate.region_leak, gate.hardening_weight) == (0.2, 3.0)
    assert flat == PRESETS["moe_mixture"]


@pytest.mark.parametrize(
    ("name", "points"),
    [
        ("fff_mixture_log", [(1, 4, 0.0), (1, 4, 0.5), (2, 4, 0.0), (2, 4, 0.5)]),
        ("moe_mixture", [(1, 4, 0.0), (2, 4, 0.0)]),
        ("mlp_relu", [(0, 4, 0.0)]),
        ("mlp_to_plane", [(0, 256, 0.0)]),
        ("node_tree_gelu", [(1, 1, 0.0), (2, 1, 0.0)]),
        ("cnn_to_plane", [(0, 0, 0.0)]),
        ("fff_on_plane", [(1, 4, 0.0), (1, 4, 0.5), (2, 4, 0.0), (2, 4, 0.5)]),
    ],
)
def test_a_model_sees_of_a_grid_what_it_has(name, points):
    grid = Grid(depth=(1, 2), hidden_features=(4,), region_leak=(0.0, 0.5))
    assert [model.shape for model in PRESETS[name].models(grid)] == points


@pytest.mark.parametrize("name", ["moe_mixture", "mlp_relu", "node_tree_gelu", "fff_on_plane"])
def test_a_model_whose_size_is_open_has_no_shape(name):
    model = PRESETS[name].model
    with pytest.raises(ValueError, match="a size is open"):
        _ = model.shape
    closed = model.resolved(GridPoint(2, 4))
    assert closed.resolved(GridPoint(3, 8)) == closed


def test_a_copy_of_a_config_trains_its_own_experiments():
    config = parse_config(GOOD)
    block = config.experiments["soft_merging"].model_copy(update={"seeds": (7,)})
    copied = config.model_copy(update={"experiments": {"other": block}})
    assert [spec.seeds for spec in copied.train_specs("other")] == [(7,), (7,)]
    assert [spec.seeds for spec in config.train_specs("soft_merging")] == [(0, 1), (0, 1)]


def test_equal_size_names_the_models_with_experts():
    values = changed(f"{BLOCK}.variants", ["moe_mixture", "mlp_gelu", "mlp_relu", "node_tree_gelu"])
    values["experiments"]["soft_merging"]["equal_size"] = "mlp_relu"
    specs = parse_config(values).train_specs("soft_merging")
    found = {spec.variant.name: [one.variant.name for one in spec.equal_to] for spec in specs}
    assert found == {
        "moe_mixture": [], "mlp_gelu": [], "mlp_relu": ["moe_mixture"], "node_tree_gelu": []
    }  # fmt: skip


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
    with pytest.raises(ConfigError, match="figures: two blocks would write 'twice'"):
        parse_config(values)


def test_the_ledger_s_figure_has_its_name_alone():
    values = changed("claims", "config/claims.yaml")
    parse_config(values)
    values["experiments"]["soft_merging"]["figures"] = ["claims"]
    with pytest.raises(ConfigError, match="figures: two blocks would write 'claims'"):
        parse_config(values)
    for name in ("claims", "ledger", "rule_graph", "site"):
        with pytest.raises(ConfigError, match=f"experiments.{name}: this name is reserved"):
            parse_config({**GOOD, "experiments": {name: GOOD["experiments"]["soft_merging"]}})


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
