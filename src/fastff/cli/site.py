"""`fastff site`: the command."""

from __future__ import annotations

import argparse
import logging
from pathlib import Path

from fastff.cli.arguments import add_config

log = logging.getLogger("fastff")


def add_site(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
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
    from fastff.config.errors import ConfigError, describe_faults
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
