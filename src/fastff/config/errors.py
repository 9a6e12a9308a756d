"""Faults of a config or a job, one clear line each."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from contextlib import contextmanager

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from fastff.config.base import FOLDER_PATTERN, LINE_PATTERN, NAME_PATTERN

MOST_SHOWN = 80  # characters of what was given
OWN_KEY = (
    "experiments.",
    "language_models.",
    "benchmarks.",
)  # how a message starts that names its key itself
# pydantic speaks of Python's types, a config file has YAML's
WORDING = (
    (r"valid dictionary( or instance of \w+)?", "mapping of keys to values"),
    (r"valid tuple", "list"),
    (r"^(Tuple|Dictionary) should have", "There should be"),
    (r" after validation", ""),
)
PATTERNS = {
    NAME_PATTERN: f"should match {NAME_PATTERN}",
    LINE_PATTERN: "should be one line, without < and >",
    FOLDER_PATTERN: "should be the path of a folder, without {, }, <, > and line breaks",
}


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
    loc = fault["loc"]
    is_key = bool(loc) and loc[-1] == "[key]"  # it is the key itself that is wrong
    for part in loc[:-2] if is_key else loc:
        where += f"[{part}]" if isinstance(part, int) else f".{part}" if where else str(part)
    message = fault["msg"].removeprefix("Value error, ")
    for name, wording in WORDING:
        message = re.sub(name, wording, message)
    if fault["type"] == "string_pattern_mismatch":
        message = PATTERNS.get(fault["ctx"]["pattern"], message)
    given = fault["input"]
    if isinstance(given, str) and fault["type"] == "float_type" and _is_number(given):
        message += f"; YAML reads {given} as text, write {_as_yaml(given)}"
    if not where and message.startswith(OWN_KEY):
        return message
    shown = "" if isinstance(given, dict | tuple | list) else f" = {_cut(repr(given))}"
    if is_key:
        shown = f": key {_cut(repr(given))}"
    return f"{where or what}{shown}: {message}"


def _is_number(text: str) -> bool:
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False


def _as_yaml(text: str) -> str:
    """Return a number as YAML 1.1 reads one: with a point, and a sign in the exponent."""
    mantissa, letter, exponent = text.strip().lower().partition("e")
    point = "" if "." in mantissa else ".0"
    return f"{mantissa}{point}e{int(exponent):+d}" if letter else f"{mantissa}{point}"


def _cut(text: str) -> str:
    return text if len(text) <= MOST_SHOWN else f"{text[:MOST_SHOWN]}..."
