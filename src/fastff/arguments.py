"""What a command's arguments hold."""

from __future__ import annotations

from pathlib import Path


def text_of(given: str) -> str:
    """Return JSON text as it is, and of anything else the content of the file of that name."""
    return given if given.lstrip().startswith("{") else Path(given).read_text(encoding="utf-8")
