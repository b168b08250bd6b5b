"""What the commands that read traces take: visits a CPU-second, and the most memory that each of them held.

Each reads a short trace and a long one, made up on the spot; the rate is the slope between the two, so that what it
costs to start Python cancels. The memory is that of the long run.
"""

from __future__ import annotations

import random
import statistics
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from harness.bench.children import BenchError, module, run_weighed
from harness.bench.subjects import Cost, slope

TOOLS = ("stat", "sample", "slice", "warp", "merge", "anonymize")
RATE_HZ = 200

_SEED = 5
_SHORT_VISITS = 200
_LIMIT_S = 180.0
_SECTIONS = ("shoes", "sale", "support", "billing", "computers")
_KEY = "a key of more than sixteen bytes"


def made_up_visits(count: int, seed: int) -> Iterator[bytes]:
    """Lines of a trace: visitors that differ in everything personal, `RATE_HZ` visits a second.

    One visit in ten is of a visitor that comes again, one in four has a second step.
    """
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
        sections = {"consumerSections": [rng.choice(_SECTIONS)], "appType": "EXTERNAL"}
        request = {"appDetails": details, "engagementAttributes": attributes, **sections}
        steps: list[dict[str, Any]] = [
            {"op": "get_engagement", "think": 0, "identity": "return" if returning else "fresh", "request": request}
        ]
        if number % 4 == 1:
            think = round(rng.expovariate(0.1), 3)
            steps.append({"op": "get_engagement", "think": think, "identity": "chain", "request": sections})
        line = {"visit": f"v-{number:07}", "visitor": f"u{visitor}", "at": round(at_s, 3), "returns": returns}
        yield orjson.dumps({**line, "cohort": "mobile" if number % 3 else "desktop", "steps": steps})


@dataclass(frozen=True)
class Taken:
    """One tool in one round: its rate, and the most memory that it held while it read the long trace."""

    visits_per_cpu_s: float
    rss_max_bytes: int


def trace_tools(
    folder: Path, visits: int, rounds: int, attempt: Callable[[str, Callable[[], Taken]], Taken | None]
) -> list[dict[str, Any]]:
    """A row for each tool, from `rounds` times both traces; the long one has `visits` more than the short one.

    `attempt` gets the name of each figure and what takes it, and gives None where that raised `BenchError`.
    """
    tools = _Tools(folder)
    taken: dict[str, list[Taken]] = {tool: [] for tool in TOOLS}
    for number in range(1, rounds + 1):
        for tool, of_tool in taken.items():
            figure = f"trace tools, round {number} of {rounds}: {tool}"
            found = attempt(figure, lambda t=tool: tools.take(t, visits))  # type: ignore[misc]
            if found is not None:
                of_tool.append(found)
    return [tool_row(tool, visits, of_tool) for tool, of_tool in taken.items()]


def tool_row(tool: str, visits: int, taken: Sequence[Taken]) -> dict[str, Any]:
    """The row of one tool: the median rate and the most memory of all rounds; None where there was no round."""
    rates = [each.visits_per_cpu_s for each in taken]
    return {
        "tool": tool,
        "visits": _SHORT_VISITS + visits,
        "visits_per_cpu_s": round(statistics.median(rates)) if rates else None,
        "rss_max_mb": round(max(each.rss_max_bytes for each in taken) / 1e6, 1) if taken else None,
        "rounds": [round(rate) for rate in rates],
    }


class _Tools:
    """The commands in a folder of their own, with the traces that they read."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir()
        (folder / "key").write_text(_KEY)

    def take(self, tool: str, more: int) -> Taken:
        """Runs the tool on both traces; raises `BenchError` when it fails, or the long one cost no more."""
        short, _ = self._run(tool, _SHORT_VISITS)
        long, rss_max_bytes = self._run(tool, _SHORT_VISITS + more)
        return Taken(slope(short, long), rss_max_bytes)

    def _run(self, tool: str, visits: int) -> tuple[Cost, int]:
        command = module("harness", "trace", tool, *self._arguments(tool, visits))
        ended, rss_max_bytes = run_weighed(command, self._folder, limit_s=_LIMIT_S)
        if ended.exit_code != 0:
            raise BenchError(f"harness trace {tool} ended with exit code {ended.exit_code}: {ended.last_words}")
        return Cost(visits, ended.cpu_s), rss_max_bytes

    def _arguments(self, tool: str, visits: int) -> list[str]:
        out = ["-o", "out.jsonl.zst"]
        match tool:
            case "stat":
                return [self._trace(visits), "--json"]
            case "sample":
                return [self._trace(visits), "--fraction", "0.5", *out]
            case "slice":
                return [self._trace(visits), "--from", f"{visits / RATE_HZ / 10}s", *out]
            case "warp":
                return [self._trace(visits), "--speed", "3", "--think", *out]
            case "merge":
                return [self._trace(visits // 2)] * 2 + out
            case _:
                return [self._trace(visits), "out.jsonl.zst", "--key-file", "key"]

    def _trace(self, visits: int) -> str:
        path = self._folder / f"{visits}.jsonl"
        if not path.exists():
            header = orjson.dumps({"harness_trace": 1, "source": "bench", "visits": visits})
            path.write_bytes(b"\n".join((header, *made_up_visits(visits, _SEED))) + b"\n")
        return path.name
