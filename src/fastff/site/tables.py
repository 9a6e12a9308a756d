"""Tables that a reader can sort: HTML for DataTables."""

from __future__ import annotations

import re
from collections.abc import Sequence

import pandas as pd
from bs4 import BeautifulSoup, Tag

from fastff.tables.format import DASH

CLASS = "sortable"
ONE_LINE = 30  # characters of a text that isn't broken
NUMBER = re.compile(r"<?([+-]?\d+(?:\.\d+)?(?:e[+-]?\d+)?)(?![\w.])")  # and no version


def sortable(page: str) -> str:
    """Return the table of an HTML page, ready to be sorted by columns.

    A cell such as `96.7 ± 0.3` is ordered by its first number. A column whose every cell starts
    with one, or has no value, is set to the right.
    """
    table = BeautifulSoup(page, "html.parser").find("table")
    assert isinstance(table, Tag)
    for row in table.find_all("tr"):
        del row["style"]
    table["class"] = CLASS
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


def linked(frame: pd.DataFrame, column: str, targets: Sequence[str]) -> str:
    """Return a frame as a table to sort, a column's cells linked to a target each, if any."""
    soup = BeautifulSoup(sortable(frame.to_html(index=False, border=0)), "html.parser")
    place = list(frame.columns).index(column)
    for row, target in zip(soup.select("tbody tr"), targets, strict=True):
        if not target:
            continue
        cell = row.find_all("td")[place]
        link = soup.new_tag("a", href=target)
        link.extend(list(cell.contents))
        cell.append(link)
    return str(soup)


def _order(text: str) -> str | None:
    """Return the number that a cell starts with, nothing for no value, and None for a text."""
    if text in ("", DASH):
        return ""
    found = NUMBER.match(text)
    return found.group(1) if found else None
