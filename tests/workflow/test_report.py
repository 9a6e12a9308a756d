"""The report: every figure and table with its caption, under its experiment."""

import shutil
from pathlib import Path

import pytest
from browser import CHROMIUM, browser
from trees import ROOT, TINY, copy_tree

from fastff.config.load import Config, load_config

VISIT = Path(__file__).parent / "visit_report.js"


def entries(config: Config) -> dict[str, set[str]]:
    """Return the labels that a report must have, by category."""
    found = {
        f"{name}: {block.title}": {
            *(f"figure {figure}" for figure in block.expand("figures", name)),
            *(f"table {table}" for table in block.expand("tables", name)),
        }
        for name, block in config.drawn().items()
    }
    if config.claims is not None:
        found["claims: Which claims hold?"] = {
            *("figure claims", "figure claims_times", "table claims")
        }
    return found


def test_the_report_has_every_figure_and_table(finished, tmp_path):
    path = tmp_path / "report.html"
    finished.snakemake("--report", str(path))
    page = path.read_text()
    for category, labels in entries(TINY).items():
        assert f'"{category}"' in page
        for label in labels:
            assert f'"result": "{label}"' in page


@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium, as of `apt-get install chromium`")
def test_the_report_opens_in_a_browser_without_a_network(tmp_path):
    """A whole run of the smallest config, its benchmark too, and a visit of all that it shows."""
    config = load_config(ROOT / "config" / "smoke.yaml")
    tree = copy_tree(tmp_path / "tree")
    # what is shown of a GPU where there is none
    shutil.copytree(ROOT / "results" / "reference", tree.folder / "results" / "reference")
    tree.snakemake(config="smoke")
    report = tmp_path / "report.html"
    tree.snakemake("--report", str(report), config="smoke")
    with browser(tmp_path) as page:
        page.resize(1600, 1000)
        page.open(report)
        found = page.run(VISIT.read_text())
        # A warning that Snakemake's own page makes.
        assert [fault for fault in page.faults() if "cdn.tailwindcss.com" not in fault] == []
    assert found["errors"] == []
    assert "This is a run of the config smoke" in found["start"]
    wanted = entries(config)
    shown = {category: found["categories"][category] for category in wanted}
    labels = {category: {r["label"] for r in results} for category, results in shown.items()}
    assert labels == wanted
    for category, results in shown.items():
        experiment = category.partition(":")[0]
        for result in results:
            kind, stem = result["label"].split()
            assert Path(result["path"]).stem == stem
            assert len(result["caption"]) > 200, result
            if kind == "figure":
                assert result["shown"] == "image" and result["width"] > 500, result
            else:
                assert result["shown"] == "page" and "<tbody>\n    <tr>" in result["text"], result
            assert stem.startswith(experiment)
