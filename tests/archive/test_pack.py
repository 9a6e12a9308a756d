"""Results that travel: an archive has all of a run, the same bytes again, and nothing hostile."""

from __future__ import annotations

import io
import json
import os
import shutil
import tarfile
from pathlib import Path

import pytest
import yaml

from fastff.archive.crate import METADATA, WORKFLOW
from fastff.archive.pack import ArchiveError, import_results
from fastff.cli import main
from fastff.files import SUMS, digest_of
from fastff.workflow.layout import Layout

ROOT = Path(__file__).parents[2]
REFERENCE = ROOT / "results" / "reference" / "h100"
EXPERIMENT = "node_tree_fashion_mnist"


@pytest.fixture(scope="module")
def results(tmp_path_factory) -> Path:
    """Real tables of one experiment as a run's folder, with what is left out of an archive."""
    folder = tmp_path_factory.mktemp("results") / "mine"
    shutil.copytree(REFERENCE / "tidy" / EXPERIMENT, folder / "tidy" / EXPERIMENT)
    values = yaml.safe_load((ROOT / "config" / "smoke.yaml").read_text())
    block = {
        **{"title": "Node-only trees", "dataset": "fashion_mnist", "seeds": [0]},
        **{
            "notebook": "node_tree",
            "variants": ["node_trees_32"],
            "grid": {"depth": [2], "hidden_features": [1]},
        },
        "recipe": {"epochs": 1, "batch_size": 100, "learning_rate": 0.001},
    }
    values = {"name": "mine", "experiments": {EXPERIMENT: block}}
    (folder / "config.yaml").write_text(yaml.safe_dump(values))
    for path in (folder / "logs" / "train.log", folder / ".running"):
        path.parent.mkdir(exist_ok=True)
        path.touch()
    return folder


