"""The site's Sphinx project: these pages, README.md, and the pages of a finished run.

`fastff site` writes the sources of a run's pages beside copies of these, and builds all of them
with these settings. Every page can be opened as a file, and none loads anything from a network.
"""

import json
import shutil
from html import escape
from pathlib import Path

from docutils import nodes
from itables.options import dt_bundle
from latex2mathml.converter import convert
from sphinx.util.logging import getLogger

log = getLogger(__name__)

project = "FastFF"
extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
exclude_patterns = ["tables", "results"]  # their Markdown is a download, and no page
default_role = "literal"  # of docstrings; captions name every role
suppress_warnings = ["myst.header"]

autodoc_typehints = "signature"
autodoc_member_order = "bysource"
myst_enable_extensions = ["amsmath", "dollarmath"]
myst_heading_anchors = 3
nb_execution_mode = "off"
nb_render_markdown_format = "gfm"

html_theme = "pydata_sphinx_theme"
html_static_path = ["_static"]
html_css_files = ["datatables.css", "site.css"]
html_js_files = ["datatables.js", "sort.js"]
html_math_renderer = "mathml"
html_context = {"default_mode": "auto"}
html_sidebars = {page: [] for page in ("index", "workflow", "provenance", "config", "search")}
html_use_index = False
html_show_sourcelink = False
html_copy_source = False
html_theme_options = {
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
}


def setup(app):
    """Add tables that are sorted by DataTables, and formulas as MathML, as Sphinx asks for it."""
    app.connect("builder-inited", write_datatables)
    app.add_html_math_renderer("mathml", (show_inline, None), (show_block, None))
    return {"parallel_read_safe": True, "parallel_write_safe": True}


def write_datatables(app):
    """Write DataTables' style, and a script that imports DataTables.

    A page that is opened as a file may load a script from another file, but no module, which
    DataTables is; so that the script has it as text.
    """
    bundle, folder = Path(dt_bundle), Path(app.outdir) / "_static"
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(bundle.with_suffix(".css"), folder / "datatables.css")
    text = json.dumps(bundle.read_text(encoding="utf-8"))
    module = f'new Blob([{text}], {{ type: "text/javascript" }})'
    script = f"window.dataTables = import(URL.createObjectURL({module}));\n"
    (folder / "datatables.js").write_text(script, encoding="utf-8")


def show_inline(translator, node):
    """Show a formula within a line."""
    translator.body.append(as_mathml(node, "inline"))
    raise nodes.SkipNode


def show_block(translator, node):
    """Show a formula on a line of its own."""
    translator.body.append(as_mathml(node, "block"))
    raise nodes.SkipNode


def as_mathml(node, display):
    """Return a formula as MathML, which needs no script; as it was written where it's no LaTeX."""
    try:
        return convert(node.astext(), display=display)
    except Exception as error:  # of many classes, which have no other in common
        log.warning("%s: %s: %s", type(error).__name__, error, node.astext(), location=node)
        return f"<code>{escape(node.astext())}</code>"
