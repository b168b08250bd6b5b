"""Evidence of long proofs: what was seen, with seeds, commit and machine, stored under docs/evidence/ as JSON."""

from __future__ import annotations

import json
import os
import platform
import subprocess
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "docs" / "evidence"


def store(name: str, promise: str, figures: Any, *, seeds: list[int]) -> None:
    """Writes docs/evidence/NAME.json: the promise, the figures seen, and where and from what they come."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    content = {
        "promise": promise,
        "figures": figures,
        "seeds": seeds,
        "commit": _git("rev-parse", "--short", "HEAD"),
        "changed_since": sorted(line[3:] for line in _git("status", "--porcelain", "harness").splitlines()),
        "seen_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": {
            "cores": os.cpu_count(),
            "processor": _processor(),
            "system": f"{platform.system()} {platform.release()}",
            "python": platform.python_version(),
        },
    }
    (FOLDER / f"{name}.json").write_text(json.dumps(content, indent=2) + "\n")


def _git(*args: str) -> str:
    done = subprocess.run(["git", *args], cwd=ROOT, capture_output=True, text=True, check=True, timeout=30)
    return done.stdout.rstrip()


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()
