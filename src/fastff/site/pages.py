"""From a finished run to its pages: their sources, the files that they show, and Sphinx."""

from __future__ import annotations

import lzma
import re
import shutil
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import jinja2
import pandas as pd
import yaml
from sphinx.application import Sphinx
from sphinx.errors import SphinxError
from sphinx.util.console import nocolor
from sphinx.util.docutils import docutils_namespace, patch_docutils
from sphinx.util.rst import escape

from fastff.analysis.ledger import count_verdicts, load_ledger, shown_ledger
from fastff.config.errors import ConfigError
from fastff.config.load import Config, parse_config
from fastff.config.yaml_file import merge_layers, read_layers
from fastff.site import facts
from fastff.site.manifest import FIGURE_FILES, TABLE_FILES, Block, Manifest
from fastff.site.markup import draw_rule_graph, linked, read_caption, sortable, write_documents
from fastff.tables.format import DASH

TEMPLATES = Path(__file__).parent / "templates"
MARKER = ".fastff_site"  # the file of a folder that is a site, and so may be deleted
MOST_BYTES = 2**20  # of a table that isn't packed


def build_site(configfile: Path, manifest: Manifest, output: Path) -> int:
    """Write the site of a finished run into a folder, whole or not at all.

    Args:
        configfile: the config of the run.
        manifest: the files that it made.
        output: the folder; an earlier site is replaced.

    Returns:
        How many pages it has.

    Raises:
        ConfigError: for a config that can't be used, a file of the manifest that isn't there, or a
            folder that holds anything but a site.
        ValueError: for what Sphinx can't make a page of.

    """
    part = output.with_name(f".{output.name}.part")
    for folder in (output, part):
        _check_deletable(folder)
    layers = read_layers(configfile)
    values = merge_layers(layers)
    config = parse_config(values, layers)
    if missing := manifest.missing():
        raise ConfigError(
            "\n".join(f"{path}: missing; the run must be finished" for path in missing)
        )
    shutil.rmtree(part, ignore_errors=True)  # of a process that was killed
    try:
        sources, pages = part / "rst", part / "html"
        for path in (sources, pages):
            path.mkdir(parents=True)
        for path in (part, pages):
            (path / MARKER).touch()
        _write_sources(config, values, manifest, sources)
        nocolor()
        with patch_docutils(), docutils_namespace():
            Sphinx(
                *(sources, Path(manifest.repository) / "docs", pages, part / "doctrees", "html"),
                confoverrides={"html_title": f"FastFF: {config.name}"},
                status=None,
                warning=sys.stderr,
                freshenv=True,
            ).build()
        shutil.rmtree(output, ignore_errors=True)
        pages.rename(output)
    except SphinxError as error:
        raise ValueError(f"Sphinx, which writes the pages: {error}") from error
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return sum("_static" not in page.parts for page in output.rglob("*.html"))


def _check_deletable(folder: Path) -> None:
    """Raise ConfigError unless a folder isn't there, is empty, or is a site."""
    if folder.is_symlink() or (folder.exists() and not folder.is_dir()):
        raise ConfigError(f"--output {folder}: not a folder; give one, which needn't be there")
    if folder.is_dir() and any(folder.iterdir()) and not (folder / MARKER).exists():
        raise ConfigError(
            f"--output {folder}: has other files than a site's, which would be deleted; give an "
            "empty folder, or one that isn't there"
        )


def _write_sources(
    config: Config, values: Mapping[str, Any], manifest: Manifest, folder: Path
) -> None:
    """Write all that Sphinx needs into a folder.

    Args:
        config: the config of a finished run.
        values: what it was read from, for captions and to show.
        manifest: the files that the run made, all of which are there.
        folder: an empty folder.

    """
    groups = {"experiments": [*config.experiments], "benchmarks": [*config.benchmarks]}
    groups = {group: names for group, names in groups.items() if names}
    pages = {name: f"{group}/{name}" for group, names in groups.items() for name in names}
    titles = {name: block.title for name, block in config.drawn().items()}
    titles["claims"] = "Which claims hold?"
    write = _Writer(manifest, values, folder)
    for name, block in manifest.drawn().items():
        write.block(name, block)
    table_caption = read_caption(Path(manifest.table_caption), values)
    for name, page in pages.items():
        about = config.drawn()[name]
        write.page("block", page, name=name, about=about, table_caption=table_caption)
    for group, names in groups.items():
        write.contents(f"{group}/index", group.capitalize(), "", names)
    write.contents(
        *("notebooks/index", "Notebooks"),
        "One per experiment or benchmark, as they were executed: from tidy tables to figures.",
        (f"{titles[name]} <{name}>" for name in manifest.drawn()),
    )
    documents = [f"/{page}" for page in write_documents(Path(manifest.repository), folder)]
    text = "Of the repository that made this run."
    write.contents("docs/index", "Documentation", text, documents)
    dot = Path(manifest.rule_graph).read_text(encoding="utf-8")
    draw_rule_graph(dot, folder / "rule-graph.svg")
    write.page("workflow", "workflow")
    write.text("config.yaml", yaml.safe_dump(values, sort_keys=False, allow_unicode=True))
    write.page("config", "config")
    _write_provenance(write, config)
    _write_overview(write, config, pages)
    verdicts = _write_ledger(write, manifest.ledger, pages) if manifest.ledger else ""
    title = f"FastFF: results of the config {config.name}"
    write.page("index", "index", title=title, groups=[*groups], verdicts=verdicts)


