"""What the service remembers of one account: visitors, their sessions, and when to forget them.

One heap entry per visitor and per session holds the earliest moment at which it may be forgotten; entries that turn
out to be too early are pushed again. So the sweep is cheap, needs no timer, and memory is bounded by what is alive.
All times are nanoseconds of scenario time.
"""

from __future__ import annotations

import heapq

from harness.record import Record
from harness.sim.scenario import Sessions

# Ended sids that a visitor is still known by, to tell "expired" from "never issued".
_ENDED_KEPT = 4
# Below this many entries of dismissed visitors it is not worth while to look for them.
_WORTH_CLEARING = 1_000


class Session(Record):
    """One server-side session: `asked` counts the visit's engagement calls, `calls` all calls of this session.

    `offer` is the ordinal of the engagement on offer (its contextId), 0 before the first.
    """

    __slots__ = ("asked", "began_ns", "calls", "last_ns", "offer", "offered_ns", "page_id", "patience", "sid", "vid")

    def __init__(
        self,
        sid: str,
        vid: str,
        began_ns: int,
        patience: int,
    ) -> None:
        self.sid = sid
        self.vid = vid
        self.began_ns = began_ns
        self.patience = patience
        self.last_ns = began_ns
        self.asked = self.calls = self.offer = self.offered_ns = 0
        self.page_id = ""


class Visitor(Record):
    """One device: its live sessions by sid, its last ended sids, and its number of calls."""

    __slots__ = ("calls", "ended", "last_ns", "sessions", "vid")

    def __init__(
        self,
        vid: str,
        last_ns: int,
    ) -> None:
        self.vid = vid
        self.last_ns = last_ns
        self.calls = 0
        self.sessions: dict[str, Session] = {}
        self.ended: tuple[str, ...] = ()


class Account:
    """The visitors and sessions of one account."""

    def __init__(self, name: str, limits: Sessions, first_ns: int) -> None:
        self.name = name
        self.first_ns = first_ns
        self.cold_calls = 0
        self.visitors: dict[str, Visitor] = {}
        self.sessions: dict[str, Session] = {}
        self._limits = limits
        self._forget: list[tuple[int, str, str]] = []

    def add_visitor(self, vid: str, now_ns: int) -> Visitor:
        """A new visitor known as `vid`, which must be unknown so far."""
        visitor = self.visitors[vid] = Visitor(vid, now_ns)
        heapq.heappush(self._forget, (now_ns + self._limits.remember_ns, vid, ""))
        return visitor

    def add_session(self, visitor: Visitor, sid: str, patience: int, now_ns: int) -> Session:
        """A new session of `visitor`; its first `patience` engagement calls come back not available."""
        session = self.sessions[sid] = visitor.sessions[sid] = Session(sid, visitor.vid, now_ns, patience)
        heapq.heappush(self._forget, (self._ends_ns(session), visitor.vid, sid))
        return session

    def end_session(self, session: Session) -> None:
        """The session is over; its sid stays known as an ended one for a while."""
        del self.sessions[session.sid]
        visitor = self.visitors[session.vid]
        del visitor.sessions[session.sid]
        visitor.ended = (*visitor.ended[1 - _ENDED_KEPT :], session.sid)

    def dismiss(self, vid: str) -> None:
        """Forget a visitor and its sessions at once; does nothing when there is none."""
        visitor = self.visitors.pop(vid, None)
        if visitor is None:
            return
        for sid in visitor.sessions:
            del self.sessions[sid]
        known = len(self.visitors) + len(self.sessions)
        if len(self._forget) > 2 * known + _WORTH_CLEARING:
            # As many as are left will be dismissed before the next time, so that each pays for a step or two.
            self._forget = [entry for entry in self._forget if self._knows(entry[1], entry[2])]
            heapq.heapify(self._forget)

    def _knows(self, vid: str, sid: str) -> bool:
        return sid in self.sessions if sid else vid in self.visitors

    def full(self, visitor: Visitor | None) -> bool:
        """Whether a cap forbids another session, for `visitor` (None: a new one) or the whole account."""
        limits = self._limits
        if limits.per_account is not None and len(self.sessions) >= limits.per_account:
            return True
        return visitor is not None and limits.per_visitor is not None and len(visitor.sessions) >= limits.per_visitor

    def spent(self, session: Session) -> bool:
        """Whether the session has had as many calls as one may have."""
        return self._limits.max_calls is not None and session.calls >= self._limits.max_calls

    def sweep(self, now_ns: int) -> None:
        """End the sessions and forget the visitors whose time has come."""
        forget = self._forget
        while forget and forget[0][0] <= now_ns:
            _, vid, sid = heapq.heappop(forget)
            due_ns = self._end_if_due(sid, now_ns) if sid else self._forget_if_due(vid, now_ns)
            if due_ns is not None:
                heapq.heappush(forget, (due_ns, vid, sid))

    def _end_if_due(self, sid: str, now_ns: int) -> int | None:
        """The later moment at which this session may end, or None when it is over."""
        session = self.sessions.get(sid)
        if session is None:
            return None
        ends_ns = self._ends_ns(session)
        if ends_ns > now_ns:
            return ends_ns
        self.end_session(session)
        return None

    def _forget_if_due(self, vid: str, now_ns: int) -> int | None:
        """The later moment at which this visitor may be forgotten, or None when it is."""
        visitor = self.visitors.get(vid)
        if visitor is None:
            return None
        due_ns = visitor.last_ns + self._limits.remember_ns
        for session in visitor.sessions.values():
            due_ns = max(due_ns, self._ends_ns(session))
        if due_ns > now_ns:
            return due_ns
        # A session that ends at this very moment has its own entry, perhaps behind this one.
        for session in tuple(visitor.sessions.values()):
            self.end_session(session)
        del self.visitors[vid]
        return None

    def _ends_ns(self, session: Session) -> int:
        ends_ns = session.began_ns + self._limits.max_age_ns
        if self._limits.idle_ns is None:
            return ends_ns
        return min(ends_ns, session.last_ns + self._limits.idle_ns)
