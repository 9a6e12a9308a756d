"""Headless Chromium, led through its DevTools protocol: https://chromedevtools.github.io/."""

from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from io import BufferedReader
from pathlib import Path
from typing import Any, BinaryIO

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
OPTIONS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"),
    *("--host-resolver-rules=MAP * ~NOTFOUND", "--remote-debugging-pipe"),
)


class Page:
    """A page of a browser: opens files, runs scripts, and keeps what the console says."""

    def __init__(self, to: BinaryIO, back: BufferedReader) -> None:
        self._to, self._back = to, back
        self._count, self._rest, self._session = 0, b"", ""
        self._events: list[dict[str, Any]] = []
        target = self._call("Target.createTarget", url="about:blank")["targetId"]
        attached = self._call("Target.attachToTarget", targetId=target, flatten=True)
        self._session = attached["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self._call(f"{domain}.enable")

    def resize(self, width: int, height: int) -> None:
        """Make the window so many pixels wide and high; a phone's, where it is narrow."""
        mobile = width < 600
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": mobile}
        self._call("Emulation.setDeviceMetricsOverride", **size)

    def open(self, path: Path) -> list[str]:
        """Open a file, and return what went wrong: see `faults`."""
        self._events.clear()
        self._call("Page.navigate", url=path.as_uri())
        while not any(event["method"] == "Page.loadEventFired" for event in self._events):
            self._events.append(self._receive())
        self.run("new Promise((done) => setTimeout(done, 300))")
        return self.faults()

    def faults(self) -> list[str]:
        """Return what went wrong since a file was opened: on the console, and what didn't load."""
        return [text for event in self._events for text in _fault(event)]

    def run(self, script: str) -> Any:
        """Return what a script comes to; a promise is waited for."""
        asked = {"expression": script, "awaitPromise": True, "returnByValue": True}
        done = self._call("Runtime.evaluate", **asked)
        assert "exceptionDetails" not in done, done
        return done["result"].get("value")

    def picture(self, path: Path, *, whole: bool = False) -> None:
        """Write what is seen, or the whole page, as PNG."""
        taken = self._call("Page.captureScreenshot", captureBeyondViewport=whole)
        path.write_bytes(base64.b64decode(taken["data"]))

    def _call(self, method: str, **values: Any) -> dict[str, Any]:
        self._count += 1
        message = {"id": self._count, "method": method, "params": values}
        if self._session:
            message["sessionId"] = self._session
        self._to.write(json.dumps(message).encode() + b"\0")
        self._to.flush()
        while (answer := self._receive()).get("id") != self._count:
            self._events.append(answer)
        assert "error" not in answer, answer
        result: dict[str, Any] = answer["result"]
        return result

    def _receive(self) -> dict[str, Any]:
        while b"\0" not in self._rest:
            read = self._back.read1(2**20)
            assert read, "the browser has ended"
            self._rest += read
        message, _, self._rest = self._rest.partition(b"\0")
        found: dict[str, Any] = json.loads(message)
        return found


def _fault(event: dict[str, Any]) -> Iterator[str]:
    method, values = event.get("method"), event.get("params", {})
    if method == "Runtime.exceptionThrown":
        yield str(values["exceptionDetails"])
    elif method == "Runtime.consoleAPICalled" and values["type"] in ("error", "warning", "assert"):
        yield f"console: {values['args']}"
    elif method == "Log.entryAdded" and values["entry"]["level"] in ("error", "warning"):
        yield f"log: {values['entry']['text']} {values['entry'].get('url', '')}"
    elif method == "Network.loadingFailed" and not values.get("canceled"):
        yield f"not loaded: {values['errorText']}"
    elif method == "Network.requestWillBeSent":
        url = values["request"]["url"]
        if not url.startswith(("file:", "data:", "blob:")):
            yield f"asked for {url}"


@contextmanager
def browser(folder: Path) -> Iterator[Page]:
    """Start a browser with a fresh profile in a folder and no network; it ends with the block."""
    assert CHROMIUM
    to_browser, to = os.pipe()
    back, from_browser = os.pipe()
    command = [CHROMIUM, *OPTIONS, f"--user-data-dir={folder / 'profile'}"]
    # Chromium reads from 3 and writes to 4
    shell = f'exec "$@" 3<&{to_browser} 4>&{from_browser}'
    process = subprocess.Popen(
        ["bash", "-c", shell, "bash", *command],
        pass_fds=(to_browser, from_browser),
        stderr=subprocess.DEVNULL,
    )
    os.close(to_browser)
    os.close(from_browser)
    try:
        with os.fdopen(to, "wb") as writer, os.fdopen(back, "rb") as reader:
            yield Page(writer, reader)
    finally:
        process.terminate()
        process.wait(timeout=30)
