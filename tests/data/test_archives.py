import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from http.server import SimpleHTTPRequestHandler
from pathlib import Path
from types import SimpleNamespace
from typing import ClassVar

import original_formats as formats
import pytest
from loopback import QuietHandler

from fastff.data.download import check_mirror, download
from fastff.data.errors import DataError
from fastff.data.prepare import prepare, prepare_dataset

FILES = formats.idx_files()
GZIPPED = formats.gzipped(FILES)
SOURCE = formats.idx_source(FILES)
FIRST, SECOND, *_ = GZIPPED
Serve = Callable[..., str]
FilesIn = Callable[[Path], list[str]]


class CutOff(QuietHandler):
    """Promises a whole file and closes the connection after half of it."""

    def do_GET(self) -> None:  # noqa: N802
        content = Path(self.translate_path(self.path)).read_bytes()
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content[: len(content) // 2])


def test_downloads_are_kept_and_used_again(tmp_path: Path, serve: Serve, files_in: FilesIn) -> None:
    data = tmp_path / "data"
    url = serve(formats.put(tmp_path / "served", GZIPPED))
    first = prepare_dataset(SOURCE, data, mirror=url).read_bytes()
    archives = [f"archives/small/{name}" for name in GZIPPED]
    assert files_in(data) == sorted([*archives, "small.json", "small.npz"])
    # The dataset's own address leads nowhere: it must not be asked.
    assert prepare_dataset(SOURCE, data).read_bytes() == first


def test_a_stored_download_that_changed_is_named(tmp_path: Path, serve: Serve) -> None:
    data = tmp_path / "data"
    url = serve(formats.put(tmp_path / "served", GZIPPED))
    prepare_dataset(SOURCE, data, mirror=url)
    stored = data / "archives" / "small" / SECOND
    stored.write_bytes(stored.read_bytes()[:-1])
    with pytest.raises(DataError, match=f"{SECOND}: expected md5:.*, found md5:"):
        prepare_dataset(SOURCE, data, mirror=url)


@pytest.mark.parametrize("handler", [QuietHandler, CutOff], ids=["altered", "cut off"])
def test_a_damaged_download_leaves_nothing(
    tmp_path: Path, serve: Serve, files_in: FilesIn, handler: type[SimpleHTTPRequestHandler]
) -> None:
    altered = GZIPPED[FIRST][:-1] + b"\xff"
    served = formats.put(tmp_path / "served", GZIPPED | {FIRST: altered})
    with pytest.raises(DataError) as error:
        prepare_dataset(SOURCE, tmp_path / "data", mirror=serve(served, handler))
    for part in (FIRST, formats.md5(GZIPPED[FIRST]), "option `folder`", "option `mirror`"):
        assert part in str(error.value)
    if handler is QuietHandler:
        assert formats.md5(altered) in str(error.value)
    assert files_in(tmp_path / "data") == []


def test_a_file_that_the_server_lacks_is_named(
    tmp_path: Path, serve: Serve, files_in: FilesIn
) -> None:
    served = formats.put(tmp_path / "served", GZIPPED)
    (served / SECOND).unlink()
    with pytest.raises(DataError, match=rf"{SECOND}: expected md5:.*{SECOND}: HTTP Error 404"):
        prepare_dataset(SOURCE, tmp_path / "data", mirror=serve(served))
    # What came before was verified: it is kept.
    assert files_in(tmp_path / "data") == [f"archives/small/{FIRST}"]


class Moody(QuietHandler):
    """Is busy, stalls, and breaks off at a third and two thirds; then it has the rest."""

    asked: ClassVar[list[str]] = []

    def do_GET(self) -> None:  # noqa: N802
        content = Path(self.translate_path(self.path)).read_bytes()
        start = int(self.headers.get("Range", "bytes=0-").removeprefix("bytes=").rstrip("-"))
        self.asked.append(f"{self.path} {start}")
        turn = sum(line.startswith(f"{self.path} ") for line in self.asked)
        if turn == 1:
            return self.send_error(503)
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(content) - start))
        self.end_headers()
        if turn == 2:
            return time.sleep(1)
        end = len(content) if turn > 4 else len(content) * (turn - 2) // 3
        self.wfile.write(content[start:end])


def test_a_moody_server_is_asked_again_from_where_it_broke_off(
    tmp_path: Path, serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Moody, "asked", [])
    content = bytes(range(256)) * 2000
    url = serve(formats.put(tmp_path / "served", {"file": content}), Moody)
    target = tmp_path / "data" / "file"
    download(f"{url}file", target, f"md5:{formats.md5(content).removeprefix('md5:')}")
    assert target.read_bytes() == content
    starts = [int(line.removeprefix("/file ")) for line in Moody.asked]
    third = len(content) // 3
    assert starts[:3] == [0, 0, 0]
    assert 0 < starts[3] <= third < starts[4] <= 2 * third


