"""What the imports of the package load, and what the names at its top are."""

from __future__ import annotations

import subprocess
import sys

import pytest

import fastff
from fastff import __main__, cli, layers

STUDY = {"matplotlib", "numba", "pandas", "pydantic", "triton", "yaml"}


def loaded(code: str) -> set[str]:
    """Return the top-level modules that a process has loaded after `code`."""
    code += "\nimport sys; print(*{name.partition('.')[0] for name in sys.modules})"
    done = subprocess.run([sys.executable, "-c", code], text=True, capture_output=True, check=True)
    return set(done.stdout.split())


@pytest.mark.parametrize(
    "code",
    [
        "import fastff; fastff.__version__; dir(fastff); hasattr(fastff, 'nothing')",
        "from fastff.config import presets; from fastff.workflow import digests",
        "import fastff.cli",
    ],
)
def test_the_package_and_its_command_line_load_no_torch(code):
    assert not {"torch", "pandas", "numba"} & loaded(code)


def test_a_name_loads_torch_on_first_use():
    assert "torch" in loaded("from fastff import NodeTree")


def test_layers_and_kernels_load_nothing_of_the_study():
    modules = loaded("import fastff.layers, fastff.kernels")
    assert "torch" in modules
    assert not STUDY & modules


def test_the_top_has_every_layer_by_name():
    assert set(fastff.__all__) == {*layers.__all__, "kernels", "layers"}
    for name in layers.__all__:
        assert getattr(fastff, name) is getattr(layers, name)
    assert fastff.kernels.__name__ == "fastff.kernels"
    assert set(fastff.__all__) <= set(dir(fastff))


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="module 'fastff' has no attribute 'Nothing'"):
        _ = fastff.Nothing


def test_the_command_names_a_missing_package_in_one_line(monkeypatch, capsys):
    def needs_pandas():
        raise ModuleNotFoundError("No module named 'pandas.io'", name="pandas.io")

    monkeypatch.setattr(cli, "main", needs_pandas)
    assert __main__.main() == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "pandas" in line
    assert "fastff[study]" in line


def test_a_missing_module_of_its_own_is_no_missing_package(monkeypatch):
    def needs_nothing():
        raise ModuleNotFoundError("No module named 'fastff.nothing'", name="fastff.nothing")

    monkeypatch.setattr(cli, "main", needs_nothing)
    with pytest.raises(ModuleNotFoundError, match=r"fastff\.nothing"):
        __main__.main()
