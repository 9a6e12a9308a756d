"""Options and values that several commands share."""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from fastff.config.load import Config

Commands: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"


def add_config(
    parser: argparse.ArgumentParser, *, required: bool = True, what: str = "a config file"
) -> None:
    """Add --config, the file of a config, or as Snakemake calls it --configfile."""
    parser.add_argument(
        *("--config", "--configfile"),
        dest="configfile",
        metavar="FILE",
        type=Path,
        required=required,
        help=what,
    )


def add_device(parser: argparse.ArgumentParser) -> None:
    """Add --device, --stacks-at-once and --tf32, each in place of the config's."""
    parser.add_argument(
        "--device",
        choices=["auto", "cpu", "cuda"],
        help="where to train; auto takes CUDA where there is a device (default: the config's)",
    )
    parser.add_argument(
        "--stacks-at-once",
        type=positive,
        metavar="N",
        help="batched computations that share a CUDA device (default: the config's)",
    )
    parser.add_argument(
        "--tf32",
        action=argparse.BooleanOptionalAction,
        help="on CUDA, round the factors of matrix products to TF32: faster, less exact "
        "(default: the config's)",
    )


def with_settings(
    options: argparse.Namespace, config: Config, names: Iterable[str]
) -> argparse.Namespace:
    """Return options in which the config says what the command line doesn't.

    Args:
        options: as they were given.
        config: what else is asked.
        names: of the options, and of the config's keys.

    """
    from fastff.config.jobs import settings

    missing = tuple(name for name in names if getattr(options, name) is None)
    return argparse.Namespace(**{**vars(options), **settings(config, missing)})


def positive(text: str) -> int:
    """Return a whole number of at least 1, as the type of an option."""
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text}: must be at least 1")
    return number
