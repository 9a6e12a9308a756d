"""`fastff progress`: the command."""

from __future__ import annotations

import argparse
from pathlib import Path


def add_progress(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command to a parser's sub-commands."""
    parser = commands.add_parser(
        "progress",
        help="say how far a run is",
        description="Print in one line how many runs are done of how many, the time left, and what "
        "trains, of a run that was started with Snakemake, here or on another machine: it reads "
        "the logs. To see it change: watch fastff progress results/quick",
    )
    parser.add_argument("results", type=Path, help="the run's folder, such as results/quick")
    parser.set_defaults(run=_progress)


def _progress(options: argparse.Namespace) -> int:
    from fastff.progress.overall import overall

    print(overall(options.results))
    return 0
