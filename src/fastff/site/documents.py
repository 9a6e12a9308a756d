"""The repository's own pages, README.md and docs/*.md, with the files that they link to."""

from __future__ import annotations

import re
import shutil
from collections.abc import Sequence
from pathlib import Path

LINK = re.compile(r"(!?)(\[[^\]]*\])\(([^)\s#]+)((?:#[^)\s]*)?)\)")  # image?, text, path, place


def write_documents(readme: Path, docs: Sequence[Path], folder: Path) -> None:
    """Copy pages into the sources of a site, and what they show or link to.

    What lies where beside each other in the repository does so here, so that links between pages
    hold. A link to any other file is made one to a download. Of one to a file that isn't there, as
    in a copy without the committed figures, the text stays.

    Args:
        readme: README.md of the repository.
        docs: pages below its folder.
        folder: where the sources are.

    """
    root = readme.parent.resolve()
    pages = {path.resolve() for path in (readme, *docs)}
    for page in sorted(pages):
        copy = folder / page.relative_to(root)
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_text(_linked(page, root, pages, folder), encoding="utf-8")


def _linked(page: Path, root: Path, pages: set[Path], folder: Path) -> str:
    def link(found: re.Match[str]) -> str:
        image, text, address, place = found.groups()
        if "://" in address:
            return found[0]
        target = (page.parent / address).resolve()
        if target in pages:
            return found[0]
        if not (target.is_relative_to(root) and target.is_file()):
            return text[1:-1]
        copy = folder / target.relative_to(root)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(target, copy)
        return f"{image}{text}({'' if image else 'path:'}{address}{place})"

    return LINK.sub(link, page.read_text(encoding="utf-8"))
