"""The command line: every step of the pipeline, as the workflow's rules call it."""

from __future__ import annotations

import argparse
import logging
import shlex
import signal
import sys
from collections.abc import Sequence

from fastff.cli.archives import add_export, add_import
from fastff.cli.commands import (
    add_bench,
    add_collect,
    add_plan,
    add_prepare,
    add_progress,
    add_schema,
)
from fastff.cli.results import add_artifact, add_claims, add_costs, add_site, add_verify
from fastff.cli.train import add_reference, add_train
from fastff.config.errors import ConfigError
from fastff.data.errors import DataError
from fastff.workflow.caches import redirect_caches

log = logging.getLogger("fastff")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a sub-command and return its exit code.

    0, 1 for a failed check, 2 for bad input, and 128 plus the signal's number where one ended it.
    """
    options = build_parser().parse_args(arguments)
    redirect_caches()
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(message)s", stream=sys.stderr)
    log.info("command: fastff %s", shlex.join(sys.argv[1:] if arguments is None else arguments))
    try:
        code: int = options.run(options)
        return code
    except (ConfigError, DataError, ValueError, OSError) as error:
        print(f"fastff {options.command}: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        message = "interrupted; the same command goes on from what is finished"
        print(f"fastff {options.command}: {message}", file=sys.stderr)
        return 128 + signal.SIGINT


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of all sub-commands."""
    parser = argparse.ArgumentParser(
        prog="fastff", description="Steps of the FastFF artifact, as its workflow runs them."
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    add_prepare(commands)
    add_train(commands)
    add_collect(commands)
    add_bench(commands)
    add_claims(commands)
    add_reference(commands)
    add_verify(commands)
    add_export(commands)
    add_import(commands)
    add_plan(commands)
    add_costs(commands)
    add_artifact(commands)
    add_progress(commands)
    add_site(commands)
    add_schema(commands)
    return parser
