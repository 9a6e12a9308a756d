"""Copies of the repository in which real Snakemake runs happen."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from fastff.config.load import load_config

ROOT = Path(__file__).parents[2]
CONFIGS = [Path(__file__).parent / f"{name}.yaml" for name in ("tiny", "faults")]
TINY_PATH = CONFIGS[0]
TINY = load_config(TINY_PATH)
PARTS = ("config", "src", "workflow", "notebooks", "environment.yml", "README.md", "docs")
ENTRY = re.compile(r"^(?:local)?rule (\w+):$", re.MULTILINE)


@dataclass(frozen=True)
class Tree:
    """A copy of the repository's files, whose own package and workflow its commands use."""

    folder: Path

    def environment(self) -> dict[str, str]:
        """Return an environment whose `fastff` and `python` are this interpreter's and copy's."""
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        return {**os.environ, "PATH": path, "PYTHONPATH": str(self.folder / "src")}

    def snakemake(
        self, *arguments: str, config: str = "tiny", check: bool = True
    ) -> subprocess.CompletedProcess[str]:
        """Run Snakemake in the copy; on failure show what it printed."""
        command = [sys.executable, "-m", "snakemake", "--cores", "2", *arguments]
        if config:
            command += ["--configfile", f"config/{config}.yaml"]
        return self.run(command, check=check)

    def start(self, *arguments: str, config: str, log: Path) -> subprocess.Popen[str]:
        """Start Snakemake in the copy, in a process group of its own; what it prints is logged."""
        command = [sys.executable, "-m", "snakemake", *arguments]
        with log.open("w") as file:
            return subprocess.Popen(
                [*command, "--configfile", f"config/{config}.yaml"],
                cwd=self.folder,
                env=self.environment(),
                stdout=file,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                text=True,
            )

    def processes(self) -> list[int]:
        """Return the ids of all processes that work in the copy."""
        found = []
        for link in Path("/proc").glob("[0-9]*/cwd"):
            with suppress(OSError):  # it has just ended, or is a zombie
                if link.readlink().is_relative_to(self.folder):
                    found.append(int(link.parent.name))
        return found

    def run(self, command: list[str], *, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run a command in the copy."""
        done = subprocess.run(
            command,
            cwd=self.folder,
            env=self.environment(),
            capture_output=True,
            text=True,
            check=False,
        )
        if check:
            assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
        return done

    def planned(self, *targets: str) -> set[str]:
        """Return what a dry run would do: "rule experiment variant" of each job but targets'."""
        printed = self.snakemake(*targets, "--dry-run", config="tiny")
        return jobs_in(printed.stdout + printed.stderr)

    def edit(self, path: str, old: str, new: str) -> None:
        """Replace the first `old` in a file, which must be there."""
        file = self.folder / path
        text = file.read_text()
        assert old in text
        file.write_text(text.replace(old, new, 1))


def jobs_in(printed: str) -> set[str]:
    """Return the jobs that a dry run has printed, "rule experiment variant" each."""
    jobs = set()
    for entry in re.split(r"\n(?=\[\w{3} \w{3})", printed):
        if (rule := ENTRY.search(entry)) is None:
            continue
        wildcards = re.search(r"wildcards: (.*)", entry)
        values = re.findall(r"=(\w+)", wildcards.group(1)) if wildcards else []
        jobs.add(" ".join([rule.group(1), *values]))
    return jobs


def copy_tree(target: Path) -> Tree:
    """Copy the repository's files, without results, into `target`."""
    target.mkdir()
    for part in PARTS:
        source = ROOT / part
        if source.is_dir():
            shutil.copytree(source, target / part, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy2(source, target / part)
    for config in CONFIGS:
        shutil.copy2(config, target / "config")
    return Tree(target)
