"""`fastff verify`: the command."""

from __future__ import annotations

import argparse
from pathlib import Path


def add_verify(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command to a parser's sub-commands."""
    parser = commands.add_parser(
        "verify",
        help="compare two result trees, table by table",
        description="Compare the tables of two result trees, such as results/paper and "
        "results/reference/h100. Bits differ between machines, so that means over seeds are "
        "compared: a table is identical, within the intervals (Welch's, 95 % for all cells of the "
        "table together), or different, with the cells that differ. What is timed is left out. "
        "Exit code 0: every table is identical or within; 1: some differ; 2: no result trees.",
    )
    parser.add_argument("left", type=Path, help="a result tree: a folder with tidy/ or tables/")
    parser.add_argument("right", type=Path, help="another, which may have packed tables")
    parser.add_argument(
        "--common",
        action="store_true",
        help="tables that only one tree has are listed, but are no difference",
    )
    parser.add_argument("--cells", type=Path, help="write every compared cell to this CSV file")
    parser.add_argument(
        "--exact",
        action="store_true",
        help="demand the same bytes, as two runs on one machine give them",
    )
    parser.add_argument(
        "--name",
        help="left and right are folders that hold results/NAME; with --exact, figures/NAME are "
        "compared too",
    )
    parser.set_defaults(run=_verify)


def _verify(options: argparse.Namespace) -> int:
    if options.exact:
        if options.common or options.cells:
            raise ValueError("--common and --cells are about intervals; --exact has none")
        return _verify_exactly(options)
    from fastff.files import atomic_path
    from fastff.verify.compare import cell_table, compare_trees, report

    sides = [options.left, options.right]
    if options.name:
        sides = [side / "results" / options.name for side in sides]
    comparison = compare_trees(*sides)
    if options.cells:
        with atomic_path(options.cells) as path:
            cell_table(comparison).to_csv(path, index=False)
    print(report(comparison, common=options.common))
    return 0 if comparison.agrees(common=options.common) else 1


def _verify_exactly(options: argparse.Namespace) -> int:
    from fastff.verify.exact import compare_runs, compare_trees_exactly

    if options.name:
        comparison = compare_runs(options.left, options.right, options.name)
    else:
        comparison = compare_trees_exactly(options.left, options.right)
    print(comparison.report())
    return 0 if comparison.identical else 1
