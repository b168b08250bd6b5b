"""Calls that are routed without being written are those that the service would read."""

from __future__ import annotations

import re
from collections.abc import Iterator

import orjson
import pytest

from harness.errors import UsageError
from harness.sim.routed import Account
from harness.trace.codec import decode_visit
from harness.units import NS_PER_S
from harness.visitor.calls import Calls
from harness.visitor.identity import Identities
from harness.visitor.retry import POLICIES
from harness.visitor.session import Rules, Sink, VisitorSession
from harness.wire.render import CallRenderer
from harness.wire.reply import Reply
from harness.wire.route import Call, route

STEPS = [
    {"op": "get_engagement", "identity": "return", "request": {"engagementAttributes": [{"type": "cart"}]}},
    {"op": "update", "request": {"impAttributes": [{"type": "impDisplay"}]}},
    {"op": "get_engagement", "identity": "stale", "request": {}},
    {"op": "get_engagement", "identity": "fresh", "request": {}},
    {"op": "get_engagement", "request": {"appType": "EXTERNAL"}},
]
AVAILABLE = Reply("available", 200, "Vid-1_x", "Sid-1_x", "77", b'{"campaignId":"1","contextId":"2"}')
REPLIES = [Reply("server_error", 503), AVAILABLE, Reply("accepted", 200), AVAILABLE, AVAILABLE, AVAILABLE]


def _played(calls: Calls) -> Iterator[bytes]:
    """What a session hands over for each of its attempts, a retry among them."""
    visit = decode_visit(orjson.dumps({"visit": "v", "visitor": "p", "at": 0, "steps": STEPS}), "v")
    session = VisitorSession(visit, Rules(POLICIES["until-available"], 1, Identities(), Sink()), calls, 0, "~2")
    for number, reply in enumerate(REPLIES):
        now_ns = number * 10 * NS_PER_S
        action = session.next_action(now_ns)
        assert isinstance(action, bytes)
        yield action
        session.resolve(reply, now_ns, now_ns, now_ns, now_ns)


def _read(request: bytes) -> tuple[Call | None, bytes]:
    """What a server finds in the bytes of a request."""
    head, _, body = request.partition(b"\r\n\r\n")
    method, target, _ = head.split(b"\r\n")[0].split(b" ")
    attempt = re.search(rb"X-Harness-Attempt: (\S+)", head)
    assert attempt is not None
    return route(method, target, attempt[1].decode()), body


def test_a_routed_call_is_the_call_that_the_service_reads_from_the_bytes() -> None:
    """Call and body of every kind of step equal what `route` finds in what the engine would send."""
    account = Account("12345678")
    routed = [(account.renderer.call, body) for body in _played(account.calls)]
    sent = _played(Calls(CallRenderer(host="service.example", base_path="/base", account="12345678")))
    assert routed == [_read(request.replace(b"/base", b"", 1)) for request in sent]


def test_an_account_that_cannot_stand_in_a_request_is_refused() -> None:
    """As the engine would, before anything is played."""
    with pytest.raises(UsageError, match="account 'a b' is not usable"):
        Account("a b")
