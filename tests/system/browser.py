"""Debian's Chromium, headless: opens a page and tells what became of it."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from harness.dashboards.build import DASHBOARDS

FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--enable-logging=stderr",
    "--v=0",
    "--virtual-time-budget=3000",
)


def find_chromium() -> str:
    """The path of Chromium; without it the test is skipped, in CI it fails."""
    found = shutil.which("chromium")
    if found is None:
        if os.environ.get("CI") == "true":
            pytest.fail("chromium is missing: apt-get install chromium")
        pytest.skip("chromium is missing: apt-get install chromium")
    return found


def pictured(chromium: str, page: Path, profile: Path, picture: Path, width: int, height: int) -> None:
    """Writes a PNG of the page as it stands after its scripts ran, `width` by `height` pixels."""
    size = f"--window-size={width},{height}"
    shot = [f"--screenshot={picture}", size, "--hide-scrollbars", "--force-device-scale-factor=1"]
    subprocess.run(
        [chromium, *FLAGS, f"--user-data-dir={profile}", *shot, page.as_uri()],
        capture_output=True,
        timeout=120,
        check=True,
    )


def opened(chromium: str, page: Path, profile: Path, *flags: str) -> tuple[str, list[str]]:
    """The document after its scripts ran, and what the console said."""
    ran = subprocess.run(
        [chromium, *FLAGS, f"--user-data-dir={profile}", *flags, "--dump-dom", page.as_uri()],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    return ran.stdout, re.findall(r"CONSOLE.*", ran.stderr)


def assert_whole(page: Path, scratch: Path, names: list[str]) -> None:
    """The preview of these dashboards in a browser: every chart drawn, no empty panel, nothing on the console."""
    document, console = opened(find_chromium(), page, scratch / "profile")
    panels = [panel for name in names for panel in DASHBOARDS[name].panels]
    assert console == []
    assert re.findall(r'<figure class="[^"]*empty', document) == []
    assert document.count("<figure") == len(panels)
    assert document.count("<canvas") == sum(panel.kind != "stat" for panel in panels)
