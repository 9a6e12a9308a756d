"""What the jobs of a run read, kept beside its results: above all its config, whole.

A module of its own, for the run store's keys have the code of `fastff.files`.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from fastff.files import atomic_path

HEADING = "# The config of this run, whole. Each start writes it anew, so change config/ instead.\n"


class _Dumper(yaml.SafeDumper):  # type: ignore[misc]
    """Writes what two keys share at both."""

    def ignore_aliases(self, data: object) -> bool:
        return True


def config_text(values: Mapping[str, Any]) -> str:
    """Return the file of a config whose files and changes are merged."""
    return f"{HEADING}{yaml_text(values)}"


def yaml_text(values: Mapping[str, Any]) -> str:
    """Return a mapping as YAML: innermost lists and mappings in a line, nothing by reference."""
    text: str = yaml.dump(
        dict(values),
        Dumper=_Dumper,
        default_flow_style=None,
        sort_keys=False,
        allow_unicode=True,
        width=100,
    )
    return text


def keep(path: Path, text: str) -> None:
    """Write a file, unless it says just this already. Raises OSError as `atomic_path` does."""
    if not path.is_file() or path.read_bytes() != text.encode():
        with atomic_path(path) as temporary:
            temporary.write_text(text, encoding="utf-8")
