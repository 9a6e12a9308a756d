"""What jobs ask of a cluster, from dry runs: no Slurm is needed."""

import re

import pytest
from trees import TINY, Tree, copy_tree

pytest.importorskip("snakemake_executor_plugin_slurm")

PROFILE = ("--workflow-profile", "workflow/profiles/slurm", "--dry-run")


@pytest.fixture(scope="module")
def tree(tmp_path_factory) -> Tree:
    return copy_tree(tmp_path_factory.mktemp("resources") / "tree")


def test_the_device_must_be_said(tree):
    done = tree.snakemake(*PROFILE, check=False)
    assert done.returncode != 0
    printed = done.stdout + done.stderr
    assert "device = 'auto': the machine that submits jobs can't tell" in printed
    assert "give --config device=cuda" in printed
    assert "Traceback" not in printed


def test_resources_and_groups(tree):
    """One place has them; each can be overridden for one rule, without losing the others."""
    changed = ("--set-resources", "train:runtime=7", "--config", "device=cuda")
    printed = tree.snakemake(*PROFILE, *changed).stdout
    entries = re.findall(r"^( *)(?:local)?rule (\w+):\n(?:.*\n)*?.* resources: (.*)", printed, re.M)
    asked = {}
    for indent, rule, resources in entries:
        values = dict(re.findall(r"(\w+)=([^,\n]+)", resources))
        asked[rule] = (bool(indent), *map(values.get, ("mem_mb", "runtime", "gpu")))
    grouped = (True, "2000", "20", None)
    assert asked == {
        "all": (False, None, None, None),
        "prepare": (False, None, None, None),
        "train": (False, "8000", "7", "1"),
        "collect": grouped,
        **{f"draw_{name}": grouped for name in TINY.experiments},
        "draw_claims": grouped,
        "ledger": (True, "4000", "60", None),
    }
