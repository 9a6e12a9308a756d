"""The ledger in a Markdown page, between two markers.

The first marker may name claims: then the page has their rows alone, in the ledger's order and
with the columns SHORT, below the counts of all.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from fastff.analysis.ledger import SHORT, count_verdicts, shown_ledger
from fastff.config.errors import ConfigError
from fastff.files import atomic_path

START, END = "<!-- claims: fastff claims --insert writes this part -->", "<!-- end of claims -->"
FIRST = re.compile(r"<!-- claims((?: \w+)*): fastff claims --insert writes this part -->")


def inserted(text: str, ledger: pd.DataFrame) -> str:
    """Return a page with the ledger in place of what is between the markers.

    Raises:
        ConfigError: for a page that doesn't have each marker once, the start first, or whose first
            marker names a claim that the ledger doesn't have.

    """
    starts = list(FIRST.finditer(text))
    before, end, after = text.partition(END)
    if len(starts) != 1 or not end or END in after or starts[0].end() > len(before):
        raise ConfigError(f"allowed is a page with {START} and then {END}, once each")
    (start,) = starts
    names = start[1].split()
    if unknown := [name for name in names if name not in set(ledger["claim"])]:
        raise ConfigError(f"claim {unknown[0]!r} of the marker isn't in the ledger")
    return f"{text[: start.end()]}\n{page_part(ledger, names)}\n{END}{after}"


def page_part(ledger: pd.DataFrame, names: Sequence[str] = ()) -> str:
    """Return the counts by kind and the table, as Markdown.

    Args:
        ledger: what `load_ledger` returned.
        names: the claims of the table, in short; by default all, with all columns. The counts are
            of all.

    """
    shown = shown_ledger(ledger)
    if names:
        shown = shown.loc[ledger["claim"].isin(names), list(SHORT)]
    cells = [[str(cell).replace("|", "\\|") for cell in row] for row in shown.to_numpy()]
    lines = [list(shown.columns), ["---"] * shown.shape[1], *cells]
    table = "\n".join(f"| {' | '.join(line)} |" for line in lines)
    return f"{count_verdicts(ledger)}\n\n{table}"


def insert(page: Path, ledger: pd.DataFrame, *, check: bool = False) -> bool:
    """Write the ledger into a page, and return whether it was there already.

    Args:
        page: a Markdown file with both markers.
        ledger: what `load_ledger` returned.
        check: only look.

    Raises:
        ConfigError: as `inserted`, with the file's name.

    """
    if not page.is_file():
        raise ConfigError(f"{page}: no such file")
    text = page.read_text(encoding="utf-8")
    try:
        new = inserted(text, ledger)
    except ConfigError as error:
        raise ConfigError(f"{page}: {error}") from None
    if new != text and not check:
        with atomic_path(page) as temporary:
            temporary.write_text(new, encoding="utf-8")
    return new == text
