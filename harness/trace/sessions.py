"""Page views become visits: put into order, cut at pauses, and given the identity rules of a returning visitor.

Three stages, each a generator with bounded memory. `in_order` sorts within a window of time (servers write a line when
the answer ends, so neighbours are out of order). `cut_sessions` gives sessions by their start: it holds the
open ones, and those that ended while an earlier one was still open. `import_visits` gives visits; whether a
visitor comes again is known only later, so lines wait in a spool file until the log's end.
"""

from __future__ import annotations

import heapq
from collections import OrderedDict, deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path

import msgspec
import orjson

from harness.errors import TraceError
from harness.trace.accesslog import PageView
from harness.trace.codec import encode_visit
from harness.trace.lines import BadLines
from harness.trace.model import Header, Step, Visit
from harness.trace.spool import open_spool
from harness.trace.useragent import Agent
from harness.trace.writer import write_trace

GAP_S = 30 * 60
WINDOW_S = 120
# A visit never lasts longer than a monitor session lives (contract section 3); also bounds what waits in memory.
LONGEST_S = 6 * 3600
MAX_HELD = 1_000_000


@dataclass(slots=True)
class Session:
    """The page views of one visitor without a long pause between them, in seconds since 1970."""

    visitor: str
    agent: Agent
    views_s: list[int]
    ended: bool = False


def in_order(views: Iterable[PageView], bad: BadLines, window_s: int = WINDOW_S) -> Iterator[PageView]:
    """The same page views ordered by time (equal times keep their order).

    A view may stand at most `window_s` behind the latest one before it; an older one goes to `bad`. At most a million
    views are held: on a busier log the window is shorter.
    """
    held: list[tuple[int, int, PageView]] = []
    latest_s = released_s = 0
    for number, view in enumerate(views):
        if view.at_s < released_s:
            late_s = latest_s - view.at_s
            bad.add(TraceError(f"{view.where}: {late_s} s older than lines before it: sort the log, oldest file first"))
            continue
        latest_s = max(latest_s, view.at_s)
        heapq.heappush(held, (view.at_s, number, view))
        while held[0][0] < latest_s - window_s or len(held) > MAX_HELD:
            released_s, _, oldest = heapq.heappop(held)
            yield oldest
    while held:
        yield heapq.heappop(held)[2]


def cut_sessions(views: Iterable[PageView], gap_s: int = GAP_S, longest_s: int = LONGEST_S) -> Iterator[Session]:
    """Sessions ordered by their first view, from ordered views; a pause above `gap_s` ends one, so does `longest_s`."""
    running: OrderedDict[str, Session] = OrderedDict()
    by_start: deque[Session] = deque()
    for view in views:
        # `running` is ordered by the last view, so those that have ended stand first.
        while running and view.at_s - (quiet := next(iter(running.values()))).views_s[-1] > gap_s:
            running.popitem(last=False)
            quiet.ended = True
        session = running.get(view.visitor)
        if session is not None and view.at_s - session.views_s[0] <= longest_s:
            session.views_s.append(view.at_s)
            running.move_to_end(view.visitor)
        else:
            if session is not None:
                session.ended = True
                del running[view.visitor]
            running[view.visitor] = session = Session(view.visitor, view.agent, [view.at_s])
            by_start.append(session)
        while by_start and by_start[0].ended:
            yield by_start.popleft()
    yield from by_start


def import_visits(sessions: Iterable[Session], target: str | Path) -> tuple[int, int]:
    """Write sessions (ordered by start) as a trace to a path or `-`; returns (visits, steps).

    The first step of a visit is `fresh`, or `return` when the visitor came before; the others `chain`. The trace
    begins at the first visit. Memory: one small entry for each visitor. Raises `TraceError`
    when there is no session, otherwise as `harness.trace.writer.open_output`.
    """
    returns = bytearray()
    latest_visit: dict[int, int] = {}
    first_s = last_s = steps = 0
    with open_spool() as spool:
        for index, session in enumerate(sessions):
            last_s = session.views_s[0]
            first_s = first_s if index else last_s
            steps += len(session.views_s)
            key = int(session.visitor, 16)
            earlier = latest_visit.get(key)
            if earlier is not None:
                returns[earlier] = 1
            latest_visit[key] = index
            returns.append(0)
            spool.write(encode_visit(_visit(index, session, first_s, came_before=earlier is not None)) + b"\n")
        if not returns:
            raise TraceError("the log holds no page view of a person: nothing was written")
        header = Header(
            harness_trace=1,
            source="access log",
            created=datetime.fromtimestamp(first_s, UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
            visits=len(returns),
            span_s=float(last_s - first_s),
            anonymized=True,
        )
        spool.seek(0)
        write_trace(target, header, (_marked(line, flag) for line, flag in zip(spool, returns, strict=True)))
    return len(returns), steps


def _visit(index: int, session: Session, first_s: int, *, came_before: bool) -> Visit:
    request = msgspec.Raw(_request(session.agent))
    steps = [Step(op="get_engagement", identity="return" if came_before else "fresh", request=request)]
    for before_s, at_s in pairwise(session.views_s):
        steps.append(Step(op="get_engagement", think=float(at_s - before_s), request=request))
    return Visit(
        id=f"v-{index + 1:06d}",
        visitor=session.visitor,
        at=float(session.views_s[0] - first_s),
        cohort=session.agent.cohort,
        steps=steps,
    )


def _request(agent: Agent) -> bytes:
    details = {"deviceFamily": agent.cohort.upper(), "os": agent.os, "osVersion": agent.os_version}
    known = {key: value for key, value in details.items() if value is not None}
    return orjson.dumps({"appDetails": known, "appType": "EXTERNAL"})


def _marked(line: bytes, returns: int) -> bytes:
    """A spooled line, with `returns` as it turned out; the key stands before anything that could look like it."""
    line = line.rstrip(b"\n")
    return line.replace(b'"returns":false', b'"returns":true', 1) if returns else line
