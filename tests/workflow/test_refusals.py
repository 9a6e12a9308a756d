"""Snakemake starts no job with a bad config file: the same lines as the command line's."""

import pytest
from trees import copy_tree

from bad_configs import BAD, bad_text

SNAKEMAKES_OWN = "Config file is not valid JSON or YAML"


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("key of a recipe twice", None),
        ("rate NaN", None),
        ("name leaves the folder", None),
        ("a batch of more than all", None),
        ("open bracket", SNAKEMAKES_OWN),
    ],
)
def test_snakemake_refuses_it_too(name, said, tmp_path):
    tree = copy_tree(tmp_path / "tree")
    (tree.folder / "config" / "bad.yaml").write_text(bad_text(name))
    done = tree.snakemake(config="bad", check=False)
    assert done.returncode == 1
    printed = done.stdout + done.stderr
    path = str(tree.folder / "config" / "bad.yaml")
    assert (said or BAD[name][2].replace("{path}", path)) in printed
    assert "Traceback" not in printed
    assert not (tree.folder / "results").exists()
