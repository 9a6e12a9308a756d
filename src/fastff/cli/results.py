"""Commands that read results: claims, verify, costs, artifact and site."""

from __future__ import annotations

import argparse
import difflib
import logging
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from fastff.cli.arguments import Commands, add_config
from fastff.config.base import unknown
from fastff.config.errors import ConfigError, describe_faults
from fastff.config.load import load_config

if TYPE_CHECKING:
    from fastff.claims.file import ClaimsFile

log = logging.getLogger("fastff")


def add_claims(commands: Commands) -> None:
    """Add the command to a parser's sub-commands."""
    parser = commands.add_parser(
        "claims",
        help="compute the ledger of claims, or insert it into a page",
        description="Test every claim of a claims file on the tables of a run, and write the "
        "ledger: effects, intervals, tests and verdicts. Or insert a ledger that was written into "
        "a Markdown page, between its markers; exit code 1 of --check: the page's is another.",
    )
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--output", type=Path, help="the ledger to write, without its ending")
    what.add_argument("--insert", type=Path, metavar="PAGE", help="the page to insert it into")
    parser.add_argument(
        "--claims",
        type=Path,
        default=Path("config/claims.yaml"),
        help="the claims file (default: config/claims.yaml)",
    )
    add_config(
        parser, required=False, what="a config whose experiments the claims file may name too"
    )
    parser.add_argument(
        "--tables",
        type=Path,
        nargs="+",
        default=[],
        help="folders that hold tidy/ and benchmarks/, such as results/quick; needed for --output",
    )
    parser.add_argument(
        "--only", nargs="*", help="experiments and benchmarks to read; by default all there are"
    )
    parser.add_argument(
        "--ledger",
        type=Path,
        default=Path("results/reference/claims.csv"),
        help="the ledger to insert (default: results/reference/claims.csv)",
    )
    parser.add_argument("--check", action="store_true", help="with --insert: only compare")
    parser.set_defaults(run=_claims)


def _claims(options: argparse.Namespace) -> int:
    from fastff.analysis.ledger import count_verdicts, load_ledger, write_ledger
    from fastff.claims.ledger import Tables, ledger
    from fastff.claims.page import insert
    from fastff.tables.read import TidyError

    try:
        if options.insert is not None:
            same = insert(options.insert, load_ledger(options.ledger), check=options.check)
            if options.check and not same:
                print(f"{options.insert} is stale: fastff claims --insert {options.insert}")
            return 1 if options.check and not same else 0
        table = ledger(_claims_file(options), Tables(options.tables, options.only))
    except TidyError as error:
        raise ConfigError(str(error)) from None
    write_ledger(table, options.output)
    log.info("%s", count_verdicts(table))
    return 0


def _claims_file(options: argparse.Namespace) -> ClaimsFile:
    """Return the claims of --claims, which may name what --config has."""
    from fastff.claims.load import load_claims

    if options.check:
        raise ConfigError("--check is about a page: --insert; --output always writes")
    if not options.tables:
        raise ConfigError("--tables is missing; --output needs the folders that hold the tables")
    for folder in options.tables:
        if not any((folder / part).is_dir() for part in ("tidy", "benchmarks")):
            raise ConfigError(f"--tables {folder}: has neither tidy/ nor benchmarks/")
    config = load_config(options.configfile) if options.configfile is not None else None
    claims = load_claims(options.claims, config)
    about = {name: None for claim in claims.claims.values() for name in claim.variants()}
    for name in options.only or ():
        if name not in about:
            raise ConfigError(f"--only {name}: {unknown(f'experiment {name!r}', name, about)}")
    return claims


def add_verify(commands: Commands) -> None:
    """Add the command to a parser's sub-commands."""
    parser = commands.add_parser(
        "verify",
        help="compare two result trees, table by table",
        description="Compare the tables of two result trees, such as results/paper and "
        "results/reference/h100. Bits differ between machines, so that runs and their means over "
        "seeds are compared: a table is identical, within the intervals (95 % for all checks of "
        "the table together), or different, with what differs. What is timed is left out. "
        "Exit code 0: every table is identical or within; 1: some differ; 2: no result trees.",
    )
    parser.add_argument(
        "left",
        type=Path,
        help="a result tree: a folder with tidy/ or tables/, or what `fastff export` wrote",
    )
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
    from fastff.archive.pack import as_folder
    from fastff.files import atomic_path
    from fastff.verify.compare import cell_table, compare_trees, report

    sides = [options.left, options.right]
    if options.name:
        sides = [side / "results" / options.name for side in sides]
    with ExitStack() as stack:
        comparison = compare_trees(*(stack.enter_context(as_folder(side)) for side in sides))
    if options.cells:
        with atomic_path(options.cells) as path:
            cell_table(comparison).to_csv(path, index=False)
    print(report(comparison, common=options.common))
    return 0 if comparison.agrees(common=options.common) else 1


def _verify_exactly(options: argparse.Namespace) -> int:
    from fastff.archive.pack import as_folder
    from fastff.verify.exact import compare_runs, compare_trees_exactly

    if options.name:
        comparison = compare_runs(options.left, options.right, options.name)
    else:
        with as_folder(options.left) as left, as_folder(options.right) as right:
            comparison = compare_trees_exactly(left, right)
    print(comparison.report())
    return 0 if comparison.identical else 1


def add_costs(commands: Commands) -> None:
    """Add the command to a parser's sub-commands."""
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
    from fastff.files import atomic_path

    table = measured_costs(load_config(options.configfile), options.folder, options.note)
    with atomic_path(options.output) as path:
        table.to_csv(path, index=False)
    return 0


def add_artifact(commands: Commands) -> None:
    """Add the command to a parser's sub-commands."""
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


def add_site(commands: Commands) -> None:
    """Add the command to a parser's sub-commands."""
    parser = commands.add_parser(
        "site",
        help="write the pages that show a finished run",
        description="Write a folder of pages with every figure, table and executed notebook of a "
        "finished run, its ledger of claims and its provenance. Open its index.html in a browser; "
        "it needs no server and no network. The workflow calls this: snakemake --cores all site",
    )
    add_config(parser, what="the config of the run")
    parser.add_argument(
        "--plan",
        type=Path,
        required=True,
        help="the files of the run: the site.json that the workflow keeps beside its config.yaml",
    )
    parser.add_argument("--output", type=Path, required=True, help="the folder to write")
    parser.set_defaults(run=_site)


def _site(options: argparse.Namespace) -> int:
    from fastff.site.manifest import Manifest

    try:
        from fastff.site.pages import build_site
    except ModuleNotFoundError as error:
        raise ConfigError(
            f"package {error.name} is missing; requirements.lock has all that a site needs, as the "
            "group `site` of fastff"
        ) from None
    with describe_faults(f"plan {options.plan}"):
        manifest = Manifest.model_validate_json(options.plan.read_text(encoding="utf-8"))
    pages = build_site(options.configfile, manifest, options.output)
    log.info("wrote %d pages: %s", pages, options.output / "index.html")
    return 0
