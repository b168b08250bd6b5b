"""Plays visits with the engine alone, in a process of its own: `python -m tests.system.engine_play` < job > outcome.

The parent (`play`) hands over a job as JSON and gets back every record, the connection counts and what was left behind.
gevent's loop runs here without Locust and without any patching.
"""

from __future__ import annotations

import gc
import json
import resource
import socket
import subprocess
import sys
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from time import monotonic_ns
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
_WITHOUT_RETRY = {"name": "none"}
_LINKS = Path("/proc/self/fd")
_STATM = Path("/proc/self/statm")


@dataclass(frozen=True)
class Played:
    """What a play left: records as dicts with names instead of numbers; descriptors and unreachable objects counted.

    With `tally` there are no records, but how often the visits of a kind (their name up to "-") had a result; `rss_mb`
    is the resident memory after each tenth of the visits.
    """

    attempts: list[dict[str, Any]]
    ends: dict[str, int]
    connections: dict[str, int]
    descriptors: tuple[int, int]
    cycles: int
    own_limits: int
    lag_max_ns: int
    tally: dict[str, dict[str, int]]
    rss_mb: list[float]

    def results(self) -> dict[str, list[str]]:
        """The attempts' results by visit, in order."""
        by_visit: dict[str, list[str]] = {}
        for attempt in self.attempts:
            by_visit.setdefault(attempt["visit"], []).append(attempt["result"])
        return by_visit


def visit(
    name: str, steps: int = 1, *, op: str = "get_engagement", body: str = "", think: float = 0.0
) -> dict[str, Any]:
    """A visit: the first step asks for an engagement, the others do `op`; `body` pads the getEngagement requests."""
    request = {"appType": "EXTERNAL"} | ({"appDetails": {"appVersion": body}} if body else {})
    first = {"op": "get_engagement", "identity": "fresh", "request": request}
    later = {"op": op, "identity": "chain", "think": think, "request": {} if op == "update" else request}
    return {"visit": name, "visitor": name, "at": 0, "steps": [first] + [later] * (steps - 1)}


def play(
    target: str,
    visits: list[dict[str, Any]],
    *,
    slots: int | None = None,
    addresses: list[tuple[str, int]] | None = None,
    descriptor_room: int | None = None,
    tally: bool = False,
    limit_s: float = 60,
    **config: Any,
) -> Played:
    """Plays the visits against `target` and returns when all are over; fails when that takes longer than `limit_s`.

    All are due at once, or run `slots` at a time. `addresses` stand in for DNS, `descriptor_room` limits how many
    descriptors may be opened, `tally` counts records instead of keeping them, `config` are fields of `RunConfig`.
    """
    config = {"run_id": "play", "trace": "-", "target": target, "retry": _WITHOUT_RETRY, **config}
    job = {"config": config, "visits": visits, "slots": slots, "addresses": addresses, "limit_s": limit_s}
    job |= {"descriptor_room": descriptor_room, "tally": tally}
    command = [sys.executable, "-m", "tests.system.engine_play"]
    done = subprocess.run(
        command, input=json.dumps(job), capture_output=True, text=True, cwd=ROOT, timeout=limit_s + 30, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    outcome = json.loads(done.stdout)
    return Played(**{**outcome, "descriptors": tuple(outcome["descriptors"])})


def _descriptors() -> int:
    return len(list(_LINKS.iterdir()))


def _leave_room(room: int) -> None:
    """Lets this process open exactly so many descriptors more."""
    used = {int(link.name) for link in list(_LINKS.iterdir()) if link.is_symlink()}
    limit = 0
    while room:
        room -= limit not in used
        limit += 1
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))


def _main() -> None:
    import gevent
    import msgspec
    import orjson
    from gevent.event import Event

    from harness.config.model import RunConfig
    from harness.engine.endpoint import resolve_endpoint
    from harness.engine.engine import Arrival, Engine
    from harness.visitor.records import Attempt, VisitEnd

    job = json.load(sys.stdin)
    config = msgspec.convert(job["config"], RunConfig)
    over = Event()
    ends = dict.fromkeys(VisitEnd, 0)
    crashes: list[BaseException] = []

    class Keep:
        """A recorder that keeps the attempts as they are."""

        def __init__(self) -> None:
            self.all: list[Attempt] = []
            self.own_limits = 0
            self.tally: dict[str, Counter[str]] = {}

        def attempts(self, batch: list[Attempt]) -> None:
            if not job["tally"]:
                self.all += batch
                return
            for attempt in batch:
                kind = attempt.visit.partition("-")[0]
                self.tally.setdefault(kind, Counter())[attempt.result.name] += 1

        def own_limit(self) -> None:
            self.own_limits += 1

        def ignore(self, *_: Any) -> None:
            return

        steps = visits = visit_started = loop_delay = stall = ignore

    def on_over(_ticket: int, end: VisitEnd) -> None:
        ends[end] += 1
        ended = sum(ends.values())
        if job["tally"] and ended * 10 // visits != (ended - 1) * 10 // visits:
            rss_mb.append(int(_STATM.read_text().split()[1]) * resource.getpagesize() / 1e6)
        if ended == visits:
            over.set()

    def on_crash(error: BaseException) -> None:
        crashes.append(error)
        over.set()

    def getaddrinfo(_host: str, _port: int, **_: Any) -> list[Any]:
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", tuple(address)) for address in job["addresses"]]

    hub = gevent.get_hub()
    endpoint = resolve_endpoint(config, getaddrinfo if job["addresses"] else socket.getaddrinfo)
    keep = Keep()
    visits = len(job["visits"])
    rss_mb: list[float] = []
    arrivals = [Arrival(0, orjson.dumps(visit), "", ticket) for ticket, visit in enumerate(job["visits"])]
    gevent.sleep(0)
    gc.collect()
    gc.disable()
    before = _descriptors()
    engine = Engine(
        config,
        endpoint,
        keep,
        hub.loop,
        on_over=on_over,
        on_second=lambda _second: engine.hear(monotonic_ns()),
        on_crash=on_crash,
        slots=job["slots"],
    )
    if job["descriptor_room"] is not None:
        _leave_room(job["descriptor_room"])
    engine.start(monotonic_ns())
    engine.add(arrivals)
    in_time = over.wait(job["limit_s"])
    if crashes:
        raise crashes[0]
    assert in_time, f"hangs: {engine.open_visits} visits open, {engine.queued} not begun, ended: {ends}"
    engine.fold()
    counts = engine.take_connection_counts()
    engine.close()
    cycles = gc.collect()
    attempts = [a.fields() | {"result": a.result.name, "chain": a.chain.name} for a in keep.all]
    outcome = {
        "attempts": attempts,
        "ends": {end.name: count for end, count in ends.items() if count},
        "connections": counts,
        "descriptors": (before, _descriptors()),
        "cycles": cycles,
        "own_limits": keep.own_limits,
        "tally": keep.tally,
        "rss_mb": rss_mb,
        "lag_max_ns": max((a.started_ns - a.planned_ns for a in keep.all if a.started_ns >= 0), default=0),
    }
    json.dump(outcome, sys.stdout)


if __name__ == "__main__":
    _main()