class _Writer:
    """Writes pages, and the files that they show, into a folder."""

    def __init__(self, manifest: Manifest, values: Mapping[str, Any], folder: Path) -> None:
        self.manifest, self.values, self.folder = manifest, values, folder
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

    def page(self, template: str, place: str, **values: Any) -> None:
        """Write a page, `<place>.rst`."""
        shown = {"manifest": self.manifest, "captions": self.captions, "data": self.data}
        page = self.jinja.get_template(f"{template}.rst.j2").render(shown | values)
        self.text(f"{place}.rst", page)

    def contents(self, place: str, title: str, text: str, entries: Iterable[str]) -> None:
        """Write a page that leads to others, as a table of contents names them."""
        self.page("contents", place, title=title, text=text, entries=[*entries])

    def block(self, name: str, block: Block) -> None:
        """Copy the figures, tables, notebook and data of a block."""
        self.captions[name] = read_caption(Path(block.caption), self.values)
        for stem in block.figures:
            for end in FIGURE_FILES:
                self._copy(Path(f"{stem}{end}"), f"figures/{Path(stem).name}{end}")
        for stem in block.tables:
            for end in TABLE_FILES:
                self._copy(Path(f"{stem}{end}"), f"tables/{name}/{Path(stem).name}{end}")
            page = Path(f"{stem}.html").read_text(encoding="utf-8")
            self.text(f"tables/{name}/{Path(stem).name}.html", sortable(page))
        self._copy(Path(block.notebook), f"notebooks/{name}.ipynb")
        self.data[name] = self._copy_data(name, [Path(path) for path in block.data])

    def text(self, name: str, text: str) -> None:
        """Write a file of text."""
        self._place(name).write_text(text, encoding="utf-8")

    def _copy_data(self, name: str, paths: Sequence[Path]) -> list[str]:
        """Copy the tables that a notebook read, large ones packed, and return their places."""
        names = [path.name for path in paths]
        if len(set(names)) < len(names):  # of several machines
            names = [f"{path.parents[1].name}_{path.name}" for path in paths]
        places = []
        for source, file in zip(paths, names, strict=True):
            pack = source.suffix != ".xz" and source.stat().st_size > MOST_BYTES
            places.append(f"data/{name}/{file}{'.xz' if pack else ''}")
            self._copy(source, places[-1], pack=pack)
        return places

    def _copy(self, source: Path, name: str, *, pack: bool = False) -> None:
        path = self._place(name)
        with (
            source.open("rb") as file,
            lzma.open(path, "wb", preset=1) if pack else path.open("wb") as copy,
        ):
            shutil.copyfileobj(file, copy)

    def _place(self, name: str) -> Path:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        return path


def _write_provenance(write: _Writer, config: Config) -> None:
    """Write the page that says how the results came about."""
    manifest = write.manifest
    frames = {
        "jobs": facts.jobs(config, manifest),
        "versions": facts.versions(),
        "datasets": facts.datasets(manifest),
        "machines": facts.machines(manifest),
    }
    frames = {name: frame for name, frame in frames.items() if len(frame)}
    for name, frame in frames.items():
        write.text(f"facts/{name}.html", sortable(frame.to_html(index=False, border=0)))
    this_run = {
        "config": config.name,
        "read from": ", ".join(manifest.configfiles),
        "changed on the command line": " ".join(manifest.changes) or "nothing",
    }
    this_run |= facts.here() | facts.dates(manifest)
    earlier = facts.earlier(manifest)
    write.page("provenance", "provenance", facts=this_run, earlier=earlier, tables=[*frames])


def _write_overview(write: _Writer, config: Config, pages: Mapping[str, str]) -> None:
    """Write the table of all experiments and benchmarks."""
    rows = [
        {
            "title": block.title,
            "name": name,
            "data": getattr(block, "dataset", DASH),
            "seeds": len(block.seeds) if hasattr(block, "seeds") else DASH,
            "figures": len(write.manifest.blocks[name].figures),
            "tables": len(write.manifest.blocks[name].tables),
        }
        for name, block in config.drawn().items()
    ]
    targets = [f"{pages[str(row['name'])]}.html" for row in rows]
    write.text("facts/overview.html", linked(pd.DataFrame(rows), "title", targets))


def _write_ledger(write: _Writer, ledger: Block, pages: Mapping[str, str]) -> str:
    """Write the ledger, each claim linked to its experiment, and return the count of verdicts."""
    (stem,) = ledger.tables
    table = load_ledger(f"{stem}.csv")
    targets = [f"{pages[name]}.html" if name in pages else "" for name in table["experiment"]]
    shown = shown_ledger(table)
    shown.insert(1, "verdict", shown.pop("verdict"))  # to be seen on a phone without scrolling
    write.text(f"tables/claims/{Path(stem).name}.html", linked(shown, "claim", targets))
    return count_verdicts(table)


def _heading(text: str, line: str = "=") -> str:
    """Return a heading: its text on one line, and a line below that is as long."""
    text = re.sub(r"\s+", " ", escape(text)).strip()
    return f"{text}\n{line * (2 * len(text))}"
