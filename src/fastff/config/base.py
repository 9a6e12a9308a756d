"""The base of all specs: frozen, strict, and clear about what is wrong."""

from __future__ import annotations

import difflib
import functools
import operator
import os
from collections.abc import Iterable
from typing import Annotated, Any, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

NAME_PATTERN = r"^[a-z][a-z0-9_]*$"
MOST_LISTED = 34
MOST_BYTES = 255  # of a name in a path
FOLDER_PATTERN = r"^[^{}<>\x00-\x1f]+$"  # Snakemake takes brackets for wildcards and variables

# For figures, tables, Markdown and HTML alike: nothing in it is markup or ends a line
LINE_PATTERN = r"^[^<>\x00-\x1f\x7f\x85\u2028\u2029]+$"

T = TypeVar("T")


def _check_folder(value: str) -> str:
    """Return a path without doubled and trailing slashes, or raise ValueError for none at all."""
    if "://" in value:
        raise ValueError("an address is no folder; allowed is the path of a mounted file system")
    if value.startswith("~"):
        raise ValueError("~ is not expanded; allowed is the whole path of the home folder")
    if not value.isprintable():
        raise ValueError("it has characters that nobody sees")
    if value != value.strip():
        raise ValueError("Snakemake takes no path that starts or ends with a space")
    path = os.path.normpath(value)
    if path.startswith("-"):
        raise ValueError("commands take what starts with a dash for an option; give a whole path")
    if any(len(part.encode()) > MOST_BYTES for part in value.split("/")):
        raise ValueError(f"a name in a path has at most {MOST_BYTES} bytes")
    return path


Folder = Annotated[
    str, Field(pattern=FOLDER_PATTERN, max_length=1000), AfterValidator(_check_folder)
]


def _check_line(value: str) -> str:
    """Return a text, or raise ValueError where it, or a formula in it, can't be drawn."""
    if not value.isprintable() or not value.strip():
        raise ValueError("it has characters that nobody sees, or no others")
    if "$" in value:
        from matplotlib.mathtext import MathTextParser

        try:
            MathTextParser("path").parse(value)
        except ValueError as error:
            fault = str(error).strip().splitlines()[-1]
            raise ValueError(f"matplotlib can't draw the formula: {fault}") from None
    return value


Line = Annotated[str, Field(pattern=LINE_PATTERN), AfterValidator(_check_line)]
Name = Annotated[str, Field(pattern=NAME_PATTERN, max_length=64)]


class Spec(BaseModel):
    """A frozen value that refuses unknown keys, wrong types and non-finite numbers."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)

    @model_validator(mode="before")
    @classmethod
    def _read_mapping(cls, value: Any) -> Any:
        """Say which keys there are for an unknown one, and take YAML's lists as tuples."""
        if not isinstance(value, dict):
            return value
        for key in value:
            if key not in cls.model_fields:
                raise ValueError(unknown(f"key {key!r}", key, cls.model_fields))
        return {key: tuple(x) if isinstance(x, list) else x for key, x in value.items()}


def require_unique(values: tuple[T, ...]) -> tuple[T, ...]:
    """Return `values`, or raise ValueError naming the entries given more than once."""
    repeated = sorted({str(value) for value in values if values.count(value) > 1})
    if repeated:
        raise ValueError(f"given more than once: {', '.join(repeated)}")
    return values


Unique = AfterValidator(require_unique)


def any_of(base: type[Spec]) -> Any:
    """Return the type of all specs below `base` that have a kind, told apart by it."""
    kinds = _kinds(base)
    union = functools.reduce(operator.or_, (kinds[kind] for kind in sorted(kinds)))
    return Annotated[union, Field(discriminator="kind")]


def _kinds(base: type[Spec]) -> dict[str, type[Spec]]:
    kind = base.model_fields["kind"]
    found = {} if kind.is_required() else {kind.default: base}
    for below in base.__subclasses__():
        found |= _kinds(below)
    return found


def unknown(what: str, given: str, allowed: Iterable[str]) -> str:
    """Return the message for a name that is none of `allowed`, with the likeliest one meant.

    Of very many names that are allowed it lists the first.
    """
    allowed = list(allowed)
    close = difflib.get_close_matches(str(given), allowed, n=1)
    hint = f", did you mean {close[0]!r}?" if close else ";"
    more = f" and {len(allowed) - MOST_LISTED} more" if len(allowed) > MOST_LISTED else ""
    return f"unknown {what}{hint} allowed: {', '.join(allowed[:MOST_LISTED])}{more}"
