"""Plays one session by hand: replies in the words of the contract, requests taken apart by a parser of their own."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

import msgspec

from harness.trace.model import Visit
from harness.visitor.calls import Calls
from harness.visitor.identity import Identities
from harness.visitor.records import Attempt, Result
from harness.visitor.retry import POLICIES, RetryPolicy
from harness.visitor.session import Rules, Sink, VisitorSession
from harness.wire.render import CallRenderer
from harness.wire.reply import read_reply

MS = 1_000_000
S = 1_000_000_000
OFFER = {"campaignId": "3346848610", "engagementId": "3562981110", "engagementRevision": 44, "contextId": "2"}


def engagement(status: str, vid: str | None = "V1", sid: str | None = "S1", page: str = "P1", **more: Any) -> bytes:
    """The body of a 200 to a getEngagement call; an id of None is left out."""
    ids = {key: value for key, value in (("visitorId", vid), ("sessionId", sid)) if value is not None}
    details = {"engagementDetails": OFFER} if status == "Available" else {}
    return json.dumps({"status": status, "pageId": page, **ids, **details, **more}).encode()


def failure(code: int | None = None, message: str = "no luck") -> bytes:
    """An error body."""
    return json.dumps({"time": 1, "message": message} | ({} if code is None else {"internalCode": code})).encode()


LOADING = (500, failure(20, "Loading account: 12345678, vid: HINT"))
AVAILABLE = (200, engagement("Available"))
NOT_AVAILABLE = (200, engagement("NotAvailable"))

# Every result, as the HTTP status and body that stand for it, or the fault itself.
ANSWERS: dict[str, tuple[int, bytes] | Result] = {
    "available": AVAILABLE,
    "not_available": NOT_AVAILABLE,
    "accepted": (200, b""),
    "loading": LOADING,
    "throttled": (429, b""),
    "rejected": (401, b""),
    "client_error": (400, failure(5)),
    "server_error": (503, b""),
    "redirect": (302, b""),
    "timeout": Result.timeout,
    "connect_error": Result.connect_error,
    "tls_error": Result.tls_error,
    "reset": Result.reset,
    "bad_reply": (200, b"<html>"),
    "internal_error": Result.internal_error,
}


@dataclass(frozen=True)
class Request:
    """A request as it left: ids are None when not sent, `attempt` is the X-Harness-Attempt header."""

    method: str
    vid: str | None
    sid: str | None
    attempt: str
    body: Any

    @property
    def ids(self) -> tuple[str | None, str | None]:
        return self.vid, self.sid


def parse_request(raw: bytes) -> Request:
    """Takes the bytes of a request apart."""
    head, _, body = raw.partition(b"\r\n\r\n")
    lines = head.decode().split("\r\n")
    method, target, _ = lines[0].split(" ")
    headers = dict(line.split(": ", 1) for line in lines[1:])
    path, _, query = target.partition("?")
    vid = path.removeprefix("/api/account/12345678/app/engagement/visitors/")
    sid = dict(part.split("=", 1) for part in query.split("&")).get("sid")
    assert int(headers["Content-Length"]) == len(body)
    return Request(method, vid or None, sid, headers["X-Harness-Attempt"], json.loads(body))


def step(op: str = "get_engagement", identity: str = "chain", think: float = 0, **request: Any) -> dict[str, Any]:
    return {"op": op, "identity": identity, "think": think, "request": request}


GE, FRESH, RETURN, STALE = (step(identity=rule) for rule in ("chain", "fresh", "return", "stale"))
UPDATE = step("update", impAttributes=[{"type": "impDisplay"}])


@dataclass
class World:
    """What the visits of a worker share."""

    policy: RetryPolicy = POLICIES["none"]
    seed: int = 7
    max_think_ns: int | None = None
    think_speed: float = 1.0
    sink: Sink = field(default_factory=Sink)
    identities: Identities = field(default_factory=Identities)

    def __post_init__(self) -> None:
        renderer = CallRenderer(host="target.test", base_path="", account="12345678")
        self.calls = Calls(renderer)
        self.rules = Rules(self.policy, self.seed, self.identities, self.sink, self.max_think_ns, self.think_speed)

    def visit(self, *steps: dict[str, Any], at_ns: int = 0, suffix: str = "", **more: Any) -> Player:
        line = {"visit": "v1", "visitor": "u1", "at": 0, "cohort": "c", "steps": steps or [GE]} | more
        visit = msgspec.json.decode(json.dumps(line), type=Visit)
        return Player(VisitorSession(visit, self.rules, self.calls, at_ns, suffix), self.sink)


class Player:
    """A session and the hand that plays it: each call to `ask` sends when due and answers 10 ms later."""

    def __init__(self, session: VisitorSession, sink: Sink) -> None:
        self.session = session
        self.sink = sink
        self.now_ns = session.due_ns

    def send(self) -> Request:
        """Goes to the moment when the next request is due, and takes it."""
        while isinstance(action := self.session.next_action(self.now_ns), int):
            self.now_ns = action
        assert isinstance(action, bytes), action
        return parse_request(action)

    def answer(
        self, answer: str | tuple[int, bytes] | Result, *, took_ns: int = 10 * MS, retry_after_ns: int = 0
    ) -> None:
        """Gives the request in flight its answer, named as in `ANSWERS` or in full."""
        if isinstance(answer, str):
            answer = ANSWERS[answer]
        sent_ns, self.now_ns = self.now_ns, self.now_ns + took_ns
        times = (sent_ns, sent_ns, sent_ns, self.now_ns)
        if isinstance(answer, Result):
            self.session.fault(answer, *times, "gone")
        else:
            self.session.resolve(read_reply(self.session.op, *answer), *times, retry_after_ns)

    def ask(self, answer: str | tuple[int, bytes] | Result, **more: Any) -> Request:
        """One attempt: sends what is due and answers it."""
        request = self.send()
        self.answer(answer, **more)
        return request

    @property
    def attempt(self) -> Attempt:
        """The latest attempt's record."""
        return self.sink.attempts[-1]

    @property
    def outcomes(self) -> list[str]:
        """Outcomes of the steps settled so far, of all visits."""
        return [record.outcome.name for record in self.sink.steps]


def ends(sink: Sink) -> list[tuple[str, str]]:
    """(visit, how it ended) in order."""
    return [(record.visit, record.end.name) for record in sink.visits]
