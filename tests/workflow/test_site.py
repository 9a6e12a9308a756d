"""The site: all that a run has drawn, on pages that need neither a server nor a network."""

import shutil

import pytest
from browser import CHROMIUM, browser
from trees import ROOT, TINY, copy_tree

from fastff.config.load import load_config
from fastff.tables.schema import TIDY
from links import broken, pages_of, read_page

DESK, PHONE = (1280, 900), (390, 844)
IS_TOO_WIDE = "document.documentElement.scrollWidth > window.innerWidth"
IS_SHOWN = "[...document.images].every((image) => image.complete && image.naturalWidth > 0)"
# Clicks the headers of the sortable tables twice each; returns those that put nothing in order.
CLICK_HEADERS = """(async () => {
  const ASIDE = { numeric: true, ignorePunctuation: true };  // texts with other signs than ASCII's
  const failed = [];
  for (const table of document.querySelectorAll("table.sortable")) {
    for (const header of table.tHead.rows[0].cells) {
      const isNumber = header.classList.contains("number");
      const value = (cell) => !isNumber ? cell.innerText.trim().toLowerCase()
        : cell.dataset.order === "" ? -Infinity : Number(cell.dataset.order);
      const column = async () => {
        header.click();
        await new Promise((done) => setTimeout(done, 20));
        return [...table.tBodies[0].rows].map((row) => value(row.cells[header.cellIndex]));
      };
      const inOrder = (values, less) => values.every((v, i) => i === 0 || less(values[i - 1], v));
      const isRising = (values) => inOrder(values, (a, b) => a <= b)
        || !isNumber && inOrder(values, (a, b) => a.localeCompare(b, undefined, ASIDE) <= 0);
      if (!isRising(await column()) || !isRising((await column()).reverse()))
        failed.push(header.innerText);
    }
  }
  return failed;
})()"""


def words(text):
    return " ".join(text.split())


def check_block(site, config, name):
    """Check that a page shows all that a block has drawn, with captions, data and commands."""
    block = config.drawn()[name]
    figures, tables = block.expand("figures", name), block.expand("tables", name)
    page = read_page(
        site / f"{'experiments' if name in config.experiments else 'benchmarks'}/{name}.html"
    )
    files = {address.rpartition("/")[2] for _, _, address in page.found}
    assert {f"../_images/{figure}.svg" for figure in figures} <= page.images
    assert {f"{figure}{end}" for figure in figures for end in (".svg", ".pdf")} <= files
    assert {f"{table}{end}" for table in tables for end in (".csv", ".md", ".tex")} <= files
    assert page.n_tables == len(tables)
    caption = ROOT / "workflow" / "report" / f"{block.notebook or name}.rst"
    start = words(caption.read_text())[:40]
    assert words(page.text).count(start) == len(figures)
    for figure in figures:
        folder = "" if name in config.experiments else "benchmarks/"
        target = f"figures/{config.name}/{folder}{figure}.svg"
        assert f"snakemake --cores all {target} --configfile config/" in page.text
    if name in config.experiments:
        assert all({f"{table}.csv", f"{table}.csv.xz"} & files for table in TIDY)
    else:
        assert any(file.endswith(f"{name}.csv") for file in files)
    notebook = read_page(site / "notebooks" / f"{name}.html")
    assert "save_figure" in notebook.text
    assert any(image.startswith("../_images/") for image in notebook.images)


def check_site(site, config):
    """Check that a site has all of a config, and that every address on it leads somewhere."""
    assert broken(site) == []
    front = read_page(site / "index.html")
    for name, block in config.drawn().items():
        check_block(site, config, name)
        assert block.title in front.text
    if config.claims is not None:
        assert {"_images/claims.svg", "_images/claims_times.svg"} <= {*front.images}
        assert (site / "notebooks" / "claims.html").exists()
    assert "../_images" not in "".join(front.images)
    assert "_images/rule-graph.svg" in read_page(site / "workflow.html").images
    assert f"name: {config.name}" in read_page(site / "config.html").text


@pytest.mark.slow
def test_a_site_has_all_that_its_config_draws(edited):
    edited.snakemake("site")
    assert "WARNING" not in (edited.folder / "results/tiny/logs/site.log").read_text()
    site = edited.folder / "results" / "tiny" / "site"
    check_site(site, TINY)
    front = read_page(site / "index.html")
    assert "Which claims hold?" in front.text
    assert "does not reproduce" in front.text
    graph = (site / "_images" / "rule-graph.svg").read_text()
    assert all(f">{rule}</text>" in graph for rule in ("train", "draw_soft_merging", "ledger"))
    provenance = read_page(site / "provenance.html").text
    assert "846f6cad587fea3877f6e0fe0a1968dfc68867ce170d3bc9fc2dccdbed17961d" in provenance
    assert "fff_mixture_softplus" in provenance  # a job
    assert "snakemake" in provenance  # a version
    assert edited.planned("site") == set()
    edited.edit("docs/_static/site.css", "figure img", "/* edited */ figure img")
    assert edited.planned("site") == {"site"}


@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium, as of `apt-get install chromium`")
def test_a_site_opens_in_a_browser_without_a_network(tmp_path):
    """The reference's, which is drawn and not trained, and shows what two machines measured."""
    config = load_config(ROOT / "config" / "reference.yaml")
    tree = copy_tree(tmp_path / "tree")
    shutil.copytree(ROOT / "results" / "reference", tree.folder / "results" / "reference")
    tree.snakemake("site", config="reference")
    site = tree.folder / "results" / config.name / "site"
    check_site(site, config)
    with browser(tmp_path) as page:
        for path in pages_of(site):
            for size in (DESK, PHONE):
                page.resize(*size)
                assert page.open(path) == [], path
                assert page.run(IS_SHOWN), path
                assert not page.run(IS_TOO_WIDE), f"{path} at {size[0]} pixels"
            assert page.run(CLICK_HEADERS) == [], path
