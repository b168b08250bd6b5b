"""Laws of the wire room: any input is survived, every id comes back, what passes the checker can be written."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import unquote

from hypothesis import given
from hypothesis import strategies as st

from harness.visitor.records import Result
from harness.wire.redact import redact
from harness.wire.render import CallRenderer, safe_id
from harness.wire.reply import read_reply
from harness.wire.request import encode_engagement, encode_update
from harness.wire.schema import has_errors
from harness.wire.validate import check_reply, check_request

OPS = st.sampled_from(["get_engagement", "update"])
NAMES = st.sampled_from(
    [
        "appType",
        "appDetails",
        "consumerSections",
        "engagementAttributes",
        "impAttributes",
        "pageId",
        "type",
        "info",
        "personal",
        "age",
        "contacts",
        "deviceFamily",
        "ipAddress",
        "os",
        "cart",
        "products",
        "product",
        "total",
        "status",
        "sessionId",
        "visitorId",
        "engagementDetails",
        "message",
        "internalCode",
        "time",
        "eContext",
        "campaign",
        "channel",
        "gender",
        "service",
        "error",
    ]
) | st.text(max_size=5)
LEAVES = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=12)
    | st.sampled_from(
        [
            "EXTERNAL",
            "Available",
            "NotAvailable",
            "personal",
            "cart",
            "ctmrinfo",
            "service",
            "purchase",
            "impDisplay",
            "impNew",
            "section",
            "1",
            "38",
            "127.0.0.1",
            "::1",
            "MOBILE",
            "MALE",
            "Loading account: a, vid: b",
        ]
    )
)
JSON = st.recursive(
    LEAVES, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(NAMES, inner, max_size=5), max_leaves=25
)
RENDERER = CallRenderer(host="t.test", base_path="", account="1")


@given(OPS, st.integers(-10, 700), st.binary(max_size=200) | JSON.map(lambda value: json.dumps(value).encode()))
def test_any_reply_is_read(op: str, status: int, body: bytes) -> None:
    """Whatever arrives becomes a reply of a known kind with a short clean message, and the checker survives it."""
    reply = read_reply(op, status, body)
    assert reply.kind in Result.__members__
    assert len(reply.message) <= 200
    assert reply.message.isprintable()
    assert all(problem.message for problem in check_reply(op, status, body))


@given(OPS, JSON, st.booleans())
def test_any_request_is_judged_and_what_passes_can_be_written(op: str, request: Any, sent: bool) -> None:
    """The checker never raises; without errors the writer gives JSON that a second parser reads back unchanged."""
    if has_errors(check_request(op, request, sent=sent)):
        return
    if op == "update":
        assert json.loads(encode_update(request, "7", {})) == _plain({"pageId": "7", **request})
    else:
        assert json.loads(encode_engagement(request)) == _plain({"appType": "EXTERNAL", **request})


def _plain(value: Any) -> Any:
    """As our writer has it: JSON knows no NaN and no infinity, they become null."""
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    return None if isinstance(value, float) and value - value != 0 else value


# Ids that hold no escape already: `%` goes out raw, so only these can come back from decoding as they were.
IDS = st.text(st.characters(exclude_characters="%", exclude_categories=["Cs"]), min_size=1)


@given(st.text(min_size=1))
def test_safe_id_is_idempotent_and_harmless(text: str) -> None:
    """The encoded form is visible ASCII without a delimiter, and encoding it again changes nothing."""
    safe = safe_id(text)
    assert safe_id(safe) == safe
    assert all("!" <= char <= "~" for char in safe)
    assert not set(safe) & set("/?#&")
    assert safe not in (".", "..")


@given(IDS, IDS, st.binary(max_size=50))
def test_request_keeps_its_frame(vid: str, sid: str, body: bytes) -> None:
    """With any ids and body the request line has its three parts, the headers are as ever, and the ids decode back."""
    head, _, rest = RENDERER.post(safe_id(vid), safe_id(sid), body, "a/0/1").partition(b"\r\n\r\n")
    line, *headers = head.split(b"\r\n")
    plain = RENDERER.post("v", "s", body, "a/0/1").partition(b"\r\n\r\n")[0].split(b"\r\n")
    assert (headers, rest) == (plain[1:], body)
    method, target, version = line.decode("ascii").split(" ")
    path, _, query = target.partition("?")
    assert (method, version, path.count("/"), query.count("&")) == ("POST", "HTTP/1.1", 7, 1)
    assert (unquote(path.rpartition("/")[2]), unquote(query.removeprefix("v=1.0&sid="))) == (vid, sid)


ID_CHARS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"


@given(st.text(ID_CHARS, min_size=22, max_size=22), st.sampled_from(["vid: {}", "bad {} here", "({})", "{}, x"]))
def test_service_ids_never_survive_redaction(identifier: str, form: str) -> None:
    """An id of the service's usual form is gone wherever in the message it stood."""
    assert identifier not in redact(form.format(identifier))


@given(st.text(max_size=600))
def test_redaction_settles(message: str) -> None:
    """Redacted text is one printable line of at most 200 characters."""
    line = redact(message)
    assert len(line) <= 200
    assert line.isprintable()
    assert line == " ".join(line.split())
