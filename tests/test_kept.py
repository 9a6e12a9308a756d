"""What a run keeps of its config."""

import os
from pathlib import Path

import pytest
import yaml

from fastff.config.load import load_config, parse_config
from fastff.config.yaml_file import config_text, keep, merge_layers, read_layers

CONFIGS = Path(__file__).parents[1] / "config"


@pytest.mark.parametrize("name", ["config", "paper", "reference", "smoke"])
def test_the_kept_config_is_the_config(name, tmp_path):
    path = CONFIGS / f"{name}.yaml"
    text = config_text(merge_layers(read_layers(path)))
    (tmp_path / "config.yaml").write_text(text)
    assert load_config(tmp_path / "config.yaml") == load_config(path)
    assert "&" not in text  # nothing is said by reference to another line


def test_what_the_command_line_removes_stays_removed():
    values = merge_layers(read_layers(CONFIGS / "smoke.yaml")) | {"tables_from": None}
    assert parse_config(yaml.safe_load(config_text(values))) == parse_config(values)


def test_a_file_that_says_the_same_is_left_alone(tmp_path):
    path = tmp_path / "folder" / "config.yaml"
    keep(path, "a: ü\n")
    os.utime(path, (1, 1))
    keep(path, "a: ü\n")
    assert path.stat().st_mtime == 1
    keep(path, "a: b\n")
    assert path.read_text() == "a: b\n"
    assert [file.name for file in path.parent.iterdir()] == ["config.yaml"]
