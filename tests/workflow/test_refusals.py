"""Snakemake starts no job with a bad config file, another clone's code, or results in use."""

import sys

import pytest
from trees import Tree, copy_tree

from bad_configs import BAD, bad_text
from fastff.files import hold

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


def test_the_code_of_another_clone_is_refused(tmp_path, monkeypatch):
    tree, other = (copy_tree(tmp_path / name) for name in ("tree", "other"))
    environment = other.environment()
    monkeypatch.setattr(Tree, "environment", lambda _: environment)
    done = tree.run([sys.executable, "-m", "snakemake", "-n"], check=False)
    assert done.returncode == 1
    assert (
        f"The active environment has the code of {other.folder}, not of {tree.folder}: activate "
        "this clone's, or use make, which makes one\n"
    ) in done.stdout
    assert "Traceback" not in done.stdout + done.stderr


def test_a_run_locks_its_results_and_a_dry_run_locks_nothing(tmp_path):
    tree = copy_tree(tmp_path / "tree")
    held = hold(tree.folder / "results" / "tiny" / ".running")
    tree.snakemake("--dry-run", "hypercube")
    assert [path.name for path in (tree.folder / "results").rglob("*")] == ["tiny", ".running"]
    done = tree.snakemake("hypercube", check=False)
    assert done.returncode == 1
    assert f"Another run works in {tree.folder}/results/tiny: wait for it" in done.stderr
    held.close()
