"""The sources of a site: reStructuredText from templates, and the files that pages show."""

from __future__ import annotations

import lzma
import re
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jinja2
import pandas as pd
import yaml
from sphinx.util.rst import escape

from fastff.analysis.ledger import count_verdicts, load_ledger, shown_ledger
from fastff.config.load import Config
from fastff.site import record
from fastff.site.captions import read_caption
from fastff.site.documents import write_documents
from fastff.site.plan import Block, Plan
from fastff.site.rule_graph import draw_rule_graph
from fastff.site.tables import linked, sortable

TEMPLATES = Path(__file__).parent / "templates"
MOST_BYTES = 2**20  # of a table that isn't packed


@dataclass(frozen=True)
class Group:
    """Pages that stand together: their folder, its title, and their names."""

    folder: str
    title: str
    blocks: tuple[str, ...]


def write_sources(config: Config, values: Mapping[str, Any], plan: Plan, folder: Path) -> None:
    """Write all that Sphinx needs into a folder.

    Args:
        config: the config of a finished run.
        values: what it was read from, for captions and to show.
        plan: the files that the run made, all of which are there.
        folder: an empty folder.

    """
    groups = [
        Group("experiments", "Experiments", tuple(config.experiments)),
        Group("benchmarks", "Benchmarks", tuple(config.benchmarks)),
    ]
    groups = [group for group in groups if group.blocks]
    pages = {name: f"{group.folder}/{name}" for group in groups for name in group.blocks}
    write = _Writer(config, plan, pages, folder)
    for name, block in plan.drawn().items():
        write.block(name, block, values)
    table_caption = read_caption(Path(plan.table_caption), values)
    for name, page in pages.items():
        write.page("block.rst.j2", page, name=name, table_caption=table_caption)
    for group in groups:
        write.page("group.rst.j2", f"{group.folder}/index", group=group)
    write.page("notebooks.rst.j2", "notebooks/index")
    write_documents(Path(plan.readme), [Path(path) for path in plan.docs], folder)
    write.page("docs.rst.j2", "docs/index")
    write.workflow()
    write.provenance(values)
    write.overview()
    write.page("index.rst.j2", "index", groups=groups, verdicts=write.ledger())


