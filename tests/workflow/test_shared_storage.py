"""One data folder for two users: the second one reads it, whether or not it may write there."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml
from trees import TINY_PATH, Tree, copy_tree

pytestmark = pytest.mark.faults

GROUP = 4242
NAMES = ("mnist5k.json", "mnist5k.npz")


@dataclass(frozen=True)
class User:
    """Somebody with an id, a umask, a clone, and no home. It may read what root may."""

    uid: int
    umask: str
    tree: Tree

    def command(self, *arguments: str) -> list[str]:
        temporary = self.tree.folder.parent / f"tmp of {self.uid}"
        temporary.mkdir(exist_ok=True)
        os.chown(temporary, self.uid, GROUP)
        ids = [f"--reuid={self.uid}", f"--regid={GROUP}", "--clear-groups"]
        # the interpreter of the tests may lie where only root can read
        reads = ["--inh-caps=+dac_read_search", "--ambient-caps=+dac_read_search"]
        shell = ["sh", "-c", f'umask {self.umask} && exec "$@"', "sh"]
        variables = ["env", f"TMPDIR={temporary}", "HOME=/none", "LOGNAME=somebody"]
        return ["setpriv", *ids, *reads, *shell, *variables, sys.executable, *arguments]

    def snakemake(self, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        options = ["--cores", "2", "--configfile", "config/tiny.yaml"]
        command = self.command("-m", "snakemake", *options, *arguments)
        return self.tree.run(command, check=check)


def user(uid: int, umask: str, folder: Path, data: Path) -> User:
    """Return a user with a clone, which trains one experiment on data that others use."""
    tree = copy_tree(folder / f"clone of {uid}")
    values = yaml.safe_load(TINY_PATH.read_text())
    values["experiments"] = {"hypercube": values["experiments"]["hypercube"]}
    del values["claims"]
    values["data_dir"] = str(data)
    (tree.folder / "config" / "tiny.yaml").write_text(json.dumps(values))
    for path in (tree.folder, *tree.folder.rglob("*")):
        os.chown(path, uid, GROUP)
    return User(uid, umask, tree)


def check_products(user: User, finished: Tree) -> None:
    paths = [f"figures/tiny/hypercube{end}" for end in (".pdf", ".png", ".svg")]
    paths += ["results/tiny/tables/hypercube.csv", "results/tiny/tidy/hypercube/runs.csv"]
    for path in paths:
        assert (user.tree.folder / path).read_bytes() == (finished.folder / path).read_bytes()


@pytest.fixture
def folder():
    """A folder that all users can reach, as pytest's own is not.

    Without root nobody can become another user, so that the tests are skipped.
    """
    if os.geteuid() != 0 or shutil.which("setpriv") is None:
        pytest.skip("to run as two users takes root, and util-linux's setpriv")
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        probe = user(4000, "022", Path(name), Path(name, "none")).command("-c", "")
        if subprocess.run(probe, capture_output=True).returncode != 0:
            pytest.skip("no other user can run the interpreter of the tests here")
        yield Path(name)


def test_one_who_may_only_read_uses_what_another_has_prepared(folder, finished):
    data = folder / "shared data"
    data.mkdir(mode=0o755)
    os.chown(data, 4001, GROUP)
    owner, reader = user(4001, "022", folder, data), user(4002, "022", folder, data)

    refused = reader.snakemake(check=False)
    assert refused.returncode != 0
    message = (
        f"data_dir = '{data}' can't be written by this user, and {data}/mnist5k.npz is missing"
    )
    assert message in refused.stdout + refused.stderr
    assert list(data.iterdir()) == []

    owner.snakemake("--until", "prepare")
    assert sorted(path.name for path in data.iterdir()) == list(NAMES)
    before = {path: path.stat() for path in data.iterdir()}
    assert all(found.st_mode & 0o777 == 0o644 for found in before.values())
    printed = reader.snakemake()
    assert "rule prepare:" not in printed.stdout + printed.stderr
    assert {path: path.stat().st_ino for path in data.iterdir()} == {
        path: found.st_ino for path, found in before.items()
    }
    check_products(reader, finished)
    assert "Nothing to be done" in reader.snakemake("--dry-run").stdout


def test_two_who_may_both_write_replace_each_other_s(folder, finished):
    data = folder / "shared data"
    data.mkdir()
    os.chown(data, 4001, GROUP)
    data.chmod(0o2775)
    first, second = (user(uid, "002", folder, data) for uid in (4001, 4002))
    prepared = (finished.folder / "results/data/mnist5k.npz").read_bytes()
    for one in (first, second, first):
        one.snakemake("--until", "prepare", "--forcerun", "prepare")
        assert {path.stat().st_uid for path in data.iterdir()} == {one.uid}
        assert {path.stat().st_mode & 0o777 for path in data.iterdir()} == {0o664}
        assert sorted(path.name for path in data.iterdir()) == list(NAMES)
        assert (data / "mnist5k.npz").read_bytes() == prepared
