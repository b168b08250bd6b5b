"""What every request of a run carries besides its call: Accept-Encoding, the user's headers, traceparent."""

from __future__ import annotations

import re
from typing import Any

import msgspec
import pytest

from harness.config.model import RunConfig
from harness.engine.accounts import Accounts
from harness.engine.endpoint import Endpoint
from harness.visitor.calls import Calls
from harness.wire.reply import Reply

REQUEST = msgspec.Raw(b'{"appType":"EXTERNAL"}')
OFFER = Reply("available", 200, vid="v", sid="s", page_id="1", offer=b'{"campaignId":1}')
ENDPOINT = Endpoint("http://x.test", "x.test", "x.test", "", [])
TRACEPARENT = re.compile(rb"\r\ntraceparent: (.*)\r\n")


def calls(**config: Any) -> Calls:
    """The calls of a run's own account."""
    return Accounts(RunConfig(run_id="unit", trace="-", **config), ENDPOINT).calls_of(None)


def post(attempt: str = "v-1/0/1", **config: Any) -> bytes:
    """A getEngagement request."""
    return calls(**config).engagement(REQUEST, "vid", "sid", attempt)


def values(request: bytes, name: bytes) -> list[bytes]:
    """All values of a header, its name in any case."""
    head = request.partition(b"\r\n\r\n")[0]
    lines = [line.partition(b": ") for line in head.split(b"\r\n")[1:]]
    return [value for key, _, value in lines if key.lower() == name]


def test_replies_may_be_encoded_as_browsers_allow_it() -> None:
    """By default gzip and deflate are accepted; a header of the user's, in any case, takes that one's place."""
    assert values(post(), b"accept-encoding") == [b"gzip, deflate"]
    assert values(post(headers={"accept-encoding": "identity"}), b"accept-encoding") == [b"identity"]
    assert values(post(), b"user-agent") == [b"engagement-harness (unit)"]


def test_traceparent_is_sent_only_when_it_is_asked_for() -> None:
    """Without the setting the header is absent."""
    assert values(post(), b"traceparent") == []


@pytest.mark.parametrize("op", ["post", "put"])
def test_a_traced_request_is_the_plain_one_with_one_header_more(op: str) -> None:
    """The header follows the request line, is W3C's version 00 with the sampled flag, and all else stays the same."""

    def request(**config: Any) -> bytes:
        if op == "post":
            return post(**config)
        return calls(**config).update(REQUEST, "vid", "sid", "v-1/0/1", OFFER)

    traced = request(traceparent=True)
    (value,) = values(traced, b"traceparent")
    assert re.fullmatch(rb"00-[0-9a-f]{32}-[0-9a-f]{16}-01", value)
    assert TRACEPARENT.sub(b"\r\n", traced) == request()
    assert traced.split(b"\r\n")[1] == b"traceparent: " + value


def test_trace_ids_come_from_the_seed_and_the_attempt_alone() -> None:
    """The same seed and attempt give the same ids in every run; each attempt and each seed gives others."""

    def value(attempt: str, seed: int) -> bytes:
        (found,) = values(post(attempt, traceparent=True, seed=seed), b"traceparent")
        return found

    assert value("v-1/0/1", 1) == b"00-de8d76a269741805a32d1652cd42d2dd-f48ba8909dc5b900-01"
    attempts = [f"v-{visit}/{step}/{number}" for visit in range(5) for step in range(5) for number in range(1, 5)]
    ids = [value(attempt, seed).split(b"-") for attempt in attempts for seed in (1, 2)]
    assert len({trace for _, trace, _, _ in ids}) == len({span for _, _, span, _ in ids}) == 200
