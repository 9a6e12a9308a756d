"""Snakemake and the command line read the same config from the same files."""

import re

import pytest
import yaml
from trees import ROOT, Tree, copy_tree

from fastff.config.load import load_config, parse_config

CONFIGS = ["config", "paper", "reference", "smoke"]


def kept(folder, *arguments, config=""):
    """Return the config that a run writes down beside its results, when it starts."""
    Tree(ROOT).snakemake("rule_graph", "--directory", str(folder), *arguments, config=config)
    (path,) = folder.glob("results/*/config.yaml")
    return yaml.safe_load(path.read_text())


@pytest.mark.parametrize("name", CONFIGS)
def test_both_read_the_same(name, tmp_path):
    values = kept(tmp_path, config=name)
    assert "extends" not in values
    config = load_config(ROOT / "config" / f"{name}.yaml")
    assert parse_config(values).model_dump() == config.model_dump()


def test_the_default_is_config_yaml_and_the_command_line_changes_it(tmp_path):
    values = kept(tmp_path, "--config", "name=mine", "threads=2", "tables_from=")
    config = load_config(ROOT / "config" / "config.yaml")
    changes = {"name": "mine", "threads": 2, "tables_from": ()}
    assert parse_config(values) == config.model_copy(update=changes)


def test_tables_of_the_reference_are_left_out_on_the_command_line(tmp_path):
    arguments = ["--config", "name=mine", "tables_from="]
    config = parse_config(kept(tmp_path, *arguments, config="reference"))
    assert (config.name, config.tables_from, config.stacks_at_once) == ("mine", (), 8)


def test_of_several_files_later_ones_change_earlier_ones(tmp_path):
    mine = tmp_path / "mine.yaml"
    mine.write_text("name: mine\nexperiments: {gradients_fashion_mnist: null}\nbenchmarks: null\n")
    paper = ROOT / "config" / "paper.yaml"
    files = ["--configfile", str(paper), str(mine)]
    config = parse_config(kept(tmp_path, *files, "--config", "threads=3"))
    whole = load_config(paper)
    assert config.experiments.keys() == whole.experiments.keys() - {"gradients_fashion_mnist"}
    assert (config.name, config.threads, config.benchmarks) == ("mine", 3, {})


def test_a_fault_of_the_command_line_is_said_to_be_its(tmp_path):
    options = ["-n", "--directory", str(tmp_path), "--config", "threads=0"]
    done = Tree(ROOT).snakemake(*options, config="", check=False)
    assert done.returncode == 1
    assert "--config: threads = 0: Input should be greater" in done.stdout + done.stderr


def test_the_config_of_the_page_on_configs_is_planned(tmp_path):
    tree = copy_tree(tmp_path / "tree")
    text = (ROOT / "docs" / "configs.md").read_text()
    (shown,) = re.findall(r"^```yaml\n(extends:.*?)^```", text, re.MULTILINE | re.DOTALL)
    path = tree.folder / "config" / "mine.yaml"
    path.write_text(shown)
    printed = tree.snakemake("--dry-run", config="mine").stdout
    whole = load_config(ROOT / "config" / "config.yaml")
    config = load_config(path)
    assert config.experiments.keys() == whole.experiments.keys() | {"top_k_mnist"}
    assert config.benchmarks.keys() == whole.benchmarks.keys() - {
        "engine_benchmark", "layer_benchmark"
    }  # fmt: skip
    assert config.experiments["top_k_mnist"].recipe == config.experiments["top_k"].recipe
    assert re.search(rf"^train +{len(config.experiments)}$", printed, re.MULTILINE)
    assert "results/mine/tables/top_k_mnist.csv" in printed
