"""Full and read-only disks, vanished and altered input: an error with the path, nothing half."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from trees import TINY_PATH, Tree, copy_tree

from fastff.cli import main

pytestmark = pytest.mark.faults

TARGET = "results/tiny/tidy/soft_merging/runs.csv"


class Disk:
    """A file system of its own in memory."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def mount(self, options: str) -> None:
        command = ["mount", "-t", "tmpfs", "-o", options, "none", str(self.folder)]
        subprocess.run(command, check=True, capture_output=True)


@pytest.fixture
def disk(tmp_path) -> Iterator[Disk]:
    """A disk of 600 kB. Mounting one needs root: without, the tests are skipped."""
    found = Disk(tmp_path / "disk")
    found.folder.mkdir()
    try:
        found.mount("size=600k")
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("no file system can be mounted here")
    yield found
    subprocess.run(["umount", "--lazy", str(found.folder)], check=True)


def fastff(tree: Tree, *arguments: str) -> subprocess.CompletedProcess[str]:
    return tree.run(["python", "-m", "fastff", *arguments], check=False)


def train_on(finished: Tree, output: Path, *more: str) -> subprocess.CompletedProcess[str]:
    """Train a job of the tiny config into a folder."""
    arguments = ["--config", "config/tiny.yaml", "--job", "soft_merging", "--output"]
    data = ["--data", "results/data/mnist5k.npz"]
    return fastff(finished, "train", *arguments, str(output), *data, *more)


def files(folder: Path) -> list[str]:
    return [path.name for path in folder.rglob("*") if path.is_file()]


def test_a_full_disk(finished, disk):
    done = fastff(finished, "prepare", "mnist5k", "--data-dir", str(disk.folder / "data"))
    assert done.returncode == 2
    path = disk.folder / "data" / "mnist5k.npz"
    assert done.stderr.splitlines()[-1] == (
        f"fastff prepare: [Errno 28] No space left on device: '{path}'"
    )
    assert files(disk.folder) == []

    (disk.folder / "full").write_bytes(bytes(590 * 1024))
    done = train_on(finished, disk.folder / "job", "--store", str(disk.folder / "store"))
    assert done.returncode == 2
    last = done.stderr.splitlines()[-1]
    assert last.startswith("fastff train: [Errno 28] No space left on device: ")
    assert f"'{disk.folder}/" in last
    assert not any(name.startswith(".") for name in files(disk.folder))


def test_a_read_only_disk(finished, disk):
    (disk.folder / "job").mkdir()
    disk.mount("remount,ro")
    done = fastff(finished, "prepare", "mnist5k", "--data-dir", str(disk.folder))
    assert done.returncode == 2
    expected = f"[Errno 30] Read-only file system: '{disk.folder}/mnist5k.npz'"
    assert done.stderr.splitlines()[-1] == f"fastff prepare: {expected}"
    done = train_on(finished, disk.folder / "job")
    assert done.returncode == 2
    expected = f"[Errno 30] Read-only file system: '{disk.folder}/job/runs.csv'"
    assert done.stderr.splitlines()[-1] == f"fastff train: {expected}"


def test_a_workflow_on_a_full_disk_goes_on_when_there_is_room(finished, disk, tmp_path):
    tree = copy_tree(tmp_path / "tree")
    values = yaml.safe_load((tree.folder / "config" / "tiny.yaml").read_text())
    values["results_dir"], values["figures_dir"] = (str(disk.folder / x) for x in "rf")
    (tree.folder / "config" / "small.yaml").write_text(yaml.safe_dump(values))
    shutil.copytree(finished.folder / "results" / "data", tree.folder / "results" / "data")
    target = f"{disk.folder}/f/tiny/hypercube.pdf"
    done = tree.snakemake(target, config="small", check=False)
    assert done.returncode != 0
    assert "No space left on device" in done.stdout + done.stderr
    disk.mount("remount,size=100m")
    tree.snakemake(target, config="small")
    for path in ("tables/hypercube.csv", "tidy/hypercube/runs.csv"):
        made = (disk.folder / "r" / "tiny" / path).read_bytes()
        assert made == (finished.folder / "results/tiny" / path).read_bytes()
    figure = (finished.folder / "figures/tiny/hypercube.pdf").read_bytes()
    assert Path(target).read_bytes() == figure


def flipped(content: bytes, place: int | None = None) -> bytes:
    place = place or len(content) // 2
    return content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :]


@pytest.fixture(scope="module")
def prepared(finished) -> dict[str, bytes]:
    """The prepared files by their ending."""
    data = finished.folder / "results" / "data"
    return {end: (data / f"mnist5k{end}").read_bytes() for end in (".npz", ".json")}


@pytest.mark.parametrize("ending", [".npz", ".json"])
@pytest.mark.parametrize("damage", ["vanished", "truncated", "flipped", "empty"])
def test_altered_input(damage, ending, prepared, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "tiny.yaml").write_bytes(TINY_PATH.read_bytes())
    for end, content in prepared.items():
        change = {"truncated": content[:-100], "flipped": flipped(content), "empty": b""}
        if end == ".json":  # a digit of a number that training uses
            place = content.index(b"mean") + 16
            change["flipped"] = flipped(content, place)
        if end != ending:
            (tmp_path / f"mnist5k{end}").write_bytes(content)
        elif damage != "vanished":
            (tmp_path / f"mnist5k{end}").write_bytes(change[damage])
    arguments = ["--config", "tiny.yaml", "--job", "soft_merging", "--output", "job"]
    assert main(["train", *arguments, "--data", "mnist5k.npz"]) == 2
    last = capsys.readouterr().err.splitlines()[-1]
    assert last.startswith("fastff train: mnist5k.")
    assert "prepare the dataset" in last
    assert not (tmp_path / "job").exists()


def test_a_workflow_names_altered_input_and_goes_on_once_it_is_gone(edited, finished):
    path = edited.folder / "results" / "data" / "mnist5k.npz"
    times = path.stat()
    path.write_bytes(flipped(path.read_bytes()))
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
    for folder in ("jobs/soft_merging", "tidy/soft_merging", "store"):
        shutil.rmtree(edited.folder / "results" / "tiny" / folder)
    done = edited.snakemake(TARGET, check=False)
    assert done.returncode != 0
    printed = done.stdout + done.stderr
    assert "fastff train: results/data/mnist5k.npz: " in printed
    assert "prepare the dataset again" in printed
    assert not (edited.folder / "results/tiny/tidy/soft_merging").exists()
    path.unlink()
    edited.snakemake(TARGET)
    assert (edited.folder / TARGET).read_bytes() == (finished.folder / TARGET).read_bytes()
