"""Checksums, and downloads that leave a verified file or none.

A checksum is written as `algorithm:hexdigest`, such as `md5:8d4fb7e6...`.
"""

from __future__ import annotations

import hashlib
import ipaddress
import time
import urllib.parse
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING

from fastff.data.errors import DataError
from fastff.files import atomic_path

if TYPE_CHECKING:
    from requests import Session

TIMEOUT_SECONDS = 60  # until a server answers, or sends more
PAUSES = (1.0, 2.0, 4.0)  # seconds before a server is asked again
BUSY = (429, 500, 502, 503, 504)
CHUNK_BYTES = 2**16


class BrokenOffError(DataError):
    """A server that stopped in the middle of a file."""


def checksum_bytes(content: bytes, algorithm: str) -> str:
    """Return `algorithm:hexdigest` of `content`."""
    # They detect damage, so a machine that forbids MD5 for security may still compute it.
    return f"{algorithm}:{hashlib.new(algorithm, content, usedforsecurity=False).hexdigest()}"


def checksum_file(path: Path, algorithm: str) -> str:
    """Return `algorithm:hexdigest` of the file at `path`.

    Raises:
        OSError: the file cannot be read.

    """
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, lambda: hashlib.new(algorithm, usedforsecurity=False))
    return f"{algorithm}:{digest.hexdigest()}"


def algorithm_of(checksum: str) -> str:
    """Return the algorithm that `checksum` names: `md5` for `md5:8d4fb7e6...`."""
    return checksum.partition(":")[0]


def check_mirror(url: str) -> str:
    """Return `url`, ending in a slash, if a mirror may have it.

    Raises:
        DataError: it is neither https nor http on a loopback address.

    """
    if not is_allowed(url):
        raise DataError(
            f"mirror: {url!r}; allowed are https URLs, and http URLs of a loopback address"
        )
    return url if url.endswith("/") else url + "/"


def is_allowed(url: str) -> bool:
    """Return whether anything may be downloaded from there: by https, or from this machine."""
    try:
        parts = urllib.parse.urlsplit(url)
        return bool(parts.hostname) and (
            parts.scheme == "https" or (parts.scheme == "http" and _is_loopback(url))
        )
    except ValueError:  # such as a broken IPv6 address
        return False


def download(url: str, target: Path, expected: str) -> None:
    """Download `url` to `target`, which appears only once its checksum is `expected`.

    A server that can't be reached, is busy, stalls or breaks off is asked again, with longer and
    longer pauses, and goes on from where it broke off if it can. On a terminal a bar shows how far
    it is.

    Raises:
        DataError: the address is neither https nor http on a loopback address, the server cannot
            be reached or refuses, leads from https to http, or sends something else than
            expected; the message names the URL.

    """
    import requests

    if not is_allowed(url):
        raise DataError(f"{url}: not downloaded, since it is not https")
    try:
        with _session(url) as session, atomic_path(target) as temporary:
            for pause in (*PAUSES, None):
                try:
                    _fetch(session, url, temporary)
                    break
                except BrokenOffError:
                    if pause is None:
                        raise
                    time.sleep(pause)
            found = checksum_file(temporary, algorithm_of(expected))
            if found != expected:
                raise DataError(f"{url}: expected {expected}, found {found}")
    except (OSError, requests.RequestException) as error:
        raise DataError(f"{url}: {error}") from error


def _session(url: str) -> Session:
    """Return a session that asks a server again that can't be reached or is busy."""
    import requests
    from requests.adapters import HTTPAdapter
    from urllib3.util import Retry

    retries = Retry(
        total=len(PAUSES),
        backoff_factor=PAUSES[0],
        status_forcelist=BUSY,
        raise_on_status=False,
        respect_retry_after_header=False,  # it may say a day
    )
    session = requests.Session()
    for scheme in ("https://", "http://"):
        session.mount(scheme, HTTPAdapter(max_retries=retries))
    session.headers["User-Agent"] = "fastff"
    session.headers["Accept-Encoding"] = "identity"  # the bytes as they are published
    session.trust_env = not _is_loopback(url)  # a proxy can't know this machine's addresses
    return session


def _fetch(session: Session, url: str, path: Path) -> None:
    """Append to a file what a server has beyond it, or all where it can't go on."""
    import requests
    from tqdm import tqdm

    start = path.stat().st_size
    headers = {"Range": f"bytes={start}-"} if start else {}
    with session.get(url, headers=headers, stream=True, timeout=TIMEOUT_SECONDS) as response:
        if url.startswith("https:") and not response.url.startswith("https:"):
            raise DataError(f"{url}: redirected to {response.url}, which is not https")
        if response.status_code not in (HTTPStatus.OK, HTTPStatus.PARTIAL_CONTENT):
            raise DataError(f"{url}: HTTP Error {response.status_code}: {response.reason}")
        start = start if response.status_code == HTTPStatus.PARTIAL_CONTENT else 0
        length = response.headers.get("Content-Length")
        bar = tqdm(
            total=start + int(length) if length else None,
            initial=start,
            desc=path.name.removeprefix(".").partition(".")[0],
            unit="B",
            unit_scale=True,
            disable=None,  # but on a terminal
        )
        with bar, path.open("r+b") as file:
            file.seek(start)
            file.truncate()
            try:
                for chunk in response.iter_content(CHUNK_BYTES):
                    file.write(chunk)
                    bar.update(len(chunk))
            except requests.RequestException as error:
                raise BrokenOffError(f"{url}: {error}") from error


def _is_loopback(url: str) -> bool:
    host = urllib.parse.urlsplit(url).hostname or ""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:  # a name
        return False
