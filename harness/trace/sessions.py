"""Page views become visits: put into order, cut at pauses, and given the identity rules of a returning visitor.

Three stages, each a generator with bounded memory. `in_time` orders (servers write a line when the answer ends, and
files may come in any order). `cut_sessions` gives sessions by their start: it holds the open ones, and those that ended
while an earlier one was still open. `drafts` gives visits.

Whose a view is, ids say where there are any; a client (address and agent) is the visitor otherwise, and the session of
a client without ids takes up the first ids that its client shows.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import pairwise
from typing import Final

import msgspec
import orjson

from harness.trace.accesslog import PageView
from harness.trace.intake.assemble import Draft
from harness.trace.model import Step
from harness.trace.order import Packing, in_order
from harness.trace.useragent import Agent
from harness.units import NS_PER_S

GAP_NS: Final = 30 * 60 * NS_PER_S
# A visit never lasts longer than a monitor session lives (contract section 3); also bounds what waits in memory.
LONGEST_NS: Final = 6 * 3600 * NS_PER_S
_SORTED_AT_A_TIME: Final = 50_000


@dataclass(slots=True)
class Session:
    """The views of one visitor without a long pause between them, in ns since 1970; `updates` are places in them."""

    visitor: str
    agent: Agent | None
    views_ns: list[int]
    updates: set[int] = field(default_factory=set)
    client: str = ""
    ids: str = ""
    ended: bool = False

    @property
    def cohort(self) -> str:
        """The device class, or `all` where the agent is not known."""
        return self.agent.cohort if self.agent is not None else "all"


_VIEWS: Final = Packing[PageView](
    key=lambda view: view.at_ns,
    pack=msgspec.msgpack.encode,
    unpack=msgspec.msgpack.Decoder(PageView).decode,
)


def in_time(views: Iterable[PageView]) -> Iterator[PageView]:
    """The same page views ordered by time (equal times keep their order), in bounded memory."""
    return in_order(views, _VIEWS, _SORTED_AT_A_TIME)


def cut_sessions(views: Iterable[PageView], gap_ns: int = GAP_NS, longest_ns: int = LONGEST_NS) -> Iterator[Session]:
    """Sessions ordered by their first view, from ordered views; a pause above `gap_ns` ends one, or `longest_ns`."""
    return _Cutter(gap_ns, longest_ns).cut(views)


class _Cutter:
    """The open sessions, ordered by their last view, and who they belong to."""

    def __init__(self, gap_ns: int, longest_ns: int) -> None:
        self._gap_ns = gap_ns
        self._longest_ns = longest_ns
        self._by_start: deque[Session] = deque()
        self._running: OrderedDict[int, Session] = OrderedDict()
        self._by_client: dict[str, Session] = {}
        self._by_ids: dict[str, Session] = {}
        # What a visitor is called who was first seen without ids.
        self._names: dict[str, str] = {}

    def cut(self, views: Iterable[PageView]) -> Iterator[Session]:
        running = self._running
        for view in views:
            while running and view.at_ns - (quiet := next(iter(running.values()))).views_ns[-1] > self._gap_ns:
                self._end(quiet)
            session = self._of(view)
            if session is not None and view.at_ns - session.views_ns[0] > self._longest_ns:
                self._end(session)
                session = None
            if session is None:
                session = self._begin(view)
            else:
                session.views_ns.append(view.at_ns)
                running.move_to_end(id(session))
            if view.update:
                session.updates.add(len(session.views_ns) - 1)
            if view.ids and session.ids != view.ids:
                session.ids = view.ids
                self._by_ids[view.ids] = session
                self._names.setdefault(view.ids, session.visitor)
            while self._by_start[0].ended:
                yield self._by_start.popleft()
        yield from self._by_start

    def _of(self, view: PageView) -> Session | None:
        if not view.ids:
            return self._by_client.get(view.client)
        session = self._by_ids.get(view.ids)
        if session is None and view.ids not in self._names:
            candidate = self._by_client.get(view.client)
            session = candidate if candidate is not None and not candidate.ids else None
        return session

    def _begin(self, view: PageView) -> Session:
        visitor = self._names.get(view.ids, view.ids) if view.ids else view.client
        session = Session(visitor, view.agent, [view.at_ns], client=view.client)
        self._running[id(session)] = self._by_client[view.client] = session
        self._by_start.append(session)
        return session

    def _end(self, session: Session) -> None:
        session.ended = True
        del self._running[id(session)]
        if self._by_client.get(session.client) is session:
            del self._by_client[session.client]
        if self._by_ids.get(session.ids) is session:
            del self._by_ids[session.ids]


def drafts(sessions: Iterable[Session]) -> Iterator[Draft]:
    """The sessions as visits.

    The first step is `fresh`, or `return` when the visitor came before; the others `chain` with the pauses as think
    times. Memory: the names of all visitors.
    """
    seen: set[str] = set()
    for session in sessions:
        came_before = session.visitor in seen
        seen.add(session.visitor)
        request = msgspec.Raw(_request(session.agent))
        steps = []
        for number, (before_ns, at_ns) in enumerate(pairwise([session.views_ns[0], *session.views_ns])):
            update = number in session.updates
            steps.append(
                Step(
                    op="update" if update else "get_engagement",
                    identity="chain" if number else "return" if came_before else "fresh",
                    think=(at_ns - before_ns) / NS_PER_S,
                    request=msgspec.Raw(b"{}") if update else request,
                )
            )
        yield Draft(session.views_ns[0], session.visitor, session.cohort, steps)


@lru_cache(maxsize=4096)
def _request(agent: Agent | None) -> bytes:
    if agent is None:
        return b'{"appType":"EXTERNAL"}'
    details = {"deviceFamily": agent.cohort.upper(), "os": agent.os, "osVersion": agent.os_version}
    known = {key: value for key, value in details.items() if value is not None}
    return orjson.dumps({"appDetails": known, "appType": "EXTERNAL"})
