"""Where a browser and the accessibility rules are: nothing in, a running Chromium and the text of axe-core out."""

from __future__ import annotations

import os
import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

_NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
# Fetched by npm for the tests alone; nothing of it is kept in the repository or in the package.
_AXE = "4.14.1"
_FETCH_S = 60.0


def missing(reason: str) -> None:
    """Skip the test; with PERFOPT_REQUIRE_BROWSER=1 fail it."""
    if os.environ.get("PERFOPT_REQUIRE_BROWSER") == "1":
        pytest.fail(reason)
    pytest.skip(reason)


def chromium_path() -> str:
    """Return the path of a Chromium, or skip."""
    named = os.environ.get("PERFOPT_CHROMIUM")
    found = named or next(filter(None, map(shutil.which, _NAMES)), None)
    if found is None:
        missing("no Chromium here; apt-get install chromium, or set PERFOPT_CHROMIUM")
    return str(found)


@contextmanager
def running_browser() -> Iterator[object]:
    """Run a headless Chromium that asks nobody else for anything."""
    path = chromium_path()
    try:
        from playwright.sync_api import sync_playwright  # noqa: PLC0415 - only where a browser is
    except ImportError:
        missing("no playwright here; pip install playwright (no browser of its own is needed)")
    # Chromium's sandbox does not run as root, which is what a build machine's container is.
    arguments = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=arguments)
        try:
            yield browser
        finally:
            browser.close()


def axe_source() -> str:
    """Return the text of axe-core: from PERFOPT_AXE, from the cache, or fetched by npm into the cache; else skip."""
    named = os.environ.get("PERFOPT_AXE")
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    kept = Path(named) if named else cache / "otel-perfopt" / f"axe-core-{_AXE}.min.js"
    if not kept.is_file():
        _fetch(kept)
    return kept.read_text(encoding="utf-8")


def _fetch(kept: Path) -> None:
    npm = shutil.which("npm")
    if npm is None:
        missing("no axe-core here and no npm to fetch it; apt-get install npm, or set PERFOPT_AXE to axe.min.js")
    with tempfile.TemporaryDirectory() as folder:
        command = [str(npm), "pack", "--silent", f"axe-core@{_AXE}"]
        done = subprocess.run(
            command, cwd=folder, capture_output=True, text=True, timeout=_FETCH_S, check=False, stdin=subprocess.DEVNULL
        )
        archives = list(Path(folder).glob("*.tgz"))
        if done.returncode or not archives:
            missing(f"npm could not fetch axe-core {_AXE}: {done.stderr.strip()[-300:]}")
        with tarfile.open(archives[0]) as archive:
            member = archive.extractfile("package/axe.min.js")
            assert member is not None
            text = member.read()
        kept.parent.mkdir(parents=True, exist_ok=True)
        part = Path(folder) / "axe.min.js"
        part.write_bytes(text)
        # Several test processes may do this at once.
        shutil.copyfile(part, kept.with_suffix(f".{os.getpid()}"))
        kept.with_suffix(f".{os.getpid()}").replace(kept)
