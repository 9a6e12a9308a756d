"""README.md and the pages in docs/: their size, and that every link leads somewhere."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted(ROOT.glob("docs/*.md"))]
LINK = re.compile(r"\]\(([^)\s]+)\)")


def prose(path: Path) -> str:
    """Return a page without its blocks of code."""
    text = path.read_text(encoding="utf-8")
    return re.sub(r"^ *```.*?^ *```$", "", text, flags=re.MULTILINE | re.DOTALL)


def places(path: Path) -> set[str]:
    """Return what a link can lead to in a page: its headings, as GitHub names them."""
    headings = re.findall(r"^#+ (.*)$", prose(path), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_the_readme_is_short() -> None:
    assert (ROOT / "README.md").stat().st_size <= 10_000


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_leads_somewhere(page: Path) -> None:
    for address in LINK.findall(prose(page)):
        if address.startswith("https://"):
            continue
        name, _, place = address.partition("#")
        target = (page.parent / name).resolve() if name else page
        assert target.is_relative_to(ROOT) and target.is_file(), address
        assert not place or place in places(target), address


def test_the_readme_leads_to_every_page_but_how_tos() -> None:
    linked = {address.partition("#")[0] for address in LINK.findall(prose(ROOT / "README.md"))}
    pages = {f"docs/{page.name}" for page in PAGES[1:] if not page.name.startswith("add_")}
    assert pages <= linked
