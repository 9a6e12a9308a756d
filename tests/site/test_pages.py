"""The pages of a site, of a run that is made up: what they show, and what they refuse."""

import io
import lzma
from contextlib import redirect_stderr

import pytest
from made_up_run import ROOT, VALUES, made_up_run

from fastff import kernels, layers
from fastff.cli import main
from fastff.config.errors import ConfigError
from fastff.site.markup import read_caption, write_documents
from fastff.site.pages import MARKER, build_site
from links import broken, pages_of, read_page

TITLE = VALUES["experiments"]["own_experiment"]["title"].replace("$f$", "").strip(" ?")


@pytest.fixture(scope="module", params=[True, False], ids=["ledger", "no ledger"])
def site(request, tmp_path_factory):
    """The site of a run with and without a ledger; Sphinx had nothing to say.

    There was one before, and half of another, which a process that was killed has left.
    """
    folder = tmp_path_factory.mktemp("run")
    path, manifest = made_up_run(folder, with_ledger=request.param)
    for left in ("a site/stale.html", ".a site.part/rst/stale.rst"):
        (folder / left).parent.mkdir(parents=True)
        (folder / left).touch()
        (folder / left.partition("/")[0] / MARKER).touch()
    with redirect_stderr(io.StringIO()) as said:
        n_pages = build_site(path, manifest, folder / "a site")
    assert said.getvalue() == ""
    assert n_pages == len(pages_of(folder / "a site"))
    return folder / "a site"


def has_ledger(site):
    return (site.parent / "claims.csv").exists()


def test_every_address_resolves_and_none_needs_a_network(site):
    assert broken(site) == []


def test_nothing_is_left_of_what_was_there(site):
    assert not (site.parent / ".a site.part").exists()
    assert not [*site.rglob("stale.*")]


def test_the_front_has_the_ledger_and_all_experiments(site):
    front = read_page(site / "index.html")
    links = {address for tag, _, address in front.found if tag == "a"}
    assert {"experiments/own_experiment.html", "benchmarks/own_benchmark.html"} <= links
    assert ("replications: " in front.text) == has_ledger(site)
    assert front.n_tables == 1 + has_ledger(site)
    assert front.images == ({"_images/claims.svg"} if has_ledger(site) else set())
    assert TITLE in front.text


def test_a_page_has_figures_with_captions_data_and_commands(site):
    page = read_page(site / "experiments" / "own_experiment.html")
    assert TITLE in page.text
    caption = "weights changes in accuracy: the merged variant less"
    names = ["own_experiment", "own_experiment_fff_mixture_log", "own_experiment_moe_mixture"]
    assert page.images == {f"../_images/{name}.svg" for name in names}
    assert page.text.count(caption) == len(names)
    files = {address.rpartition("/")[2]: address for _, _, address in page.found}
    assert {f"{name}.pdf" for name in names} <= files.keys()
    packed = (site / "experiments" / files["own_experiment.csv.xz"]).read_bytes()
    made = site.parent / "own_experiment" / "benchmarks" / "own_experiment.csv"
    assert lzma.decompress(packed) == made.read_bytes()
    target = site.parent / f"{names[1]}.svg"
    assert f"snakemake --cores all {target} --configfile 'my config.yaml' --config name=mine" in (
        page.text
    )
    assert page.n_tables == 1
    other = read_page(site / "benchmarks" / "own_benchmark.html")
    assert any(address.endswith("/own_benchmark.csv") for _, _, address in other.found)


def test_a_notebook_is_shown_as_it_was_executed(site):
    page = (site / "notebooks" / "own_benchmark.html").read_text()
    assert "ZeroDivisionError" not in page  # its code divides by zero
    assert "<math" in page
    assert "$x^2$" not in page
    assert "<td" in page
    assert len(read_page(site / "notebooks" / "own_benchmark.html").images) == 1


def test_the_repository_s_pages_are_shown_with_their_links(site):
    pages = sorted((ROOT / "docs").glob("*.md"))
    front = read_page(site / "docs" / "index.html")
    links = {address for tag, _, address in front.found if tag == "a"}
    assert {"../README.html", *(f"{page.stem}.html" for page in pages)} <= links
    readme = read_page(site / "README.html")
    assert "docs/ledger.html" in {address for _, _, address in readme.found}
    assert "_images/layer_benchmark_cuda.png" in readme.images
    api = read_page(site / "docs" / "api.html")
    assert {f"fastff.layers.{name}" for name in layers.__all__} <= api.ids
    assert {f"fastff.kernels.{name}" for name in kernels.__all__} <= api.ids
    appendix = read_page(site / "docs" / "artifact.html")
    assert "<blockquote" not in (site / "docs" / "api.html").read_text()  # code without its `::`
    assert any(address.endswith("/soft_merging_comparisons.md") for _, _, address in appendix.found)