@pytest.fixture(scope="module")
def archive(results, tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("archive") / "mine.tar"
    assert main(["export", str(results), str(path), "--root", str(ROOT)]) == 0
    return path


def test_an_archive_comes_back_whole_and_is_the_same_again(results, archive, tmp_path):
    folder = tmp_path / "new" / "theirs"
    assert main(["import", str(archive), str(folder)]) == 0
    for path in results.rglob("*"):
        name = path.relative_to(results)
        left_out = not path.is_file() or name.parts[0] in ("logs", ".running")
        assert left_out or (folder / name).read_bytes() == path.read_bytes()
    assert not (folder / "logs").exists()
    assert [path.name for path in folder.parent.iterdir()] == ["theirs"]
    for made in (METADATA, SUMS):  # which are made again
        (folder / made).unlink()
    shutil.rmtree(folder / "workflow")
    again = tmp_path / "again.tar"
    assert main(["export", str(folder), str(again), "--root", str(ROOT)]) == 0
    assert again.read_bytes() == archive.read_bytes()


def test_an_archive_is_verified_as_a_folder_is(results, archive, tmp_path, capsys):
    packed = tmp_path / "mine.tar.xz"
    assert main(["export", str(results), str(packed), "--root", str(ROOT)]) == 0
    assert packed.stat().st_size < archive.stat().st_size
    for left, right, *more in ((archive, results), (packed, archive, "--exact")):
        assert main(["verify", str(left), str(right), *more]) == 0
    printed = capsys.readouterr().out
    assert "identical, 0 within, 0 different; 0 only on one side" in printed
    assert "files identical, 0 not" in printed


def test_imported_tables_are_drawn(archive, tmp_path):
    from fastff.config.load import load_config

    folder = tmp_path / "theirs"
    import_results(archive, folder)
    config = load_config(folder / "config.yaml")
    config = config.model_copy(update={"tables_from": (str(folder),)})
    paths = Layout(config, None, ROOT).drawn_from(EXPERIMENT)
    assert all(Path(path).is_file() for path in paths)
    packed = folder / "tidy" / EXPERIMENT / "runs.csv"
    packed.touch()
    assert Layout(config, None, ROOT).drawn_from(EXPERIMENT)[0] == os.path.relpath(packed)


# What the profile asks for: https://w3id.org/ro/wfrun/workflow/0.5, on top of RO-Crate 1.1.
REQUIRED = {
    "CreativeWork": {"about", "conformsTo"},
    "Dataset": {
        *("name", "description", "datePublished", "license", "conformsTo", "hasPart"),
        *("mainEntity", "mentions"),
    },
    "ComputationalWorkflow": {"name", "programmingLanguage"},
    "ComputerLanguage": {"name", "identifier", "url", "version"},
    "CreateAction": {"name", "instrument", "object", "result", "agent", "endTime"},
    "Organization": {"name"},
}
PROFILES = {"process/0.5", "workflow/0.5", "workflow-ro-crate/1.0"}


def test_an_archive_is_a_workflow_run_crate(archive):
    with tarfile.open(archive) as tar:
        contents = {entry.name: tar.extractfile(entry).read() for entry in tar}
    crate = json.loads(contents[METADATA])
    assert crate["@context"][0] == "https://w3id.org/ro/crate/1.1/context"
    entities = {entity["@id"]: entity for entity in crate["@graph"]}
    assert len(entities) == len(crate["@graph"])
    kinds: dict[str, list[dict]] = {}
    for entity in entities.values():
        named = entity["@type"] if isinstance(entity["@type"], list) else [entity["@type"]]
        for kind in named:
            kinds.setdefault(kind, []).append(entity)
    for kind, required in REQUIRED.items():
        assert required <= kinds[kind][0].keys(), kind
    root, run = entities["./"], entities["#run"]
    assert entities[METADATA]["about"] == {"@id": "./"}
    assert {"/".join(one["@id"].split("/")[-2:]) for one in root["conformsTo"]} == PROFILES
    assert root["mainEntity"] == run["instrument"] == {"@id": WORKFLOW}
    # every reference is described, but the addresses of others
    for entity in entities.values():
        for value in entity.values():
            for one in value if isinstance(value, list) else [value]:
                if isinstance(one, dict) and not one["@id"].startswith("http"):
                    assert one["@id"] in entities
    files = {entity["@id"]: entity for entity in kinds["File"]}
    assert files.keys() == contents.keys() - {METADATA, SUMS}
    for name, entity in files.items():
        assert entity["sha256"] == digest_of(contents[name])
        assert entity["contentSize"] == str(len(contents[name]))
    assert {one["@id"] for one in run["object"]} == {"config.yaml"}
    assert f"tidy/{EXPERIMENT}/runs.csv.xz" in {one["@id"] for one in run["result"]}


def entry_of(name: str, kind: bytes = tarfile.REGTYPE, link: str = "") -> tarfile.TarInfo:
    entry = tarfile.TarInfo(name)
    entry.type, entry.linkname = kind, link
    return entry


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        (entry_of("../out"), r"'\.\./out' is no plain file inside it"),
        (entry_of("/tmp/out"), "'/tmp/out' is no plain file inside it"),
        (entry_of("a/../../out"), "is no plain file inside it"),
        (entry_of("link", tarfile.SYMTYPE, "/etc"), "'link' is no plain file inside it"),
        (entry_of("hard", tarfile.LNKTYPE, "config.yaml"), "'hard' is no plain file inside it"),
        (entry_of("device", tarfile.CHRTYPE), "'device' is no plain file inside it"),
        (entry_of("tidy/more.csv"), r"tidy/more\.csv is not in SHA256SUMS"),
        (entry_of("config.yaml"), r"config\.yaml has another checksum than SHA256SUMS says"),
        (None, "is no archive of results: "),
    ],
)
def test_a_hostile_archive_leaves_nothing(entry, message, archive, tmp_path):
    path, folder = tmp_path / "bad.tar", tmp_path / "inside" / "theirs"
    if entry is None:
        path.write_bytes(archive.read_bytes()[:2000])
    else:
        shutil.copyfile(archive, path)
        with tarfile.open(path, "a") as tar:
            tar.addfile(entry, io.BytesIO())
    with pytest.raises(ArchiveError, match=message):
        import_results(path, folder)
    assert list(folder.parent.iterdir()) == []
    assert not (tmp_path / "out").exists()


def test_bad_input_gives_one_line_and_code_2(results, archive, tmp_path, capsys):
    def said(*arguments) -> str:
        assert main([*map(str, arguments)]) == 2
        return capsys.readouterr().err.splitlines()[-1]

    empty = tmp_path / "empty"
    empty.mkdir()
    assert said("export", empty, tmp_path / "x.tar") == (
        f"fastff export: {empty}: no results of a run; they have config.yaml and tidy/"
    )
    assert "should end in .tar or .tar.xz" in said("export", results, tmp_path / "x.zip")
    assert "mine: has files; give an empty folder" in said("import", archive, results)
    assert "No such file" in said("import", tmp_path / "none.tar", tmp_path / "new")
    assert [path.name for path in tmp_path.iterdir()] == ["empty"]
