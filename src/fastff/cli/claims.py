"""`fastff claims`: the command."""

from __future__ import annotations

import argparse
import logging
from pathlib import Path
from typing import TYPE_CHECKING

from fastff.cli.arguments import add_config
from fastff.config.errors import ConfigError
from fastff.config.load import load_config

if TYPE_CHECKING:
    from fastff.claims.file import ClaimsFile

log = logging.getLogger("fastff")


def add_claims(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
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
    from fastff.claims.file import load_claims

    if not options.tables:
        raise ConfigError("--tables is missing; --output needs the folders that hold the tables")
    config = load_config(options.configfile) if options.configfile is not None else None
    return load_claims(options.claims, config)