def test_a_link_to_what_is_not_there_is_its_text(tmp_path):
    (tmp_path / "docs").mkdir()
    readme, page = tmp_path / "README.md", tmp_path / "docs" / "page.md"
    readme.write_text("[a](docs/page.md#b), [c](docs/none.md), ![d](d.png), [e](https://e.org)")
    page.write_text("[r](../README.md), [f](../f.yaml#g), [h](../../h.md)")
    (tmp_path / "f.yaml").touch()
    assert write_documents(tmp_path, tmp_path / "copy") == ["README", "docs/page"]
    assert (tmp_path / "copy" / "README.md").read_text() == (
        "[a](docs/page.md#b), c, d, [e](https://e.org)"
    )
    copied = (tmp_path / "copy" / "docs" / "page.md").read_text()
    assert copied == "[r](../README.md), [f](path:../f.yaml#g), h"
    assert (tmp_path / "copy" / "f.yaml").exists()


def test_provenance_says_how_results_came_about(site):
    page = read_page(site / "provenance.html").text
    for said in ("A CPU", "8e803d004e56", "moe_mixture", "12.3", "snakemake", "name=mine"):
        assert said in page
    assert "NVIDIA H100 80GB HBM3" in page  # of the earlier results
    config = read_page(site / "config.html")
    assert "own_benchmark:" in config.text
    assert ">train</text>" in (site / "_images" / "rule-graph.svg").read_text()


def test_columns_of_numbers_are_ordered_by_them(site):
    page = (site / "experiments" / "own_experiment.html").read_text()
    assert page.count('class="number"') == 2 * (1 + 3)  # depth and accuracy; not the mixed column
    assert '<td class="number" data-order="50"><b>50 ± 10</b></td>' in page
    assert '<td class="number" data-order="">–</td>' in page
    machines = (site / "provenance.html").read_text()
    assert '<td class="short">8e803d004e56</td>' in machines
    assert '<td class="short">2.14.1</td>' in machines


def test_what_is_missing_is_named(tmp_path):
    path, manifest = made_up_run(tmp_path, with_ledger=False)
    (tmp_path / "own_experiment.svg").unlink()
    with pytest.raises(
        ConfigError, match=r"own_experiment\.svg: missing; the run must be finished"
    ):
        build_site(path, manifest, tmp_path / "site")
    assert not (tmp_path / "site").exists()


@pytest.mark.parametrize("name", ["site", ".site.part"])
def test_a_folder_of_other_files_is_never_deleted(name, tmp_path):
    path, manifest = made_up_run(tmp_path, with_ledger=False)
    kept = tmp_path / name / "thesis.tex"
    kept.parent.mkdir()
    kept.touch()
    with pytest.raises(ConfigError, match=rf"{name}: has other files than a site's"):
        build_site(path, manifest, tmp_path / "site")
    link = tmp_path / "link"
    link.symlink_to(kept.parent)
    for output in (link, kept):
        with pytest.raises(ConfigError, match="not a folder"):
            build_site(path, manifest, output)
    assert kept.exists()


def test_a_bad_manifest_is_refused(tmp_path, capsys):
    path = tmp_path / "site.json"
    path.write_text('{"block": {}}')
    given = ["--config", "c.yaml", "--plan", str(path), "--output", str(tmp_path / "s")]
    assert main(["site", *given]) == 2
    message = f"plan {path}: unknown key 'block', did you mean 'blocks'?"
    assert message in capsys.readouterr().err


@pytest.mark.parametrize("text", ["{{ snakemake.output[0] }}", "{{ snakemake.config['x'] }}", "{%"])
def test_a_caption_that_takes_what_a_site_has_not_is_refused(tmp_path, text):
    path = tmp_path / "own.rst"
    path.write_text(f"Some {text}.")
    with pytest.raises(ConfigError, match=r"own\.rst: .*a caption may use snakemake\.config"):
        read_caption(path, {"name": "quick"})


def test_a_caption_takes_values_of_the_config():
    path = ROOT / "workflow" / "report" / "workflow.rst"
    assert "a run of the config *quick*" in read_caption(path, {"name": "quick"})
