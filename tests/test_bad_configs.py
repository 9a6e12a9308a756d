"""Every bad config file gives one line that names the key, and nothing is started."""

from pathlib import Path

import pytest

from bad_configs import BAD, BAD_OVERLAYS, GOOD, bad_text
from fastff.cli import main
from fastff.config.errors import ConfigError
from fastff.config.load import load_config

ROOT = Path(__file__).parent.parent
MOST = 800  # characters of a message


def starts(message, path, expected):
    """Return whether a message starts as expected, behind the file and line that it names."""
    place = f"config file {path}"
    fault = message.removeprefix(place).partition(": ")[2]
    told = message if expected.startswith(place) else fault
    return message.startswith(place) and told.startswith(expected.removeprefix("config: "))


def test_the_good_one_is_good(tmp_path):
    path = tmp_path / "good.yaml"
    path.write_text(GOOD)
    assert load_config(path).name == "trial"
    counted = f"| {len(BAD) + len(BAD_OVERLAYS)} config files |"
    assert counted in (ROOT / "docs" / "promises.md").read_text()


@pytest.mark.parametrize("name", BAD)
def test_a_bad_config_file_gives_one_line(name, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "bad.yaml"
    path.write_text(bad_text(name))
    expected = BAD[name][2].replace("{path}", str(path))
    with pytest.raises(ConfigError) as caught:
        load_config(path)
    message = str(caught.value)
    assert starts(message, path, expected), message
    assert "\n" not in message
    assert len(message) < MOST + len(str(path))

    arguments = ["--job", "first", "--data", "none.npz", "--output", "out"]
    assert main(["train", "--config", str(path), *arguments]) == 2
    assert capsys.readouterr().err.splitlines()[-1] == f"fastff train: {message}"
    assert [file.name for file in tmp_path.iterdir()] == ["bad.yaml"]


@pytest.mark.parametrize("name", BAD_OVERLAYS)
def test_a_bad_overlay_gives_one_line_with_the_file_and_line_of_the_fault(name, tmp_path, capsys):
    text, expected = BAD_OVERLAYS[name]
    for file, content in (("base", GOOD), ("round", "extends: [mine.yaml]\n"), ("mine", text)):
        (tmp_path / f"{file}.yaml").write_text(content)
    path = tmp_path / "mine.yaml"
    with pytest.raises(ConfigError) as caught:
        load_config(path)
    message = str(caught.value)
    assert message.startswith(expected.replace("{folder}", str(tmp_path))), message
    assert "\n" not in message
    arguments = ["--job", "first", "--data", "none.npz", "--output", "out"]
    assert main(["train", "--config", str(path), *arguments]) == 2
    assert capsys.readouterr().err.splitlines()[-1] == f"fastff train: {message}"


def test_merged_keys_are_not_given_twice(tmp_path):
    path = tmp_path / "merged.yaml"
    path.write_text(
        GOOD.replace("title: First", "<<: {title: Other, record_every: 2}\n    title: First")
    )
    block = load_config(path).experiments["first"]
    assert (block.title, block.record_every) == ("First", 2)


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"\xff\xfe\x00", "is not YAML: 'utf-8' codec"), (None, "No such file or directory")],
)
def test_a_file_that_is_no_text(content, message, tmp_path):
    path = tmp_path / "bad.yaml"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ConfigError, match=message):
        load_config(path)
