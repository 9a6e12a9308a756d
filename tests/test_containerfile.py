"""The container is built from the lock and from files that there are, as `make env` does it."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FILE = (ROOT / "Containerfile").read_text(encoding="utf-8")
LOCK = ROOT / "requirements.lock"
# An instruction may go over several lines.
INSTRUCTIONS = [
    line.split(maxsplit=1)
    for line in re.sub(r"^#.*\n", "", FILE, flags=re.MULTILINE).replace("\\\n", " ").splitlines()
    if line
]
INSTALL = next(text for _, text in INSTRUCTIONS if "--require-hashes" in text)


def copied() -> list[tuple[int, str]]:
    """Return place and path of all that is copied from the repository."""
    found = []
    for place, (name, text) in enumerate(INSTRUCTIONS):
        if name == "COPY" and not text.startswith("--from"):
            found += [(place, source) for source in text.split()[:-1]]
    return found


def pins(lock: str) -> list[str]:
    """Return name==version of each line of a lock."""
    return re.findall(r"^([a-z][\w.-]*==[^\s;]+)", lock, re.MULTILINE)


def shell(command: str, name: str, target: Path) -> str:
    """Run a command of the install step, and return what it writes to a file."""
    (part,) = re.findall(rf"{command} .*? > {re.escape(name)}", INSTALL)
    part = part.replace("requirements.lock", str(LOCK)).replace(name, str(target))
    subprocess.run(["sh", "-euc", part], check=True)
    return target.read_text(encoding="utf-8")


def test_what_is_copied_is_there_and_in_the_build_s_context() -> None:
    ignore = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    allowed = {line.removeprefix("!") for line in ignore if line.startswith("!")}
    assert "*" in ignore
    for _, source in copied():
        assert (ROOT / source).exists(), source
        assert source in allowed, source
    assert allowed == {source for _, source in copied()}


def test_an_edit_of_the_code_installs_no_packages_again() -> None:
    """A layer is built anew with all that follow: the lock comes first, alone."""
    install = INSTRUCTIONS.index(["RUN", INSTALL])
    assert [source for place, source in copied() if place < install] == ["requirements.lock"]


def test_it_installs_as_the_makefile_does() -> None:
    """All packages by the lock, with hashes, and the package itself without its dependencies."""
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    options = "--no-deps --no-build-isolation --editable ."
    assert f"pip install --quiet {options}" in makefile
    assert f"pip install --no-cache-dir {options}" in " ".join(FILE.split())
    text = "--no-deps --require-hashes --requirement requirements-text.lock"
    assert f"pip install --quiet {text}" in " ".join(makefile.replace("\\\n", "").split())
    assert f"pip install --no-cache-dir {text}" in " ".join(FILE.split())
    assert "pip install --require-hashes --requirement requirements.lock;" in INSTALL
    commands = re.findall(r"pip install [^;]*", INSTALL)
    assert len(commands) == 3
    assert [command for command in commands if "--require-hashes" not in command] == [
        'pip install --no-deps --index-url "$TORCH_INDEX" --requirement /tmp/torch.txt'
    ]


def test_without_cuda_it_lacks_torch_and_what_only_cuda_needs(tmp_path: Path) -> None:
    whole = LOCK.read_text(encoding="utf-8")
    others = shell("awk", "/tmp/others.lock", tmp_path / "others")
    left_out = [pin.partition("==")[0] for pin in pins(whole) if pin not in pins(others)]
    assert {"torch", "torchvision", "triton"} <= set(left_out)
    rest = set(left_out) - {"torch", "torchvision", "triton"}
    assert rest
    assert all(name.startswith(("nvidia-", "cuda-")) for name in rest)
    assert others.count("--hash=") < whole.count("--hash=")
    blocks = re.split(r"^(?=[a-z])", others, flags=re.MULTILINE)[1:]
    assert all(block in whole and "--hash=sha256:" in block for block in blocks)


def test_without_cuda_torch_has_the_version_of_the_lock(tmp_path: Path) -> None:
    found = shell("sed", "/tmp/torch.txt", tmp_path / "torch").splitlines()
    locked = [pin for pin in pins(LOCK.read_text(encoding="utf-8")) if pin.startswith("torch")]
    assert found == [f"{pin}+cpu" for pin in locked]
    assert len(found) == 2


@pytest.mark.parametrize("name", ["HOME", "LOGNAME"])
def test_a_user_without_an_entry_has_a_home_and_a_name(name: str) -> None:
    assert re.search(rf"^ENV .*\b{name}=\S+", FILE, re.MULTILINE)
