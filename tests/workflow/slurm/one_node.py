"""A Slurm of one node, whose daemons nothing outlives.

They live in namespaces of their own: there `slurm.conf` lies over the machine's /etc/slurm, which
stays as it is, and all processes end with the first one, however this process ends.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from string import Template

from trees import Tree

OWN_CONFIG = Path(__file__).with_name("etc")
CONFIG_FOLDER = Path("/etc/slurm")
PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "squeue", "nsenter", "setpriv", "unshare")
NAMESPACES = ("unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc")
DAEMONS = f"""
mount --bind "$1/etc" {CONFIG_FOLDER} || exit
munged --foreground --force --socket="$1/munge.socket" --key-file="$1/munge.key" \\
    --pid-file="$1/munge.pid" --seed-file="$1/munge.seed" --log-file="$1/munge.log" &
slurmctld -D &
slurmd -D &
wait
"""
IN_FOLDER = 'cd "$1" && shift && exec "$@"'
N_CPUS = os.cpu_count() or 1
# What this Slurm can't do, and what would make small jobs slow.
OPTIONS = (
    *("--workflow-profile", "workflow/profiles/slurm", "--slurm-status-command", "squeue"),
    *("--slurm-no-account", "--slurm-init-seconds-before-status-checks", "1"),
    *("--config", "device=cpu", "--cores", str(N_CPUS)),
)


def missing() -> str | None:
    """Return what this machine lacks for a Slurm of its own, if it does."""
    if find_spec("snakemake_executor_plugin_slurm") is None:
        return "the optional packages `slurm` of pyproject.toml are not installed"
    if absent := [program for program in PROGRAMS if shutil.which(program) is None]:
        return f"no {', '.join(absent)} here; Debian: apt-get install slurm-wlm munge"
    tried = subprocess.run([*NAMESPACES, "true"], capture_output=True, text=True, check=False)
    if tried.returncode:
        return f"needs root that may make namespaces: {tried.stderr.strip()}"
    return None


@dataclass(frozen=True)
class Cluster:
    """A running Slurm.

    Attributes:
        first: id of the first process in its namespaces.

    """

    first: int

    def inside(self, folder: Path, *command: str) -> list[str]:
        """Return the command that runs another in a folder, where this Slurm is."""
        enter = ["nsenter", "--target", str(self.first), "--mount", "--pid"]
        return [*enter, "sh", "-c", IN_FOLDER, "sh", str(folder), *command]

    def ask(self, *command: str) -> str:
        """Return what a command of Slurm prints."""
        done = subprocess.run(
            self.inside(Path("/"), *command), capture_output=True, text=True, check=True
        )
        return done.stdout

    def jobs(self, *states: str) -> dict[str, str]:
        """Return the comments, which name the rule, of all jobs in one of the states, by job id."""
        shown = self.ask("squeue", "--noheader", "--states", ",".join(states), "--format", "%A %k")
        return dict(line.split(maxsplit=1) for line in shown.splitlines())

    def start(self, tree: Tree, *more: str, config: str, log: Path) -> subprocess.Popen[str]:
        """Start Snakemake with the profile, in a copy of the repository, and log what it prints."""
        command = [sys.executable, "-m", "snakemake", *OPTIONS, *more]
        command += ["--configfile", f"config/{config}.yaml"]
        with log.open("w") as file:
            return subprocess.Popen(
                self.inside(tree.folder, *command),
                env=tree.environment(),
                stdout=file,
                stderr=subprocess.STDOUT,
                text=True,
            )


@contextmanager
def one_node(folder: Path) -> Iterator[Cluster]:
    """Start a Slurm with its files in a folder, and end it."""
    for part in ("etc", "state", "spool"):
        (folder / part).mkdir(parents=True)
    (folder / "munge.key").write_bytes(os.urandom(1024))
    (folder / "munge.key").chmod(0o600)
    values = {
        "folder": folder,
        "host": socket.gethostname().partition(".")[0],
        "cpus": N_CPUS,
        "slurmctld_port": free_port(),
        "slurmd_port": free_port(),
    }
    for path in OWN_CONFIG.iterdir():
        text = Template(path.read_text()).substitute(values)
        (folder / "etc" / path.name).write_text(text)
    command = [*NAMESPACES, "sh", "-c", DAEMONS, "sh", str(folder)]
    with (folder / "daemons.log").open("w") as log:
        # this process may be killed, too
        daemons = subprocess.Popen(
            ["setpriv", "--pdeathsig", "KILL", *command], stdout=log, stderr=log
        )
    try:
        yield Cluster(_wait_for_the_node(daemons, folder))
    finally:
        daemons.kill()
        daemons.wait()


def children(process: int) -> list[int]:
    """Return the ids of the processes that a process has started."""
    ids = Path(f"/proc/{process}/task/{process}/children").read_text()
    return [int(child) for child in ids.split()]


def free_port() -> int:
    """Return a port that nobody listens on."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        return bound.getsockname()[1]


def _wait_for_the_node(daemons: subprocess.Popen[bytes], folder: Path) -> int:
    """Return the id of the first process in the namespaces, once the node takes jobs."""
    deadline = time.monotonic() + 120
    while daemons.poll() is None and time.monotonic() < deadline:
        for child in children(daemons.pid):
            state = Cluster(child).inside(Path("/"), "sinfo", "--noheader", "--format", "%T")
            shown = subprocess.run(state, capture_output=True, text=True, check=False)
            if shown.stdout.strip() == "idle":
                return child
        time.sleep(0.2)
    logs = [path.read_text()[-2000:] for path in sorted(folder.glob("*.log"))]
    raise RuntimeError("\n".join(["No node of Slurm came up", *logs]))
