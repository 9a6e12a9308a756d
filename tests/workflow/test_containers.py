"""Jobs in a container. Where there is no apptainer, a program of its name stands for it.

It runs the command that it is given outside of any container, and notes how it was called.
"""

from __future__ import annotations

import os

import pytest
from trees import copy_tree

APPTAINER = """#!/bin/sh
[ "$1" = --version ] && { echo 'apptainer version 1.3.4'; exit; }
printf '%s\\n' "$PYTHONPATH" "${VIRTUAL_ENV-none}" "$@" >> called
while [ "$1" != bash ]; do shift; done
exec "$@"
"""
FLAG = ("--software-deployment-method", "apptainer")


@pytest.fixture
def tree(tmp_path, monkeypatch):
    programs = tmp_path / "programs"
    programs.mkdir()
    (programs / "apptainer").write_text(APPTAINER)
    (programs / "apptainer").chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("VIRTUAL_ENV", "/of/the/host")
    return copy_tree(tmp_path / "tree")


def test_jobs_run_in_the_image_of_the_config_with_the_code_of_the_clone(tree):
    config = tree.folder / "config" / "tiny.yaml"
    config.write_text(f"{config.read_text()}\ncontainer: images/mine.sif\n")
    plain = tree.snakemake("--until", "prepare")
    assert "Singularity containers: ignored" in plain.stdout + plain.stderr
    assert not (tree.folder / "called").exists()
    tree.snakemake("--until", "prepare", "--forcerun", "prepare", *FLAG)
    called = (tree.folder / "called").read_text()
    path, environment, *arguments = called.splitlines()
    assert (path, environment) == (str(tree.folder / "src"), "none")
    assert arguments[:3] == ["exec", "--home", str(tree.folder)]
    assert arguments[arguments.index("bash") - 1] == "images/mine.sif"
    assert "fastff prepare mnist5k" in called


def test_without_an_image_there_is_one_line(tree):
    done = tree.snakemake("--dry-run", *FLAG, check=False)
    assert done.returncode != 0
    printed = done.stdout + done.stderr
    assert "container is missing in the config; --software-deployment-method apptainer" in printed
    assert "Traceback" not in printed