@pytest.mark.parametrize(
    ("status", "body", "message"),
    [
        (403, b"", "HTTP Error 403: Forbidden"),
        (200, b"<html>Please log in</html>", "expected md5:.*, found md5:"),
        (503, b"", "HTTP Error 503"),
    ],
)
def test_what_a_mirror_answers_instead_of_the_file_is_named(
    status: int, body: bytes, message: str, tmp_path: Path, serve: Serve, files_in: FilesIn
) -> None:
    class Answers(QuietHandler):
        def do_GET(self) -> None:  # noqa: N802
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    url = serve(tmp_path, Answers)
    with pytest.raises(DataError, match=message):
        download(f"{url}file", tmp_path / "data" / "file", "md5:0")
    assert files_in(tmp_path / "data") == []


def test_an_unreachable_server_is_named(tmp_path: Path, files_in: FilesIn) -> None:
    with pytest.raises(DataError, match=rf"{formats.NOWHERE}{FIRST}: .*To get small"):
        prepare_dataset(SOURCE, tmp_path / "data")
    assert files_in(tmp_path) == []


def test_the_next_base_url_is_tried(tmp_path: Path, serve: Serve) -> None:
    url = serve(formats.put(tmp_path / "served", GZIPPED))
    source = replace(SOURCE, base_urls=(formats.NOWHERE, url))
    assert prepare_dataset(source, tmp_path / "data").is_file()


def test_a_missing_file_of_a_folder_is_not_downloaded(
    tmp_path: Path, serve: Serve, files_in: FilesIn
) -> None:
    whole = formats.put(tmp_path / "served", GZIPPED)
    source = replace(SOURCE, base_urls=(serve(whole),))
    folder = formats.put(tmp_path / "folder", GZIPPED)
    (folder / SECOND).unlink()
    with pytest.raises(DataError, match=f"{SECOND}: expected sha256:.*, found no such file"):
        prepare_dataset(source, tmp_path / "data", folder=folder)
    assert files_in(tmp_path / "data") == []


def test_a_folder_that_is_none_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"folder .*/none: not a folder"):
        prepare_dataset(SOURCE, tmp_path / "data", folder=tmp_path / "none")


def test_the_package_is_used_where_it_is_installed(tmp_path: Path) -> None:
    folder = formats.put(tmp_path / "package", GZIPPED)
    source = replace(SOURCE, package="some-package", package_folder=lambda: folder)
    path = prepare_dataset(source, tmp_path / "data")
    assert '"source": "package some-package"' in path.with_suffix(".json").read_text()


def test_a_mirror_goes_before_the_package(tmp_path: Path, serve: Serve) -> None:
    url = serve(formats.put(tmp_path / "served", GZIPPED))
    source = replace(SOURCE, package="some-package", package_folder=lambda: tmp_path)
    path = prepare_dataset(source, tmp_path / "data", mirror=url)
    assert f'"source": "download from {url}"' in path.with_suffix(".json").read_text()


def test_folder_and_mirror_exclude_each_other(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"small: folder .* and mirror .*; allowed is one of them"):
        prepare_dataset(SOURCE, tmp_path, folder=tmp_path, mirror="https://example.org/")


@pytest.mark.parametrize(
    "url",
    ["https://example.org/a", "http://127.0.0.1:8000/", "http://localhost/x", "http://[::1]/"],
)
def test_allowed_mirrors(url: str) -> None:
    assert check_mirror(url) == url.rstrip("/") + "/"


@pytest.mark.parametrize(
    "url",
    [
        *("http://example.org/", "http://127.0.0.1.example.org/", "http://192.168.0.1/"),
        *("ftp://example.org/", "file:///etc/", "example.org", "https:///x", "http://[::1", ""),
    ],
)
def test_refused_mirrors(tmp_path: Path, url: str) -> None:
    with pytest.raises(DataError, match=r"^mirror: .*; allowed are https URLs"):
        prepare_dataset(SOURCE, tmp_path, mirror=url)


def test_https_never_leads_to_http(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, files_in: FilesIn
) -> None:
    """No server with a certificate is at hand, so the redirected answer is made up."""
    answer = SimpleNamespace(url="http://example.org/x")
    monkeypatch.setattr("requests.Session.get", lambda *words, **more: nullcontext(answer))
    with pytest.raises(DataError, match=r"redirected to http://example\.org/x, which is not https"):
        download("https://example.org/x", tmp_path / "x", "md5:0")
    assert files_in(tmp_path) == []


def test_an_unknown_name_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="dataset: 'mnist6k'; allowed are mnist5k, fashion_mnist"):
        prepare("mnist6k", tmp_path)
