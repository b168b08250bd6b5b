"""A million visits through the commands that read traces: memory, and rates of this machine."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from harness.bench.children import module, run_weighed
from harness.bench.trace_tools import RATE_HZ, made_up_visits
from harness.trace.codec import open_trace
from harness.trace.model import Header
from harness.trace.writer import write_trace
from tests.prove.evidence import store

VISITS = 1_000_000
LIMIT_MB = 200
SEED = 5
LIMIT_S = 3_600
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


def run(folder: Path, *arguments: str) -> dict[str, float]:
    """One command: wall and CPU seconds, and the most memory it held."""
    began_s = time.monotonic()
    ended, rss_max_bytes = run_weighed(module("harness", "trace", *arguments), folder, limit_s=LIMIT_S)
    assert ended.exit_code == 0, ended.last_words
    return {
        "wall_s": round(time.monotonic() - began_s, 1),
        "cpu_s": round(ended.cpu_s, 1),
        "rss_max_mb": round(rss_max_bytes / 1e6, 1),
    }


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A trace of all visits, one of half of them, a key and a policy."""
    made = tmp_path_factory.mktemp("scale")
    write_trace(made / "day.jsonl", Header(harness_trace=1), made_up_visits(VISITS, SEED))
    write_trace(made / "half.jsonl", Header(harness_trace=1), made_up_visits(VISITS // 2, SEED + 1))
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
