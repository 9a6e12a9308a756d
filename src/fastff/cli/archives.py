"""`fastff export` and `fastff import`: results that travel as one file."""

from __future__ import annotations

import argparse
import logging
from pathlib import Path

from fastff.cli.arguments import Commands

log = logging.getLogger("fastff")


def add_export(commands: Commands) -> None:
    """Add the command to a parser's sub-commands."""
    parser = commands.add_parser(
        "export",
        help="write the results of a run as one file",
        description="Write finished runs, tables, executed notebooks, config and provenance of a "
        "run as a tar file, with SHA256SUMS and, as a Workflow Run RO-Crate, what was run on what. "
        "The same files give the same bytes. `fastff verify` takes the file in place of a folder.",
    )
    parser.add_argument("results", type=Path, help="the run's folder, such as results/mine")
    parser.add_argument("archive", type=Path, help="the file to write: .tar, or .tar.xz")
    parser.add_argument(
        "--root", type=Path, default=Path(), help="the repository (default: the current folder)"
    )
    parser.set_defaults(run=_export)


def _export(options: argparse.Namespace) -> int:
    from fastff.archive.pack import export_results

    n_files = export_results(options.results, options.archive, options.root)
    log.info("wrote %d files to %s", n_files, options.archive)
    return 0


def add_import(commands: Commands) -> None:
    """Add the command to a parser's sub-commands."""
    parser = commands.add_parser(
        "import",
        help="unpack what `fastff export` wrote, and check every byte",
        description="Unpack an archive of results into a new folder, whole and checked or not at "
        "all. In the repository, its figures and tables are drawn from there: snakemake --cores "
        "all --configfile FOLDER/config.yaml --config tables_from=FOLDER name=theirs",
    )
    parser.add_argument("archive", type=Path, help="what `fastff export` wrote")
    parser.add_argument("folder", type=Path, help="an empty folder, or one that isn't there")
    parser.set_defaults(run=_import)


def _import(options: argparse.Namespace) -> int:
    from fastff.archive.pack import import_results

    n_files = import_results(options.archive, options.folder)
    log.info("unpacked and checked %d files: %s", n_files, options.folder)
    return 0
