"""A printed table as a page for a browser: what the report shows."""

from __future__ import annotations

from collections.abc import Iterable

import pandas as pd

STYLE = """body {{ font: 14px/1.4 system-ui, sans-serif; margin: 1.5em; }}
table {{ border-collapse: collapse; }}
th, td {{ padding: 0.2em 0.8em; text-align: left; vertical-align: top; }}
th {{ border-top: 2px solid; border-bottom: 1px solid; }}
tbody tr:last-child td {{ border-bottom: 2px solid; }}
tbody tr:hover {{ background: #eee; }}
{numbers} {{ text-align: right; white-space: nowrap; }}"""


def to_html(printed: pd.DataFrame, numbers: Iterable[str]) -> str:
    """Return a whole page with one table.

    Args:
        printed: the table as text, as `fastff.analysis.tables.printed` returns it.
        numbers: headings of the columns whose text goes to the right.

    """
    chosen = set(numbers)
    places = [place for place, heading in enumerate(printed.columns, 1) if heading in chosen]
    right = [f"{cell}:nth-child({place})" for place in places for cell in ("th", "td")]
    style = STYLE.format(numbers=", ".join(right) or "none")
    table = printed.to_html(index=False, border=0)
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>Table</title>\n'
        f"<style>\n{style}\n</style></head><body>\n{table}\n</body></html>\n"
    )
