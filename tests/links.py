"""What the pages of a folder show, load and link to."""

from __future__ import annotations

from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

LOADED = {("img", "src"), ("script", "src"), ("iframe", "src"), ("source", "src"), ("link", "href")}
ADDRESSES = LOADED | {("a", "href"), ("object", "data")}


class Page(HTMLParser):
    """A page, read.

    Attributes:
        text: all of its text.
        ids: the places that a link can lead to.
        images: their addresses.
        found: every address, with its tag and attribute.
        n_tables: how many tables can be sorted.

    """

    def __init__(self, text: str) -> None:
        super().__init__()
        self.text, self.n_tables = "", 0
        self.ids: set[str] = set()
        self.images: set[str] = set()
        self.found: list[tuple[str, str, str]] = []
        self.feed(text)

    def handle_data(self, data: str) -> None:
        self.text += data

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = {name: value or "" for name, value in attrs}
        self.ids.add(values.get("id", ""))
        self.n_tables += tag == "table" and "sortable" in values.get("class", "").split()
        if tag == "img":
            self.images.add(values["src"])
        self.found += [(tag, name, v) for name, v in values.items() if (tag, name) in ADDRESSES]


def read_page(path: Path) -> Page:
    """Return a page, read."""
    return Page(path.read_text(encoding="utf-8"))


def pages_of(folder: Path) -> list[Path]:
    """Return the pages of a site. What lies in its `_static` belongs to the theme."""
    return [path for path in sorted(folder.rglob("*.html")) if "_static" not in path.parts]


def broken(folder: Path) -> list[str]:
    """Return what doesn't resolve: files and places that aren't there, and what needs a network."""
    pages = {path.resolve(): read_page(path) for path in pages_of(folder)}
    assert pages
    faults = []
    for path, page in pages.items():
        for tag, attribute, address in page.found:
            url = urlsplit(address)
            target = (path.parent / unquote(url.path)).resolve() if url.path else path
            if url.scheme or url.netloc:
                if (tag, attribute) in LOADED and url.scheme != "data":
                    faults.append(f"{path}: loads {address}")
            elif not address:
                faults.append(f"{path}: an empty address of {tag}")
            elif not target.is_relative_to(folder.resolve()):
                faults.append(f"{path}: leaves the site: {address}")
            elif not target.is_file():
                faults.append(f"{path}: no file {address}")
            elif (
                url.fragment and target in pages and unquote(url.fragment) not in pages[target].ids
            ):
                faults.append(f"{path}: no place {address}")
    return faults
