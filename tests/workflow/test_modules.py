"""The workflow as a module of another one, in an empty folder, as config/README.md says."""

from __future__ import annotations

import re
import sys

import pytest
from trees import TINY_PATH, copy_tree


@pytest.mark.slow
def test_a_clone_is_a_module_of_another_workflow(tmp_path):
    tree, mine = copy_tree(tmp_path / "clone"), tmp_path / "mine"
    text = (tree.folder / "config" / "README.md").read_text()
    (snakefile,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    (mine / "config").mkdir(parents=True)
    (mine / "Snakefile").write_text(snakefile.replace("/path/to/fastff", str(tree.folder)))
    (mine / "config" / "config.yaml").write_text(TINY_PATH.read_text())
    tree.run([sys.executable, "-m", "snakemake", "--directory", str(mine), "--snakefile",
              str(mine / "Snakefile"), "--cores", "2", "hypercube"])  # fmt: skip
    assert (mine / "results/tiny/tidy/hypercube/SHA256SUMS").is_file()
    assert (mine / "figures/tiny/hypercube.pdf").is_file()
    assert not (tree.folder / "results").exists()
