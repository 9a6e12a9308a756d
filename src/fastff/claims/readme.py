"""The ledger in a Markdown page, between two markers."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from fastff.analysis.ledger import count_verdicts, shown_ledger
from fastff.faults import ConfigError
from fastff.files import atomic_path

START, END = "<!-- claims: fastff claims --insert writes this part -->", "<!-- end of claims -->"


def inserted(text: str, ledger: pd.DataFrame) -> str:
    """Return a page with the ledger in place of what is between the markers.

    Raises:
        ConfigError: for a page that doesn't have each marker once, the start first.

    """
    before, start, rest = text.partition(START)
    _, end, after = rest.partition(END)
    if not start or not end or START in rest or END in after:
        raise ConfigError(f"allowed is a page with {START} and then {END}, once each")
    return f"{before}{START}\n{page_part(ledger)}\n{END}{after}"


def page_part(ledger: pd.DataFrame) -> str:
    """Return a sentence with the counts and the table, as Markdown."""
    shown = shown_ledger(ledger).drop(columns="p (Holm)")
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
    text = page.read_text(encoding="utf-8")
    try:
        new = inserted(text, ledger)
    except ConfigError as error:
        raise ConfigError(f"{page}: {error}") from None
    if new != text and not check:
        with atomic_path(page) as temporary:
            temporary.write_text(new, encoding="utf-8")
    return new == text
