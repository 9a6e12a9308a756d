"""The site: every figure, table and notebook of a run, and nothing that needs a network."""

import json
import shutil

import pytest
from browser import CHROMIUM
from devtools import browser
from links import broken, read_page
from trees import ROOT, TINY, copy_tree

from fastff.config import load_config

PHONE, DESK = (390, 844), (1280, 900)
SCROLLS_SIDEWAYS = "document.documentElement.scrollWidth > window.innerWidth"
# Clicks each header of each table, and returns whether its column was in order each time.
SORT = """(async () => {
  const failed = [];
  for (const table of document.querySelectorAll("table.sortable")) {
    const column = (place) => [...table.tBodies[0].rows].map((row) => {
      const cell = row.cells[place];
      return cell.dataset.order ?? cell.innerText.trim();
    });
    for (const header of table.tHead.rows[0].cells) {
      const number = header.classList.contains("number");
      const less = (a, b) => number ? (a === "" ? -Infinity : +a) <= (b === "" ? -Infinity : +b)
        : a.toLowerCase() <= b.toLowerCase();
      const sorted = (values) => values.every((v, i) => i === 0 || less(values[i - 1], v));
      const seen = [];
      for (const _ of [1, 2]) {
        header.click();
        await new Promise((done) => setTimeout(done, 20));
        seen.push(column(header.cellIndex));
      }
      if (!sorted(seen[0]) || !sorted(seen[1].reverse())) failed.push(header.innerText);
    }
  }
  return failed;
})()"""


def built(tree, config):
    """Return the folder of a site, built by the workflow, after a look at what it said."""
    tree.snakemake("site", config=config)
    log = (tree.folder / "results" / config / "logs" / "site.log").read_text()
    assert "WARNING" not in log
    return tree.folder / "results" / config / "site"


def check_content(site, config, tree):
    """Check that all that a config draws is on its page, with its caption, its data and command."""
    for name, block in config.drawn().items():
        kind = "experiments" if name in config.experiments else "benchmarks"
        text = (site / kind / f"{name}.html").read_text()
        found = read_page(site / kind / f"{name}.html").found
        shown = {address for tag, _, address in found if tag == "img"}
        linked = {address.rpartition("/")[2] for tag, _, address in found if tag == "a"}
        caption = ROOT / "workflow" / "report" / f"{block.notebook or name}.rst"
        first = caption.read_text().split("\n")[0].split("`")[0].split('"')[0]
        for figure in block.expand("figures", name):
            assert f"../_images/{figure}.svg" in shown
            assert {f"{figure}.pdf", f"{figure}.png", f"{figure}.svg"} <= linked
            assert f"/{figure}.svg --configfile config/{config.name}.yaml" in text
        n_figures = len(block.expand("figures", name))
        assert text.count(first) == n_figures or "'" in first
        for table in block.expand("tables", name):
            assert {f"{table}.csv", f"{table}.md", f"{table}.tex"} <= linked
        n_tables = text.count('<table class="sortable">')
        assert n_tables == len(block.expand("tables", name))
        if name in config.experiments:
            tables = ("runs", "epochs", "expert_counts", "gradients", "nodes", "projections")
            assert all({f"{table}.csv", f"{table}.csv.xz"} & linked for table in tables)
        assert f"{name}.html" in linked
        notebook = (site / "notebooks" / f"{name}.html").read_text()
        assert block.title in notebook
        assert "_images/" in notebook


def test_the_site_has_all_that_the_config_draws(edited):
    site = built(edited, "tiny")
    assert broken(site) == []
    check_content(site, TINY, edited)
    front = (site / "index.html").read_text()
    claims = json.loads(json.dumps(len((ROOT / "config" / "claims.yaml").read_text())))
    assert claims
