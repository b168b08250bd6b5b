"""Judging replies: what the contract documents passes, every departure is named."""

from __future__ import annotations

import json
from typing import Any

import pytest

from harness.wire.codes import MEANINGS
from harness.wire.validate import check_reply

POST, PUT = "get_engagement", "update"
Finding = tuple[str, str, str]
OFFER = {
    "campaignId": "3346848610",
    "engagementId": "3562981110",
    "contextId": "1",
    "windowId": "3346847910",
    "language": "en-US",
    "engagementRevision": 44,
    "validForSeconds": 900,
}
NOT_AVAILABLE = {"status": "NotAvailable", "sessionId": "abc", "visitorId": "xyz", "pageId": "1"}
AVAILABLE = {**NOT_AVAILABLE, "status": "Available", "engagementDetails": OFFER}


def judge(op: str, status: int, body: object) -> list[Finding]:
    """Findings in a reply as (path, rule, severity)."""
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return [tuple(problem[:3]) for problem in check_reply(op, status, raw)]


def without(whole: dict[str, Any], key: str) -> dict[str, Any]:
    """A copy that lacks one key."""
    return {name: value for name, value in whole.items() if name != key}


@pytest.mark.parametrize(
    ("body", "found"),
    [
        (NOT_AVAILABLE, []),
        (AVAILABLE, []),
        ({**AVAILABLE, "sessionId": 1, "visitorId": 2, "pageId": 3, "new": {}}, []),
        (without(NOT_AVAILABLE, "pageId"), [("pageId", "required", "warning")]),
        (without(NOT_AVAILABLE, "sessionId"), [("sessionId", "required", "error")]),
        (without(AVAILABLE, "visitorId"), [("visitorId", "required", "error")]),
        (without(NOT_AVAILABLE, "status"), [("status", "required", "error")]),
        (without(AVAILABLE, "engagementDetails"), [("engagementDetails", "required", "error")]),
        ({**NOT_AVAILABLE, "engagementDetails": OFFER}, [("engagementDetails", "forbidden", "warning")]),
        ({**AVAILABLE, "engagementDetails": [OFFER]}, [("engagementDetails", "type", "error")]),
        ({**NOT_AVAILABLE, "status": "Not Available"}, [("status", "enum", "error")]),
        ({**NOT_AVAILABLE, "status": None}, [("status", "type", "error")]),
        (
            {**NOT_AVAILABLE, "sessionId": "", "pageId": 1.5},
            [("sessionId", "format", "error"), ("pageId", "type", "error")],
        ),
        ([], [("", "type", "error")]),
        (None, [("", "type", "error")]),
        (b"", [("", "json", "error")]),
        (b"<html>", [("", "json", "error")]),
        (b"[" * 5000, [("", "json", "error")]),
    ],
)
def test_engagement_reply(body: object, found: list[Finding]) -> None:
    """An engagement reply by the letter of contract 2.1, with the tolerances of rows 10 to 14, for 200 and 201."""
    assert judge(POST, 200, body) == found
    assert judge(POST, 201, body) == found


@pytest.mark.parametrize(
    ("field", "good", "bad", "rule"),
    [
        ("campaignId", 3346848610, "x", "format"),
        ("engagementId", 3562981110, None, "type"),
        ("contextId", "ctx-1", [], "type"),
        ("windowId", 3346847910, "", "format"),
        ("language", "xx", 1, "type"),
        ("engagementRevision", "44", 1.5, "type"),
        ("validForSeconds", 300, -1, "range"),
        ("skillId", "23", "x", "format"),
        ("skillName", "", 23, "type"),
        ("connectorId", 568046210, False, "type"),
    ],
)
def test_offer_fields(field: str, good: object, bad: object, rule: str) -> None:
    """Each field of the offer takes numbers or digit strings as documented and names a wrong one."""
    place = f"engagementDetails.{field}"
    assert judge(POST, 200, {**AVAILABLE, "engagementDetails": {**OFFER, field: good}}) == []
    assert judge(POST, 200, {**AVAILABLE, "engagementDetails": {**OFFER, field: bad}}) == [(place, rule, "error")]


@pytest.mark.parametrize("field", OFFER)
def test_offer_must_be_complete(field: str) -> None:
    """Seven fields are required in an offer; skill and connector are not."""
    body = {**AVAILABLE, "engagementDetails": without(OFFER, field)}
    assert judge(POST, 200, body) == [(f"engagementDetails.{field}", "required", "error")]


@pytest.mark.parametrize(("status", "code"), [pair for pair in MEANINGS if pair[0] >= 400])
@pytest.mark.parametrize("op", [POST, PUT])
def test_documented_errors_pass(op: str, status: int, code: int) -> None:
    """Every documented pair of HTTP status and internalCode is a proper reply (row 8: whichever answers a bad id)."""
    assert judge(op, status, {"time": 1499263964605, "message": "m", "internalCode": code}) == []
    assert judge(op, status, {"time": 1499263964605, "internalCode": code, "more": 1}) == []


@pytest.mark.parametrize(
    ("status", "body", "found"),
    [
        (400, {"time": "2017-07-26T12:25:04Z", "internalCode": "5"}, [
            ("time", "alternate", "warning"), ("internalCode", "alternate", "warning"),
        ]),
        (400, {"time": 1, "internalCode": "x"}, [("internalCode", "type", "error")]),
        (400, {}, [("time", "required", "error"), ("internalCode", "required", "error")]),
        (400, {"time": 1, "internalCode": 99}, [("internalCode", "code", "warning")]),
        (404, {"time": 1, "internalCode": 20}, [("internalCode", "code", "warning")]),
        (500, {"time": 1, "message": 7, "internalCode": 20}, [("message", "type", "error")]),
        (500, b"", [("", "json", "error")]),
        (500, b"<html>", [("", "json", "error")]),
        (500, [], [("", "type", "error")]),
        *((status, b"", []) for status in (401, 422, 429, 503)),
        *((status, b"<html>", []) for status in (401, 422, 429, 503)),
        (202, {"time": 1, "message": "Loading account: 1, vid: x", "internalCode": 38}, [("", "status", "warning")]),
        (202, b"", [("", "status", "warning"), ("", "json", "error")]),
        (302, b"", [("", "status", "error")]),
        (100, b"", [("", "status", "error")]),
        (0, b"", [("", "status", "error")]),
        (999, b"", [("", "status", "error")]),
    ],
)  # fmt: skip
def test_error_replies(status: int, body: object, found: list[Finding]) -> None:
    """Error bodies by contract 2.3 (row 15: time and code may be text); where no body is documented any will do."""
    assert judge(POST, status, body) == found
    assert judge(PUT, status, body) == found


@pytest.mark.parametrize(
    ("status", "body", "found"),
    [
        (200, b"", []),
        (200, b"{}", [("", "type", "warning")]),
        (204, b"", [("", "status", "warning")]),
    ],
)
def test_update_reply(status: int, body: bytes, found: list[Finding]) -> None:
    """An accepted update is a 200 without a body."""
    assert judge(PUT, status, body) == found


def test_other_success_of_a_post_is_judged_like_a_200() -> None:
    """An undocumented 2xx gets a warning, and its body the usual look."""
    assert judge(POST, 204, b"") == [("", "status", "warning"), ("", "json", "error")]
    assert judge(POST, 203, NOT_AVAILABLE) == [("", "status", "warning")]


def test_unknown_operation_is_our_bug() -> None:
    """Only the two operations of the contract exist."""
    with pytest.raises(ValueError, match="unknown operation 'report'"):
        check_reply("report", 200, b"")
