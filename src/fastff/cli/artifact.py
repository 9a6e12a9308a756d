"""`fastff costs` and `fastff artifact`: the commands."""

from __future__ import annotations

import argparse
import difflib
import sys
from pathlib import Path

from fastff.cli.arguments import add_config


def add_artifact(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the commands to a parser's sub-commands."""
    _add_costs(commands)
    parser = commands.add_parser(
        "artifact",
        help="write the artifact appendix",
        description="Write docs/artifact.md from the configs, the ledger of claims and the "
        "measured costs of the repository: what to run for which claim, what it takes, and what to "
        "expect.",
    )
    parser.add_argument(
        "--root", type=Path, default=Path(), help="the repository (default: the current folder)"
    )
    parser.add_argument("--output", type=Path, default=Path("docs/artifact.md"), help="the file")
    parser.add_argument(
        "--check",
        action="store_true",
        help="write nothing; exit code 1 where the file is not what would be written",
    )
    parser.set_defaults(run=_artifact)


def _artifact(options: argparse.Namespace) -> int:
    from fastff.artifact.appendix import appendix
    from fastff.files import atomic_path

    text = appendix(options.root)
    if options.check:
        found = options.output.read_text(encoding="utf-8")
        old, new = (part.splitlines(keepends=True) for part in (found, text))
        sys.stdout.writelines(difflib.unified_diff(old, new, str(options.output), "written anew"))
        if found != text:
            command = f"fastff artifact --output {options.output}"
            print(f"{options.output} is stale: {command}", file=sys.stderr)
        return int(found != text)
    with atomic_path(options.output) as path:
        path.write_text(text, encoding="utf-8")
    return 0


def _add_costs(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser(
        "costs",
        help="write down what a run of a config took",
        description="Write a CSV table of time, memory and disk per experiment and step, from "
        "the measurements that the workflow made of each job of a finished run.",
    )
    add_config(parser, what="what was run")
    parser.add_argument(
        "--folder", type=Path, default=Path(), help="where it was run (default: the current folder)"
    )
    parser.add_argument(
        "--note", default="", help="what a reader must know, such as what else ran on the machine"
    )
    parser.add_argument("--output", type=Path, required=True, help="the table to write")
    parser.set_defaults(run=_costs)


def _costs(options: argparse.Namespace) -> int:
    from fastff.artifact.costs import measured_costs
    from fastff.config.load import load_config
    from fastff.files import atomic_path

    table = measured_costs(load_config(options.configfile), options.folder, options.note)
    with atomic_path(options.output) as path:
        table.to_csv(path, index=False)
    return 0
