"""Writing bodies: key order, what is filled in, what is left alone."""

from __future__ import annotations

from typing import Any

import pytest

from harness.errors import UsageError
from harness.wire.request import encode_engagement, encode_update

OFFER = {"campaignId": "3346848610", "engagementId": 3562981110, "contextId": "2", "engagementRevision": 44}
FILLED = b'"campaign":3346848610,"engId":3562981110,"revision":44'


@pytest.mark.parametrize(
    ("request_", "body"),
    [
        ({}, b'{"appType":"EXTERNAL"}'),
        ({"appType": "MSDK"}, b'{"appType":"MSDK"}'),
        (
            {"zeta": 1, "appType": "EXTERNAL", "engagementAttributes": [], "alpha": {"b": 1, "a": 2}, "appDetails": {}},
            b'{"appDetails":{},"engagementAttributes":[],"appType":"EXTERNAL","zeta":1,"alpha":{"b":1,"a":2}}',
        ),
        ({"consumerSections": ["Ünï", "\n"]}, '{"consumerSections":["Ünï","\\n"],"appType":"EXTERNAL"}'.encode()),
    ],
)
def test_engagement_body(request_: dict[str, Any], body: bytes) -> None:
    """The browser client's key order, UTF-8, no spaces, appType always, unknown keys behind in their own order."""
    assert encode_engagement(request_) == body


@pytest.mark.parametrize(
    ("request_", "details", "body"),
    [
        ({}, None, b'{"pageId":"77"}'),
        ({"pageId": "9"}, OFFER, b'{"pageId":"9"}'),
        (
            {"x": 1, "engagementAttributes": [{"type": "lead"}]},
            OFFER,
            b'{"pageId":"77","engagementAttributes":[{"type":"lead"}],"x":1}',
        ),
        (
            {"impAttributes": [{"type": "impAccept"}, {"type": "impClose"}]},
            OFFER,
            b'{"pageId":"77","impAttributes":[{"type":"impAccept",' + FILLED + b',"eContext":[{"type":'
            b'"engagementContext","id":"2"}]},{"type":"impClose",' + FILLED + b"}]}",
        ),
        (
            {"impAttributes": [{"type": "impDisplay", "campaign": 1, "eContext": []}]},
            {"contextId": 3, "engagementRevision": "x7"},
            b'{"pageId":"77","impAttributes":[{"type":"impDisplay","campaign":1,"eContext":[],"revision":"x7"}]}',
        ),
        ({"impAttributes": [{"type": "impTimeout"}]}, None, b'{"pageId":"77","impAttributes":[{"type":"impTimeout"}]}'),
        ({"impAttributes": ["odd"]}, OFFER, b'{"pageId":"77","impAttributes":["odd"]}'),
        ({"impAttributes": "odd"}, OFFER, b'{"pageId":"77","impAttributes":"odd"}'),
    ],
)
def test_update_body(request_: dict[str, Any], details: dict[str, Any] | None, body: bytes) -> None:
    """pageId first; events get campaign, engagement, revision as numbers and their context, but only where absent."""
    assert encode_update(request_, "77", details) == body


def test_the_request_stays_as_it_was() -> None:
    """Filling in the offer changes neither the trace's request nor the reply's details."""
    request_ = {"impAttributes": [{"type": "impDisplay"}]}
    details = dict(OFFER)
    encode_update(request_, "77", details)
    encode_engagement(request_)
    assert (request_, details) == ({"impAttributes": [{"type": "impDisplay"}]}, OFFER)


@pytest.mark.parametrize("bad", [{"a": 2**70}, {"a": "\ud800"}, {"a": {1}}])
def test_what_json_cannot_hold_is_a_usage_error(bad: dict[str, Any]) -> None:
    """Too big numbers, half characters and foreign objects give one clear line instead of a library's error."""
    with pytest.raises(UsageError, match="cannot be written as JSON"):
        encode_engagement(bad)
    with pytest.raises(UsageError, match="cannot be written as JSON"):
        encode_update(bad, "1", None)
