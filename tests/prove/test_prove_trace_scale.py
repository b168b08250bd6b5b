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

from harness.trace.codec import open_trace
from harness.trace.model import Header
from harness.trace.writer import write_trace
from tests.prove.evidence import ROOT, store

VISITS = 1_000_000
LIMIT_MB = 200
SEED = 5
POLICY = '[fields]\nconsumerSections = "keep"\n"purchase.cart.products.product.name" = "keep"\n'
SECTIONS = ["shoes", "sale", "support", "billing", "computers"]
PRODUCTS = ["Notebook 13", "Desk lamp", "Trail shoe", "Water bottle"]


def visits(count: int, seed: int) -> Iterator[bytes]:
    """Visits with everything personal that there is, different for each visitor; one in five comes again."""
    rng = random.Random(seed)
    at_s = 0.0
    back: list[int] = []
    for number in range(count):
        at_s += rng.expovariate(200)
        returning = len(back) > 1000 and rng.random() < 0.5
        visitor = back.pop(rng.randrange(len(back))) if returning else number
        returns = not returning and rng.random() < 0.2
        if returns:
            back.append(visitor)
        device = {"deviceFamily": "DESKTOP", "os": "MAC_OSX", "osVersion": "14.4"}
        details = {
            "appVersion": "3.0",
            "ipAddress": f"10.{visitor >> 16}.{visitor >> 8 & 255}.{visitor & 255}",
            **device,
        }
        product = {"name": rng.choice(PRODUCTS), "category": "c", "sku": "CO-1300", "price": 899.0}
        attributes: list[dict[str, Any]] = [
            {"type": "ctmrinfo", "info": {"customerId": f"C{visitor:07}", "balance": 838.15, "currency": "USD"}},
            {
                "type": "personal",
                "personal": {
                    "firstname": f"Noa{visitor % 5000}",
                    "lastname": f"Surname{visitor % 90_000}",
                    "age": {"age": 26.0, "year": 1999, "month": 6, "day": 5},
                    "contacts": [{"email": f"noa{visitor}@example.com", "phone": f"+1 202 {visitor:07}"}],
                },
            },
            {
                "type": "purchase",
                "total": 1798.0,
                "orderId": f"O{number}",
                "cart": {"products": [{"product": product, "quantity": 2}], "numItems": 2},
            },
        ]
        request = {
            "appDetails": details,
            "consumerSections": [rng.choice(SECTIONS)],
            "engagementAttributes": attributes,
            "appType": "EXTERNAL",
        }
        steps: list[dict[str, Any]] = [
            {"op": "get_engagement", "think": 0, "identity": "return" if returning else "fresh", "request": request}
        ]
        if number % 2:
            later = {"appDetails": details, "consumerSections": ["support"], "appType": "EXTERNAL"}
            think = round(rng.expovariate(0.1), 3)
            steps.append({"op": "get_engagement", "think": think, "identity": "chain", "request": later})
        if number % 4 == 1:
            steps.append({"op": "update", "think": 2, "request": {"impAttributes": [{"type": "impDisplay"}]}})
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


def measure(folder: Path, count: int) -> dict[str, dict[str, float]]:
    """Every command over a trace of so many visits; rates are visits read per CPU-second."""
    write_trace(folder / "day.jsonl.zst", Header(harness_trace=1), visits(count, SEED))
    write_trace(folder / "other.jsonl.zst", Header(harness_trace=1), visits(count // 10, SEED + 1))
    (folder / "key").write_text("a key of more than sixteen bytes")
    (folder / "policy.toml").write_text(POLICY)
    span_s = count / 200
    commands = {
        "stat": ("stat", "day.jsonl.zst", "--json"),
        "head": ("head", "day.jsonl.zst", "-n", str(count), "-o", "out.jsonl.zst"),
        "sample": ("sample", "day.jsonl.zst", "--fraction", "0.5", "-o", "out.jsonl.zst"),
        "slice": ("slice", "day.jsonl.zst", "--from", f"{span_s / 10}s", "-o", "out.jsonl.zst"),
        "warp": ("warp", "day.jsonl.zst", "--speed", "3", "--think", "-o", "out.jsonl.zst"),
        "merge": ("merge", "day.jsonl.zst", "other.jsonl.zst", "-o", "out.jsonl.zst"),
        "anonymize with a policy": (
            "anonymize", "day.jsonl.zst", "out.jsonl.zst", "--key-file", "key", "--policy", "policy.toml"
        ),
        "anonymize": ("anonymize", "day.jsonl.zst", "out.jsonl.zst", "--key-file", "key"),
    }  # fmt: skip
    found = {}
    for name, arguments in commands.items():
        figures = run(folder, *arguments)
        read = count + (count // 10 if name == "merge" else 0)
        found[name] = {**figures, "visits_per_cpu_s": round(read / figures["cpu_s"])}
        print(f"{name:24} {figures}  {found[name]['visits_per_cpu_s']} visits per CPU-second", flush=True)
    assert sum(1 for _ in open_trace(folder / "out.jsonl.zst")[1]) == count
    return found


def test_a_million_visits_in_200_mb(tmp_path: Path) -> None:
    """1,000,000 visits through stat, head, sample, slice, warp, merge and anonymize in at most 200 MB each."""
    found = measure(tmp_path, VISITS)
    store("trace-scale", test_a_million_visits_in_200_mb.__doc__ or "", {"visits": VISITS, **found}, seeds=[SEED])
    assert {name: figures["rss_max_mb"] for name, figures in found.items() if figures["rss_max_mb"] > LIMIT_MB} == {}
