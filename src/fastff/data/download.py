"""Checksums, and downloads that leave a verified file or none.

A checksum is written as `algorithm:hexdigest`, such as `md5:8d4fb7e6...`.
"""

import hashlib
import http.client
import ipaddress
import shutil
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path
from typing import BinaryIO, cast

from fastff.data.errors import DataError
from fastff.files import atomic_path

TIMEOUT_SECONDS = 60


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

    Raises:
        DataError: the address is neither https nor http on a loopback address, the server cannot
            be reached or refuses, leads from https to http, or sends something else than
            expected; the message names the URL.

    """
    if not is_allowed(url):
        raise DataError(f"{url}: not downloaded, since it is not https")
    try:
        with _open(url) as response, atomic_path(target) as temporary:
            with temporary.open("wb") as file:
                shutil.copyfileobj(response, file)
            found = checksum_file(temporary, algorithm_of(expected))
            if found != expected:
                raise DataError(f"{url}: expected {expected}, found {found}")
    except urllib.error.HTTPError as error:
        error.close()
        raise DataError(f"{url}: {error}") from error
    except (OSError, http.client.HTTPException) as error:
        raise DataError(f"{url}: {error}") from error


def _open(url: str) -> BinaryIO:
    request = urllib.request.Request(url, headers={"User-Agent": "fastff"})
    # A proxy cannot know this machine's loopback addresses.
    handlers = [urllib.request.ProxyHandler({})] if _is_loopback(url) else []
    response = urllib.request.build_opener(*handlers).open(request, timeout=TIMEOUT_SECONDS)
    if url.startswith("https:") and not response.url.startswith("https:"):
        response.close()
        raise DataError(f"{url}: redirected to {response.url}, which is not https")
    return cast(BinaryIO, response)


def _is_loopback(url: str) -> bool:
    host = urllib.parse.urlsplit(url).hostname or ""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:  # a name
        return False
