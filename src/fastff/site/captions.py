"""Captions: reStructuredText with jinja, written for Snakemake's report."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import jinja2

from fastff.config.errors import ConfigError


def read_caption(path: Path, config: Mapping[str, Any]) -> str:
    """Return a caption as reStructuredText, with the values that it takes from the config.

    Raises:
        ConfigError: for a caption that isn't valid jinja or takes anything else.

    """
    environment = jinja2.Environment(undefined=jinja2.StrictUndefined, autoescape=False)
    try:
        template = environment.from_string(path.read_text(encoding="utf-8"))
        return template.render(snakemake=SimpleNamespace(config=config)).strip()
    except jinja2.TemplateError as error:
        raise ConfigError(f"{path}: {error}; a caption may use snakemake.config") from None