class _Writer:
    """Writes pages, and the files that they show, into a folder."""

    def __init__(self, config: Config, plan: Plan, pages: Mapping[str, str], folder: Path) -> None:
        self.config, self.plan, self.pages, self.folder = config, plan, pages, folder
        self.jinja = jinja2.Environment(
            loader=jinja2.FileSystemLoader(TEMPLATES),
            undefined=jinja2.StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
            keep_trailing_newline=True,
        )
        self.jinja.filters |= {"rst": escape, "heading": _heading, "stem": lambda p: Path(p).name}
        self.captions: dict[str, str] = {}
        self.data: dict[str, list[str]] = {}
        self.context = {
            "config": config,
            "plan": plan,
            "pages": pages,
            "titles": {name: block.title for name, block in config.drawn().items()}
            | {"claims": "Which claims hold?"},
            "captions": self.captions,
            "data": self.data,
        }

    def page(self, template: str, place: str, **values: Any) -> None:
        """Write a page, `<place>.rst`."""
        text = self.jinja.get_template(template).render(self.context | values)
        self._text(f"{place}.rst", text)

    def block(self, name: str, block: Block, values: Mapping[str, Any]) -> None:
        """Copy what an experiment, a benchmark or the ledger has drawn, and what it drew from."""
        self.captions[name] = read_caption(Path(block.caption), values)
        for stem in block.figures:
            for end in (".svg", ".pdf"):
                self._copy(Path(f"{stem}{end}"), f"figures/{Path(stem).name}{end}")
        for stem in block.tables:
            for end in (".csv", ".md", ".tex"):
                self._copy(Path(f"{stem}{end}"), f"tables/{name}/{Path(stem).name}{end}")
            page = Path(f"{stem}.html").read_text(encoding="utf-8")
            self._text(f"tables/{name}/{Path(stem).name}.html", sortable(page))
        self._copy(Path(block.notebook), f"notebooks/{name}.ipynb")
        self.data[name] = self._data(name, [Path(path) for path in block.data])

    def ledger(self) -> str:
        """Return how many claims hold, and link those of the ledger to what they are about."""
        if self.plan.ledger is None:
            return ""
        table = load_ledger(f"{self.plan.ledger.tables[0]}.csv")
        targets = [f"{self.pages[b]}.html" if b in self.pages else "" for b in table["experiment"]]
        shown = shown_ledger(table)
        shown.insert(1, "verdict", shown.pop("verdict"))  # to be seen on a phone without scrolling
        html = linked(shown, "claim", targets)
        self._text(f"tables/claims/{Path(self.plan.ledger.tables[0]).name}.html", html)
        return count_verdicts(table)

    def overview(self) -> None:
        """Write the table of all experiments and benchmarks."""
        rows: list[dict[str, Any]] = [
            {
                "title": block.title,
                "name": name,
                "data": getattr(block, "dataset", "–"),
                "seeds": len(block.seeds) if hasattr(block, "seeds") else "–",
                "figures": len(self.plan.blocks[name].figures),
                "tables": len(self.plan.blocks[name].tables),
            }
            for name, block in self.config.drawn().items()
        ]
        targets = [f"{self.pages[row['name']]}.html" for row in rows]
        self._text("facts/overview.html", linked(pd.DataFrame(rows), "title", targets))

    def workflow(self) -> None:
        """Write the page with the picture of the rules."""
        dot = Path(self.plan.rule_graph).read_text(encoding="utf-8")
        draw_rule_graph(dot, self.folder / "rule-graph.svg")
        self.page("workflow.rst.j2", "workflow")

    def provenance(self, values: Mapping[str, Any]) -> None:
        """Write the pages that say how the results came about, and the config."""
        self._text("config.yaml", yaml.safe_dump(values, sort_keys=False, allow_unicode=True))
        self.page("config.rst.j2", "config")
        frames = {
            "jobs": record.jobs(self.config, self.plan),
            "versions": record.versions(),
            "datasets": record.datasets(self.plan),
            "machines": record.machines(self.plan),
        }
        frames = {name: frame for name, frame in frames.items() if len(frame)}
        for name, frame in frames.items():
            self._text(f"facts/{name}.html", sortable(frame.to_html(index=False, border=0)))
        made = [f"{s}.svg" for block in self.plan.drawn().values() for s in block.figures]
        self.page(
            "provenance.rst.j2",
            "provenance",
            facts=self._facts() | record.here() | record.dates(made),
            earlier=record.earlier(self.plan),
            tables=list(frames),
        )

    def _facts(self) -> dict[str, str]:
        return {
            "config": self.config.name,
            "read from": ", ".join(self.plan.configfiles),
            "changed on the command line": " ".join(self.plan.changes) or "nothing",
        }

    def _text(self, name: str, text: str) -> None:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")

    def _copy(self, source: Path, name: str, *, pack: bool = False) -> None:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        with (
            source.open("rb") as file,
            lzma.open(path, "wb", preset=1) if pack else path.open("wb") as copy,
        ):
            shutil.copyfileobj(file, copy)

    def _data(self, name: str, paths: Sequence[Path]) -> list[str]:
        """Copy the tables that a notebook read, large ones packed, and return their places."""
        names = [path.name for path in paths]
        if len(set(names)) < len(names):  # of several machines
            names = [f"{path.parents[1].name}_{path.name}" for path in paths]
        places = []
        for source, file in zip(paths, names, strict=True):
            pack = source.suffix != ".xz" and source.stat().st_size > MOST_BYTES
            place = f"data/{name}/{file}{'.xz' if pack else ''}"
            self._copy(source, place, pack=pack)
            places.append(place)
        return places


def _heading(text: str, line: str = "=") -> str:
    """Return a heading: its text on one line, and a line below that is as long."""
    text = re.sub(r"\s+", " ", escape(text)).strip()
    return f"{text}\n{line * (2 * len(text))}"
