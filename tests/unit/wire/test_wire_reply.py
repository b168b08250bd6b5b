"""Reading replies: every row of the classification, tolerance, and bytes that no reader should choke on."""

from __future__ import annotations

import json

import pytest

from harness.visitor.records import Result
from harness.wire.reply import Reply, loading_vid, read_reply

POST, PUT = "get_engagement", "update"
IDS = {"sessionId": "s", "visitorId": "v", "pageId": "p"}


@pytest.mark.parametrize(
    ("op", "status", "body", "kind"),
    [
        (POST, 200, {"status": "Available", **IDS}, "available"),
        (POST, 201, {"status": "Available", **IDS}, "available"),
        (POST, 202, {"status": "NotAvailable", **IDS}, "not_available"),
        (POST, 200, {"status": "NotAvailable", **IDS}, "not_available"),
        (POST, 200, {"status": "Not Available", **IDS}, "bad_reply"),
        (POST, 200, {"status": "available", **IDS}, "bad_reply"),
        (POST, 200, {"status": ["Available"], **IDS}, "bad_reply"),
        (POST, 200, {"status": None}, "bad_reply"),
        (POST, 200, {}, "bad_reply"),
        (POST, 200, [], "bad_reply"),
        (POST, 200, "Available", "bad_reply"),
        (POST, 200, b"", "bad_reply"),
        (POST, 200, b"<html>", "bad_reply"),
        (POST, 204, b"", "bad_reply"),
        (POST, 202, {"internalCode": 38}, "loading"),
        (POST, 202, {"internalCode": "38"}, "loading"),
        (POST, 202, {"internalCode": 20}, "bad_reply"),
        (POST, 200, {"internalCode": 38}, "bad_reply"),
        (POST, 500, {"internalCode": 20}, "loading"),
        (POST, 500, {"internalCode": "20"}, "loading"),
        (POST, 500, {"internalCode": 38}, "server_error"),
        (POST, 503, {"internalCode": 20}, "server_error"),
        (POST, 500, b"", "server_error"),
        (POST, 502, b"<html>", "server_error"),
        (POST, 599, {}, "server_error"),
        (POST, 429, {}, "throttled"),
        (POST, 401, b"", "rejected"),
        (POST, 404, {"internalCode": 37}, "rejected"),
        (POST, 404, {"internalCode": "39"}, "rejected"),
        (POST, 404, {"internalCode": 12}, "client_error"),
        (POST, 404, {"internalCode": True}, "client_error"),
        (POST, 404, b"", "client_error"),
        (POST, 400, {"internalCode": 37}, "client_error"),
        (POST, 422, b"", "client_error"),
        (POST, 499, [], "client_error"),
        (POST, 300, b"", "redirect"),
        (POST, 302, {"status": "Available"}, "redirect"),
        (POST, 304, b"", "redirect"),
        (POST, 100, b"", "bad_reply"),
        (POST, 0, b"", "bad_reply"),
        (POST, 600, b"", "bad_reply"),
        (POST, -1, b"", "bad_reply"),
        (PUT, 200, b"", "accepted"),
        (PUT, 204, b"", "accepted"),
        (PUT, 201, b"garbage", "accepted"),
        (PUT, 200, {"status": "Available", **IDS}, "accepted"),
        (PUT, 202, b"", "accepted"),
        (PUT, 202, {"status": "Available"}, "accepted"),
        (PUT, 202, {"internalCode": 38}, "loading"),
        (PUT, 500, {"internalCode": 20}, "loading"),
        (PUT, 404, {"internalCode": 37}, "rejected"),
        (PUT, 301, b"", "redirect"),
        (PUT, 103, b"", "bad_reply"),
    ],
)
def test_kind(op: str, status: int, body: object, kind: str) -> None:
    """Operation, HTTP status and body decide the kind, and each kind is the name of an attempt result."""
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    assert read_reply(op, status, raw).kind == kind
    assert kind in Result.__members__


@pytest.mark.parametrize(
    ("given", "text"),
    [
        ("abc", "abc"),
        (4743822558, "4743822558"),
        (0, "0"),
        ("", None),
        (None, None),
        (True, None),
        (1.5, None),
        (["a"], None),
        ("a b\r\n", "a b\r\n"),
    ],
)
def test_ids_are_read_as_text(given: object, text: str | None) -> None:
    """Ids may be strings or integers (contract 7.11); anything else counts as absent."""
    body = json.dumps({"status": "NotAvailable", "sessionId": given, "visitorId": given, "pageId": given}).encode()
    assert read_reply(POST, 200, body) == Reply("not_available", 200, text, text, text)


