"""What a figure was taken on: the machine and the versions that matter to it."""

from __future__ import annotations

import os
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import harness
from harness.compiled import compiled

# What the product runs on; the distribution names.
PACKAGES = ("locust", "gevent", "httptools", "orjson", "msgspec", "pyzmq", "zstandard", "geventhttpclient")

_CPUINFO = Path("/proc/cpuinfo")


def machine() -> dict[str, object]:
    """Cores this process may use, processor model, kernel, architecture, load of the last minute."""
    return {
        "cores": len(os.sched_getaffinity(0)),
        "model": cpu_model(_CPUINFO.read_text() if _CPUINFO.exists() else ""),
        "kernel": platform.release(),
        "architecture": platform.machine(),
        "load_1m": round(os.getloadavg()[0], 2),
    }


def cpu_model(cpuinfo: str) -> str:
    """The processor's name in the text of /proc/cpuinfo; `unknown` where there is none."""
    names = [value.strip() for name, _, value in (line.partition(":") for line in cpuinfo.splitlines())
             if name.strip() == "model name"]  # fmt: skip
    return names[0] if names else "unknown"


def versions() -> dict[str, str | None]:
    """Versions of Python, the harness and its packages, and the engine's form; None for one that is not installed."""
    found: dict[str, str | None] = {
        "python": platform.python_version(),
        "harness": harness.__version__,
        "engine": "compiled" if compiled() else "interpreted",
    }
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = None
    return found
