"""A report in headless Chromium, without a network."""

from __future__ import annotations

import html
import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
VISIT = Path(__file__).parent / "visit_report.js"
LISTEN = """<script>window.reportErrors = [];
window.addEventListener("error", ({message}) => window.reportErrors.push(message));
window.addEventListener("unhandledrejection", ({reason}) => window.reportErrors.push(`${reason}`));
</script>"""


def visit(report: Path, folder: Path) -> tuple[dict[str, Any], list[str]]:
    """Return what a visitor finds in a report, and the errors that the browser's console shows.

    `start` is the text of the first page. `categories` has, by name, a mapping for each result:
    `label`, `path`, `caption`, and `shown`: an `image` of a `width`, or a `page` with its `text`.
    """
    page = folder / "visited.html"
    text = report.read_text(encoding="utf-8").replace("<head>", f"<head>{LISTEN}", 1)
    before, end, after = text.rpartition("</body>")
    page.write_text(f"{before}<script>{VISIT.read_text()}</script>{end}{after}", encoding="utf-8")
    printed = chromium(folder, "--dump-dom", "--virtual-time-budget=600000", page.as_uri())
    found = re.search(r'<pre id="found">(.*?)</pre>', printed.stdout, re.DOTALL)
    assert found, printed.stderr[-3000:]
    console = re.findall(r"CONSOLE.*?\] (.*)", printed.stderr)
    result = json.loads(html.unescape(found.group(1)))
    return result, [*result.pop("errors"), *(line for line in console if "error" in line.lower())]


def chromium(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run headless Chromium, with a fresh profile and no network."""
    assert CHROMIUM
    command = [
        *(CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--window-size=1600,1000"),
        *("--host-resolver-rules=MAP * ~NOTFOUND", f"--user-data-dir={folder / 'profile'}"),
        *("--enable-logging=stderr", "--log-level=0", *arguments),
    ]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=500)
