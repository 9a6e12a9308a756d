"""Markup for pages: captions, sortable tables, the graph of rules, the repository's own pages."""

from __future__ import annotations

import re
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import jinja2
import pandas as pd
from bs4 import BeautifulSoup, Tag
from pygraphviz import AGraph

from fastff.config.errors import ConfigError
from fastff.tables.format import DASH

ONE_LINE = 30  # characters of a text that isn't broken
NUMBER = re.compile(r"<?([+-]?\d+(?:\.\d+)?(?:e[+-]?\d+)?)(?![\w.])")  # and no version
LINK = re.compile(r"(!?)(\[[^\]]*\])\(([^)\s#]+)((?:#[^)\s]*)?)\)")  # image?, text, path, place


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


def sortable(page: str) -> str:
    """Return the table of an HTML page, ready to be sorted by columns.

    A cell such as `96.7 ± 0.3` is ordered by its first number. A column whose every cell starts
    with one, or has no value, is set to the right.
    """
    table = BeautifulSoup(page, "html.parser").find("table")
    assert isinstance(table, Tag)
    for row in table.find_all("tr"):
        del row["style"]
    table["class"] = "sortable"
    rows = [row.find_all("td") for row in table.select("tbody tr")]
    for header, cells in zip(table.select("thead th"), zip(*rows, strict=True), strict=False):
        texts = [cell.get_text().strip() for cell in cells]
        orders = [_order(text) for text in texts]
        if None in orders:
            for cell in cells if max(map(len, texts)) <= ONE_LINE else ():
                cell["class"] = "short"
            continue
        header["class"] = "number"
        for cell, order in zip(cells, orders, strict=True):
            cell["class"] = "number"
            cell["data-order"] = str(order)
    return str(table)


def _order(text: str) -> str | None:
    """Return the number that a cell starts with, nothing for no value, and None for a text."""
    if text in ("", DASH):
        return ""
    found = NUMBER.match(text)
    return found.group(1) if found else None


def linked(frame: pd.DataFrame, column: str, targets: Sequence[str]) -> str:
    """Return a frame as a table to sort, a column's cells linked to a target each, if any."""
    soup = BeautifulSoup(sortable(frame.to_html(index=False, border=0)), "html.parser")
    place = list(frame.columns).index(column)
    for row, target in zip(soup.select("tbody tr"), targets, strict=True):
        if target:
            cell = row.find_all("td")[place]
            link = soup.new_tag("a", href=target)
            link.extend(list(cell.contents))
            cell.append(link)
    return str(soup)


def draw_rule_graph(dot: str, path: Path) -> None:
    """Draw what `snakemake --rulegraph dot` printed as SVG, from left to right."""
    graph = AGraph(string=dot)
    graph.graph_attr.update(rankdir="LR", nodesep="0.12", ranksep="0.9", margin="0.1")
    graph.node_attr.update(fontname="sans-serif", height="0.3", margin="0.12,0.04")
    graph.edge_attr.update(arrowsize="0.7")
    for node in graph.nodes():
        node.attr.update(color="#0a7d91")
    graph.draw(str(path), format="svg", prog="dot")


def write_documents(repository: Path, folder: Path) -> list[str]:
    """Copy README.md and docs/*.md into the sources of a site, and what they show or link to.

    What lies where beside each other in the repository does so here, so that links between pages
    hold. A link to any other file is made one to a download. Of one to a file that isn't there, as
    in a copy without the committed figures, the text stays.

    Returns:
        The pages' paths without their ending, relative to the repository.

    """
    root = repository.resolve()
    pages = [root / "README.md", *sorted((root / "docs").glob("*.md"))]
    for page in pages:
        copy = folder / page.relative_to(root)
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_text(_linked(page, root, pages, folder), encoding="utf-8")
    return [page.relative_to(root).with_suffix("").as_posix() for page in pages]


def _linked(page: Path, root: Path, pages: Sequence[Path], folder: Path) -> str:
    def link(found: re.Match[str]) -> str:
        image, text, address, place = found.groups()
        target = (page.parent / address).resolve()
        if "://" in address or target in pages:
            return found[0]
        if not (target.is_relative_to(root) and target.is_file()):
            return str(text[1:-1])
        copy = folder / target.relative_to(root)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(target, copy)
        return f"{image}{text}({'' if image else 'path:'}{address}{place})"

    return LINK.sub(link, page.read_text(encoding="utf-8"))
