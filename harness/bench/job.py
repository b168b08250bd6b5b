"""What the bench asks of the bare engine, and what it is told: the two ends of a pipe."""

from __future__ import annotations

from typing import Any

import msgspec
import orjson

from harness.config.model import ConnectionMode


class Job(msgspec.Struct, kw_only=True):
    """What to play: `visits` of `steps` chained calls against `url`, `slots` open at once or `rate_hz` arriving.

    With `hold` set a visit makes one call and then stays open: the resident memory is read when `hold` of them are
    open, and again when all are. `config` holds further fields of `RunConfig`.
    """

    url: str
    visits: int
    steps: int = 3
    slots: int | None = None
    rate_hz: float | None = None
    connections: ConnectionMode = "pooled"
    hold: int | None = None
    limit_s: float = 60.0
    config: dict[str, Any] = {}


class Play(msgspec.Struct, kw_only=True):
    """What came of it; lag in ms, `cpu_s` of the play alone, `rss_bytes` at the two moments of a `hold`."""

    attempts: int
    wall_s: float
    cpu_s: float
    lag_p50_ms: float | None
    lag_p99_ms: float | None
    rss_bytes: list[int]


def visit_line(steps: int, think_s: float = 0.0) -> bytes:
    """A visit of the bench as a trace line: chained getEngagement calls, `think_s` before each but the first."""
    request = {"appType": "EXTERNAL", "consumerSections": ["Support"], "appDetails": {"deviceFamily": "MOBILE"}}
    first = {"op": "get_engagement", "think": 0, "identity": "fresh", "request": request}
    later = {**first, "think": think_s, "identity": "chain"}
    visit = {"visit": "v", "visitor": "p", "at": 0, "cohort": "all", "steps": [first, *[later] * (steps - 1)]}
    return orjson.dumps(visit)
