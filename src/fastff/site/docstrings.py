"""Docstrings, which are written as plain text, as reStructuredText."""

from __future__ import annotations

import re
from typing import Any

from sphinx.application import Sphinx

SECTION = re.compile(r"(Args|Attributes|Raises|Returns|Yields):$")


def setup(app: Sphinx) -> dict[str, Any]:
    """Have docstrings changed before Napoleon reads their sections, as Sphinx asks for it."""
    app.connect("autodoc-process-docstring", _process, priority=100)
    return {"parallel_read_safe": True, "parallel_write_safe": True}


def _process(app: Sphinx, what: str, name: str, of: object, options: Any, lines: list[str]) -> None:
    lines[:] = with_literal_blocks(lines)


def with_literal_blocks(lines: list[str]) -> list[str]:
    """Return a docstring whose code and columns, told by their indentation, are kept as they are.

    What follows the first section, such as "Args:", is left as it is, and so are lists.
    """
    end = next((i for i, line in enumerate(lines) if SECTION.match(line)), len(lines))
    paragraphs = re.split(r"\n\s*\n", "\n".join(lines[:end]).rstrip())
    found: list[str] = []
    was_literal = False
    for paragraph in paragraphs:
        is_literal = bool(re.search(r"^ ", paragraph, re.MULTILINE)) and paragraph[:2] != "- "
        if is_literal and not was_literal:
            found += ["::", ""]
        found += [f"   {line}" if is_literal else line for line in paragraph.split("\n")]
        found.append("")
        was_literal = is_literal
    return found + lines[end:]
