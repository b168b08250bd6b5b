"""A million visits through the commands that read traces: memory, and rates of this machine."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest

from harness.trace.codec import open_trace
from harness.trace.model import Header
from harness.trace.writer import write_trace
from tests.prove.evidence import ROOT, store

VISITS = 1_000_000
LIMIT_MB = 200
SEED = 5
RATE_HZ = 200
SECTIONS = ["shoes", "sale", "support", "billing", "computers"]
_OUT = ("-o", "out.jsonl.zst")
COMMANDS = {
    "stat": ("stat", "day.jsonl", "--json"),
    "sample": ("sample", "day.jsonl", "--fraction", "0.5", *_OUT),
    "slice": ("slice", "day.jsonl", "--from", f"{VISITS / RATE_HZ / 10}s", *_OUT),
    "warp": ("warp", "day.jsonl", "--speed", "3", "--think", *_OUT),
    "merge": ("merge", "half.jsonl", "half.jsonl", *_OUT),
    "anonymize": ("anonymize", "day.jsonl", "out.jsonl.zst", "--key-file", "key"),
    "anonymize with a policy": (
        "anonymize", "day.jsonl", "out.jsonl.zst", "--key-file", "key", "--policy", "policy.toml"
    ),
}  # fmt: skip


def visits(count: int, seed: int) -> Iterator[bytes]:
    """Visits of visitors that differ in everything personal; one in ten comes again, one in four has a second step."""
    rng = random.Random(seed)
    at_s = 0.0
    back: list[int] = []
    for number in range(count):
        at_s += rng.expovariate(RATE_HZ)
        returning = len(back) > 1000 and rng.random() < 0.1
        visitor = back.pop(rng.randrange(len(back))) if returning else number
        returns = not returning and rng.random() < 0.2
        if returns:
            back.append(visitor)
        details = {
            "deviceFamily": "DESKTOP",
            "ipAddress": f"10.{visitor >> 16}.{visitor >> 8 & 255}.{visitor & 255}",
            "osVersion": "14.4",
        }
        contact = {"email": f"noa{visitor}@example.com", "phone": f"+1 202 {visitor:07}"}
        attributes: list[dict[str, Any]] = [
            {"type": "ctmrinfo", "info": {"customerId": f"C{visitor:07}", "balance": 838.15, "currency": "USD"}},
            {"type": "personal", "personal": {"lastname": f"Surname{visitor % 90_000}", "contacts": [contact]}},
        ]
        sections = {"consumerSections": [rng.choice(SECTIONS)], "appType": "EXTERNAL"}
        request = {"appDetails": details, "engagementAttributes": attributes, **sections}
        steps: list[dict[str, Any]] = [
            {"op": "get_engagement", "think": 0, "identity": "return" if returning else "fresh", "request": request}
        ]
        if number % 4 == 1:
            think = round(rng.expovariate(0.1), 3)
            steps.append({"op": "get_engagement", "think": think, "identity": "chain", "request": sections})
        line = {"visit": f"v-{number:07}", "visitor": f"u{visitor}", "at": round(at_s, 3), "returns": returns}
        yield orjson.dumps({**line, "cohort": "mobile" if number % 3 else "desktop", "steps": steps})


def run(folder: Path, *arguments: str) -> dict[str, float]:
    """One command: wall and CPU seconds, and the most memory it held."""
    began_s = time.monotonic()
    child = subprocess.Popen(
        [sys.executable, "-m", "harness", "trace", *arguments],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.DEVNULL,
    )
    _, status, usage = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(status)
    assert child.returncode == 0, arguments
    return {
        "wall_s": round(time.monotonic() - began_s, 1),
        "cpu_s": round(usage.ru_utime + usage.ru_stime, 1),
        "rss_max_mb": round(usage.ru_maxrss / 1024, 1),
    }


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A trace of all visits, one of half of them, a key and a policy."""
    made = tmp_path_factory.mktemp("scale")
    write_trace(made / "day.jsonl", Header(harness_trace=1), visits(VISITS, SEED))
    write_trace(made / "half.jsonl", Header(harness_trace=1), visits(VISITS // 2, SEED + 1))
    (made / "key").write_text("a key of more than sixteen bytes")
    (made / "policy.toml").write_text('[fields]\nconsumerSections = "keep"\n')
    return made


@pytest.mark.parametrize("name", COMMANDS)
def test_a_million_visits_in_200_mb(name: str, folder: Path) -> None:
    """1,000,000 visits through the command in at most 200 MB; the rate counts visits read."""
    figures = run(folder, *COMMANDS[name])
    figures["visits_per_cpu_s"] = round(VISITS / figures["cpu_s"])
    promise = f"{name}: {test_a_million_visits_in_200_mb.__doc__}"
    store(f"trace-scale-{name.replace(' ', '-')}", promise, {"visits": VISITS, **figures}, seeds=[SEED])
    if name == "sample":
        assert 0.49 * VISITS < sum(1 for _ in open_trace(folder / "out.jsonl.zst")[1]) < 0.51 * VISITS
    elif name != "stat":
        at_least = 0.89 * VISITS if name == "slice" else VISITS
        assert at_least <= sum(1 for _ in open_trace(folder / "out.jsonl.zst")[1]) <= VISITS
    assert figures["rss_max_mb"] <= LIMIT_MB
