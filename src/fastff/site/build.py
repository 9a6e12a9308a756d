"""From a finished run to its site."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

from sphinx.application import Sphinx
from sphinx.errors import SphinxError
from sphinx.util.console import nocolor
from sphinx.util.docutils import docutils_namespace, patch_docutils

from fastff.config.errors import ConfigError
from fastff.config.load import parse_config
from fastff.config.yaml_file import merge_layers, read_layers
from fastff.site.manifest import Manifest
from fastff.site.pages import write_sources


def build_site(configfile: Path, manifest: Manifest, output: Path) -> int:
    """Write the site of a finished run into a folder, whole or not at all.

    Args:
        configfile: the config of the run.
        manifest: the files that it made.
        output: the folder; one that is there is replaced.

    Returns:
        How many pages it has.

    Raises:
        ConfigError: for a config that can't be used, or a file of the manifest that isn't there.
        ValueError: for what Sphinx can't make a page of.

    """
    layers = read_layers(configfile)
    values = merge_layers(layers)
    config = parse_config(values, layers)
    if missing := manifest.missing():
        raise ConfigError(
            "\n".join(f"{path}: missing; the run must be finished" for path in missing)
        )
    part = output.with_name(f".{output.name}.part")
    shutil.rmtree(part, ignore_errors=True)  # of a process that was killed
    try:
        sources, pages = part / "rst", part / "html"
        sources.mkdir(parents=True)
        write_sources(config, values, manifest, sources)
        nocolor()
        with patch_docutils(), docutils_namespace():
            Sphinx(
                *(sources, Path(manifest.repository) / "docs", pages, part / "doctrees", "html"),
                confoverrides={"html_title": f"FastFF: {config.name}"},
                status=None,
                warning=sys.stderr,
                freshenv=True,
            ).build()
        shutil.rmtree(output, ignore_errors=True)
        pages.rename(output)
    except SphinxError as error:
        raise ValueError(f"Sphinx, which writes the pages: {error}") from error
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return sum("_static" not in page.parts for page in output.rglob("*.html"))
