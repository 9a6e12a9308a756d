from collections.abc import Callable, Iterator
from contextlib import ExitStack
from http.server import SimpleHTTPRequestHandler
from pathlib import Path

import pytest
from loopback import QuietHandler, serving


@pytest.fixture(autouse=True)
def hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ask servers again without pauses, and wait for no answer."""
    monkeypatch.setattr("fastff.data.download.PAUSES", (0.0, 0.0, 0.0))
    monkeypatch.setattr("fastff.data.download.TIMEOUT_SECONDS", 0.5)


@pytest.fixture
def serve() -> Iterator[Callable[..., str]]:
    """Serve a folder over loopback HTTP, and return its URL."""
    with ExitStack() as stack:

        def start(folder: Path, handler: type[SimpleHTTPRequestHandler] = QuietHandler) -> str:
            return stack.enter_context(serving(folder, handler))

        yield start


def listing(folder: Path) -> list[str]:
    """Return every file below `folder`, hidden ones too."""
    return sorted(str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file())


@pytest.fixture
def files_in() -> Callable[[Path], list[str]]:
    return listing
