"""What the pages of a folder link to and load."""

from __future__ import annotations

from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

LOADED = {("img", "src"), ("script", "src"), ("iframe", "src"), ("source", "src"), ("link", "href")}
ADDRESSES = LOADED | {("a", "href"), ("object", "data")}


class _Parser(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.ids: set[str] = set()
        self.found: list[tuple[str, str, str]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            if name == "id" and value:
                self.ids.add(value)
            if (tag, name) in ADDRESSES and value is not None:
                self.found.append((tag, name, value))


def read_page(path: Path) -> _Parser:
    """Return the ids of a page, and its addresses, each with its tag and attribute."""
    parser = _Parser()
    parser.feed(path.read_text(encoding="utf-8"))
    return parser


def broken(folder: Path) -> list[str]:
    """Return what doesn't resolve: files and places that aren't there, and what needs a network."""
    pages = {path.resolve(): read_page(path) for path in sorted(folder.rglob("*.html"))}
    faults = []
    for path, page in pages.items():
        for tag, attribute, address in page.found:
            url = urlsplit(address)
            if url.scheme in ("data", "mailto"):
                continue
            if url.scheme or url.netloc:
                if (tag, attribute) in LOADED:
                    faults.append(f"{path}: loads {address}")
                continue
            target = (path.parent / unquote(url.path)).resolve() if url.path else path
            if not target.is_file():
                faults.append(f"{path}: no file {address}")
            elif not target.is_relative_to(folder.resolve()):
                faults.append(f"{path}: leaves the site: {address}")
            elif url.fragment and target in pages:
                if unquote(url.fragment) not in pages[target].ids:
                    faults.append(f"{path}: no place {address}")
    return faults
