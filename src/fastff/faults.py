"""Faults of a config or a job, one clear line each."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from fastff.spec import NAME_PATTERN


class ConfigError(Exception):
    """A config that can't be used, with one line per fault."""


@contextmanager
def describe_faults(what: str) -> Iterator[None]:
    """Turn pydantic's ValidationError into a ConfigError about `what`, with a line per fault."""
    try:
        yield
    except ValidationError as error:
        faults = error.errors(include_url=False)
        # a list whose items were all refused is also called too short: say only why they were
        inner = {fault["loc"][:end] for fault in faults for end in range(len(fault["loc"]))}
        faults = [f for f in faults if f["type"] != "too_short" or f["loc"] not in inner]
        raise ConfigError("\n".join(_describe(fault, what) for fault in faults)) from None


def _describe(fault: ErrorDetails, what: str) -> str:
    """Return one line for a fault: the key, what was given, what is wrong with it."""
    where = what if "." in what else ""  # keys of the config itself stand alone
    for part in fault["loc"]:
        where += f"[{part}]" if isinstance(part, int) else f".{part}" if where else str(part)
    message = fault["msg"].removeprefix("Value error, ")
    if fault["type"] == "string_pattern_mismatch":
        message = f"should match {NAME_PATTERN}"
    given = fault["input"]
    shown = "" if isinstance(given, dict | tuple) else f" = {given!r}"
    return f"{where or what}{shown}: {message}"