@pytest.mark.parametrize("details", [None, [], "x", 7])
def test_available_without_an_offer_is_still_available(details: object) -> None:
    """An Available reply that lacks ids or has no object of details stays available."""
    body = json.dumps({"status": "Available", "engagementDetails": details}).encode()
    assert read_reply(POST, 200, body) == Reply("available", 200)
    assert read_reply(POST, 200, b'{"status":"Available"}') == Reply("available", 200)


def test_unknown_keys_are_ignored_and_details_kept_whole() -> None:
    """Newer fields of a reply change nothing; the offer is passed on as it came, an error's ids are not."""
    details = {"campaignId": 3346848610, "new": {"deep": [1]}}
    body = json.dumps({"status": "Available", "engagementDetails": details, "extra": 1, **IDS}).encode()
    assert read_reply(POST, 200, body) == Reply("available", 200, "v", "s", "p", json.dumps(details).encode())
    refused = json.dumps({"status": "NotAvailable", "engagementDetails": details, **IDS}).encode()
    assert read_reply(POST, 200, refused) == Reply("not_available", 200, "v", "s", "p")
    assert read_reply(POST, 500, body) == Reply("server_error", 500)


@pytest.mark.parametrize(
    "body",
    [
        b"[" * 100_000,
        b'{"a":' * 5_000 + b"1" + b"}" * 5_000,
        b"\xff\xfe\x00",
        b'{"status":"\xff"}',
        b'{"status":"\\ud800"}',
        b'{"status":NaN}',
        b'{"message":"' + b"x" * 100_000,
        b'\xef\xbb\xbf{"status":"Available"}',
        b"\x00" * 1000,
    ],
)
@pytest.mark.parametrize("status", [200, 202, 404, 500])
def test_garbage_never_raises(status: int, body: bytes) -> None:
    """Deep nesting, broken encodings and cut bodies are replies like any other."""
    kinds = {200: "bad_reply", 202: "bad_reply", 404: "client_error", 500: "server_error"}
    assert read_reply(POST, status, body).kind == kinds[status]


def test_endless_code_is_no_code() -> None:
    """A code of thousands of digits is not a number for us, and does not raise."""
    body = json.dumps({"internalCode": "9" * 5000}).encode()
    assert read_reply(POST, 400, body) == Reply("client_error", 400)


@pytest.mark.parametrize(
    ("message", "vid"),
    [
        ("Loading account: 12345678, vid: ZjYWZlYzYzNDE5MTE1OWQ5", "ZjYWZlYzYzNDE5MTE1OWQ5"),
        ("Loading account: ta3hWd4IgG, vid:  my-Visitor_Id \n", "my-Visitor_Id"),
        ("Loading account: x, vid:abc", "abc"),
        ("Loading account: vid: a, vid: b", "b"),
        ("Loading account: 12345678, vid: ", None),
        ("Loading account: 12345678, vid: a b", None),
        ("Loading account: 12345678", None),
        ("Error, vid: abc", None),
        ("", None),
    ],
)
def test_loading_hint(message: str, vid: str | None) -> None:
    """The vid at the end of a Loading message is taken up whole, from the JSON body as from the text."""
    assert loading_vid(message) == vid
    body = json.dumps({"message": message, "internalCode": 20}).encode()
    assert read_reply(POST, 500, body).hint_vid == vid


@pytest.mark.parametrize(
    ("status", "body", "message"),
    [
        (200, b"", "empty body"),
        (200, b"<html>", "body is no JSON object"),
        (200, b"{}", "no known status in the reply"),
        (200, b'{"message":"strange"}', "strange"),
        (302, b"", "redirect 302, not followed"),
        (103, b"", "HTTP status 103 is no final reply"),
        (500, b'{"message":7}', ""),
        (500, b'{"message":"Loading account: 12345678, vid: abc","internalCode":20}', "Loading account: …, vid: …"),
    ],
)
def test_message_says_what_was_wrong(status: int, body: bytes, message: str) -> None:
    """Bad replies say why, errors repeat the service's redacted message, good replies say nothing."""
    assert read_reply(POST, status, body).message == message
    assert read_reply(POST, 200, b'{"status":"Available","message":"fine"}').message == ""
