"""Formulas of notebooks and captions as MathML, which browsers show without a script."""

from __future__ import annotations

from html import escape
from typing import Any

from docutils import nodes
from latex2mathml.converter import convert
from sphinx.application import Sphinx
from sphinx.util.logging import getLogger

log = getLogger(__name__)


def setup(app: Sphinx) -> dict[str, Any]:
    """Add the renderer `mathml`, as Sphinx asks an extension to."""
    app.add_html_math_renderer("mathml", (_inline, None), (_block, None))
    return {"parallel_read_safe": True, "parallel_write_safe": True}


def _inline(translator: Any, node: nodes.math) -> None:
    translator.body.append(_mathml(node, "inline"))
    raise nodes.SkipNode


def _block(translator: Any, node: nodes.math_block) -> None:
    translator.body.append(_mathml(node, "block"))
    raise nodes.SkipNode


def _mathml(node: nodes.Node, display: str) -> str:
    """Return a formula as MathML, or as it was written where that is no LaTeX."""
    try:
        return convert(node.astext(), display=display)
    except Exception as error:  # of many classes, which have no other in common
        log.warning("%s: %s: %s", type(error).__name__, error, node.astext(), location=node)
        return f"<code>{escape(node.astext())}</code>"
