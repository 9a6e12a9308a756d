"""Options and values that several commands share."""

from __future__ import annotations

import argparse
from pathlib import Path


def add_device(parser: argparse.ArgumentParser) -> None:
    """Add --device, --stacks-at-once and --tf32."""
    parser.add_argument(
        "--device",
        choices=["auto", "cpu", "cuda"],
        default="auto",
        help="where to train; auto takes CUDA where there is a device (default: auto)",
    )
    parser.add_argument(
        "--stacks-at-once",
        type=positive,
        default=4,
        help="batched computations that share a CUDA device (default: 4)",
    )
    parser.add_argument(
        "--tf32",
        action="store_true",
        help="on CUDA, round the factors of matrix products to TF32: faster, less exact",
    )


def text_of(given: str) -> str:
    """Return JSON text as it is, and of anything else the content of the file of that name."""
    return given if given.lstrip().startswith("{") else Path(given).read_text(encoding="utf-8")


def positive(text: str) -> int:
    """Return a whole number of at least 1, as the type of an option."""
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text}: must be at least 1")
    return number
