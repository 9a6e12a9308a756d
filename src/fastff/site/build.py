"""From the sources of a site to its pages."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from typing import Any

from itables.options import dt_bundle
from sphinx.application import Sphinx
from sphinx.errors import SphinxError
from sphinx.util.console import nocolor
from sphinx.util.docutils import docutils_namespace, patch_docutils

from fastff.config.errors import ConfigError
from fastff.config.load import parse_config
from fastff.config.yaml_file import merge_layers, read_layers
from fastff.site.pages import write_sources
from fastff.site.plan import Plan

STATIC = Path(__file__).parent / "static"
SETTINGS: dict[str, Any] = {
    "project": "FastFF",
    "extensions": [
        *("myst_nb", "sphinx.ext.autodoc", "sphinx.ext.napoleon"),
        *("fastff.site.docstrings", "fastff.site.formulas"),
    ],
    "default_role": "literal",  # of docstrings; captions name every role
    "autodoc_typehints": "signature",
    "autodoc_member_order": "bysource",
    "html_theme": "pydata_sphinx_theme",
    "html_css_files": ["datatables.css", "site.css"],
    "html_js_files": ["datatables.js", "sort.js"],
    "html_math_renderer": "mathml",
    "exclude_patterns": ["tables", "results"],  # their Markdown is a download, and no page
    "html_context": {"default_mode": "auto"},
    "html_sidebars": {page: [] for page in ("index", "workflow", "provenance", "config", "search")},
    "html_use_index": False,
    "html_show_sourcelink": False,
    "html_copy_source": False,
    "myst_enable_extensions": ["amsmath", "dollarmath"],
    "myst_heading_anchors": 3,
    "nb_execution_mode": "off",
    "nb_render_markdown_format": "gfm",
    "suppress_warnings": ["myst.header"],
    "html_theme_options": {
        "navbar_align": "left",
        "navbar_end": ["theme-switcher"],
        "navbar_persistent": ["search-button"],
        "footer_start": [],
        "footer_end": [],
        "header_links_before_dropdown": 8,
        # not beside experiments: figures are as wide as what such a list would leave
        "secondary_sidebar_items": {
            page: ["page-toc"]
            for page in ("index", "workflow", "provenance", "notebooks/*", "docs/*", "README")
        },
    },
}


def build_site(configfile: Path, plan: Plan, output: Path) -> int:
    """Write the site of a finished run into a folder, whole or not at all.

    Args:
        configfile: the config of the run.
        plan: the files that it made.
        output: the folder; one that is there is replaced.

    Returns:
        How many pages it has.

    Raises:
        ConfigError: for a config that can't be used, or a file of the plan that isn't there.
        ValueError: for what Sphinx can't make a page of.

    """
    layers = read_layers(configfile)
    values = merge_layers(layers)
    config = parse_config(values, layers)
    if missing := plan.missing():
        raise ConfigError(
            "\n".join(f"{path}: missing; the run must be finished" for path in missing)
        )
    part = output.with_name(f".{output.name}.part")
    _remove(part)  # of a process that was killed
    try:
        sources, static, pages = part / "rst", part / "static", part / "html"
        sources.mkdir(parents=True)
        write_sources(config, values, plan, sources)
        shutil.copytree(STATIC, static)
        _write_sorter(static)
        title = f"FastFF: {config.name}"
        settings = SETTINGS | {"html_title": title, "html_static_path": [str(static.resolve())]}
        _run_sphinx(sources, pages, part / "doctrees", settings)
        _remove(output)
        pages.rename(output)
    finally:
        _remove(part)
    return sum("_static" not in page.parts for page in output.rglob("*.html"))


def _remove(folder: Path) -> None:
    if folder.exists():
        shutil.rmtree(folder)


def _write_sorter(folder: Path) -> None:
    """Write DataTables' style, and a script that imports DataTables.

    A page that is opened as a file may load a script from another file, but no module, which
    DataTables is; so that the script has it as text.
    """
    bundle = Path(dt_bundle)
    shutil.copyfile(bundle.with_suffix(".css"), folder / "datatables.css")
    text = json.dumps(bundle.read_text(encoding="utf-8"))
    module = f'new Blob([{text}], {{ type: "text/javascript" }})'
    script = f"window.dataTables = import(URL.createObjectURL({module}));\n"
    (folder / "datatables.js").write_text(script, encoding="utf-8")


def _run_sphinx(sources: Path, pages: Path, trees: Path, settings: dict[str, Any]) -> None:
    nocolor()
    try:
        with patch_docutils(), docutils_namespace():
            Sphinx(
                *(sources, None, pages, trees, "html"),
                confoverrides=settings,
                status=None,
                warning=sys.stderr,
                freshenv=True,
            ).build()
    except SphinxError as error:
        raise ValueError(f"Sphinx, which writes the pages: {error}") from error
