"""Config files that say only what differs from others."""

from pathlib import Path

import pytest
import yaml

from bad_configs import GOOD
from fastff.config.errors import ConfigError
from fastff.config.load import load_config, parse_config
from fastff.config.yaml_file import NULL_IS_A_VALUE, merge, merge_layers, read_layers

CONFIGS = Path(__file__).parent.parent / "config"
BASE = {"a": {"b": 1, "c": {"d": 2}}, "e": [1, 2], "runs_per_job": 3}


@pytest.fixture
def load(tmp_path):
    """Return a function that loads the last of some files, by their texts."""
    (tmp_path / "base.yaml").write_text(GOOD)

    def function(**texts):
        for name, text in texts.items():
            (tmp_path / f"{name}.yaml").write_text(text)
        return load_config(tmp_path / f"{name}.yaml")

    return function


@pytest.mark.parametrize(
    ("changes", "merged"),
    [
        ({}, BASE),
        ({"a": {"b": 5}}, BASE | {"a": {"b": 5, "c": {"d": 2}}}),
        ({"a": {"c": {"f": 5}}}, BASE | {"a": {"b": 1, "c": {"d": 2, "f": 5}}}),
        ({"a": 5}, BASE | {"a": 5}),
        ({"e": [3]}, BASE | {"e": [3]}),
        ({"e": {"b": 1}}, BASE | {"e": {"b": 1}}),
        ({"a": {"c": None}}, BASE | {"a": {"b": 1}}),
        ({"runs_per_job": None}, BASE | {"runs_per_job": None}),
        ({"new": {"b": None}}, BASE | {"new": {"b": None}}),
    ],
)
def test_mappings_are_merged_all_else_is_replaced_and_null_removes(changes, merged):
    before = yaml.safe_dump(BASE)
    assert merge(BASE, changes) == merged
    assert yaml.safe_dump(BASE) == before


def test_keys_that_null_does_not_remove_are_those_where_it_overrides_something():
    """An experiment's overrides the config's, its recipe's the defaults'."""
    recipe = {
        "region_leak",
        "hardening_weight",
        "balance_weight",
        "train_samples",
        "augmentation",
        "early_stopping",
    }
    assert {"runs_per_job"} | recipe == NULL_IS_A_VALUE


def test_a_file_that_extends_none_is_a_whole_config():
    """As all were before: with null as a value, and only the experiments that it has."""
    whole = GOOD.replace("title: First", "title: First\n    notebook: null\n    equal_size: null")
    values = yaml.safe_load(whole)
    assert parse_config(values) == parse_config(yaml.safe_load(GOOD))


def test_the_last_file_wins_and_what_it_extends_comes_before(load):
    config = load(
        one="extends: [base.yaml]\nname: one\nthreads: 2\ndefaults: {seeds: [5]}\n",
        two="tf32: true\nthreads: 3\n",
        mine="extends: [one.yaml, two.yaml]\nruns_per_stack: 7\n",
    )
    assert (config.name, config.threads, config.tf32, config.runs_per_stack) == ("one", 3, True, 7)
    assert config.experiments["first"].seeds == (5,)
    assert config.experiments["first"].dataset == "mnist5k"


def test_files_are_found_from_the_one_that_names_them(load, tmp_path, monkeypatch):
    (tmp_path / "mine").mkdir()
    monkeypatch.chdir(tmp_path / "mine")
    assert load(**{"mine/a": "extends: [../base.yaml]\nname: other\n"}).name == "other"
    assert load(**{"mine/b": f"extends: [{tmp_path}/base.yaml]\nname: b\n"}).name == "b"


def test_an_experiment_takes_from_another_what_it_does_not_say(load):
    config = load(
        mine="""\
extends: [base.yaml]
runs_per_job: 50
experiments:
  first: {runs_per_job: 30, record_every: 2}
  last: {title: Last, extends: first}
  other: {extends: first, dataset: mnist, grid: {depth: [3]}, runs_per_job: null}
  small: {extends: first, record_every: null}
"""
    )
    first, last, other, small = config.experiments.values()
    assert list(config.experiments) == ["first", "last", "other", "small"]
    assert last == first.model_copy(update={"title": "Last", "notebook": "first"})
    assert (other.dataset, other.grid.depth, other.grid.hidden_features) == ("mnist", (3,), (4,))
    assert (first.record_every, small.record_every) == (2, 1)
    per_job = {name: config.runs_per_job_of(name) for name in config.experiments}
    assert per_job == {"first": 30, "last": 30, "other": None, "small": 30}


def test_a_fault_is_of_the_file_that_says_the_value(load, tmp_path):
    with pytest.raises(ConfigError) as caught:
        load(
            bad=GOOD.replace("[1, 2]", "[1, 40]"),
            mine="extends: [bad.yaml]\nname: mine\nthreads: 0\n",
        )
    assert [line.partition(" = ")[0] for line in str(caught.value).split("\n")] == [
        f"config file {tmp_path}/mine.yaml, line 3: threads",
        f"config file {tmp_path}/bad.yaml, line 7: experiments.first.grid.depth[1]",
    ]


def test_a_merged_key_stands_where_it_is_written(load, tmp_path):
    text = """\
extends: [base.yaml]
experiments:
  first: &first
    grid: {depth: [40]}
  second:
    <<: *first
    title: Second
"""
    with pytest.raises(ConfigError) as caught:
        load(mine=text)
    places = [line.partition(": e")[0] for line in str(caught.value).split("\n")]
    assert set(places[:2]) <= {f"config file {tmp_path}/mine.yaml, line {n}" for n in (4, 5)}


@pytest.mark.parametrize("name", ["config", "paper", "reference", "smoke"])
def test_what_a_run_keeps_of_its_config_is_whole(name, tmp_path):
    """Read alone, without what it extended, it is the same config."""
    path = CONFIGS / f"{name}.yaml"
    alone = tmp_path / "alone.yaml"
    alone.write_text(yaml.safe_dump(merge_layers(read_layers(path)), sort_keys=False))
    assert load_config(alone).model_dump() == load_config(path).model_dump()


def test_the_shipped_files_say_nothing_twice():
    """What a file says as what it extends does could be left out."""

    def repeated(values, changes, where=""):
        for key, change in changes.items():
            if isinstance(change, dict) and isinstance(values.get(key), dict):
                yield from repeated(values[key], change, f"{where}.{key}")
            elif key in values and values[key] == change:
                yield f"{where}.{key}"

    for name in ("config", "paper", "reference", "smoke"):
        layers = read_layers(CONFIGS / f"{name}.yaml")
        assert [*repeated(merge_layers(layers[:-1]), layers[-1].values)] == []
