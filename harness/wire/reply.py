"""Reads what the service answered, tolerantly: any bytes become a `Reply`, nothing raises.

The kind follows the meaning, not the HTTP status alone: a 200 without a known `status` is no engagement reply, a 202
may say that the account is being loaded. The Content-Type plays no part (the service sends octet-stream), ids may be
numbers or strings, unknown keys are ignored. What a reply lacks against the contract is `check_reply`'s business.
"""

from __future__ import annotations

from typing import Any, Final, Literal

import msgspec
import orjson

from harness.record import Record
from harness.wire.codes import BAD_SID, BAD_VID, LOADING, LOADING_ACCEPTED
from harness.wire.ids import as_code, as_id
from harness.wire.redact import HIDDEN, redact

Kind = Literal[
    "available",
    "not_available",
    "accepted",
    "loading",
    "throttled",
    "rejected",
    "client_error",
    "server_error",
    "redirect",
    "bad_reply",
]
# Read from the bytes, or, for what never brought any, named by the engine after the attempt's result.

_STATUS_KINDS: Final[dict[str, Kind]] = {"Available": "available", "NotAvailable": "not_available"}
_LOADING_START: Final = "Loading account"
# How such a message stands in a report: what varies in it are ids.
_LOADING_SHOWN: Final = f"Loading account: {HIDDEN}, vid: {HIDDEN}"


class Reply(Record):
    """One answer of the service, whatever it was.

    `kind` is the name of the attempt's result. `vid`, `sid` and `page_id` are given only by an engagement reply; each
    is None when the reply leaves it out. `offer` is the JSON text of an available one's engagementDetails, empty
    without; `details` parses it. `code` is the internalCode of an error body, None without one. `message` is short and
    redacted, empty unless something was wrong. `hint_vid` is the visitor id that a "Loading account" message carries
    and that a retry may send.
    """

    __slots__ = ("code", "hint_vid", "http_status", "kind", "message", "offer", "page_id", "sid", "vid")

    def __init__(
        self,
        kind: Kind,
        http_status: int,
        vid: str | None = None,
        sid: str | None = None,
        page_id: str | None = None,
        offer: bytes = b"",
        code: int | None = None,
        message: str = "",
        hint_vid: str | None = None,
    ) -> None:
        self.kind: Kind = kind
        self.http_status = http_status
        self.vid = vid
        self.sid = sid
        self.page_id = page_id
        self.offer = offer
        self.code = code
        self.message = message
        self.hint_vid = hint_vid

    @property
    def details(self) -> dict[str, Any] | None:
        """The offer, parsed anew at each call: few replies are ever asked for it."""
        return orjson.loads(self.offer) if self.offer else None


# The usual reply; one that does not fit (ids as numbers, nulls, errors) is read the tolerant way.
_Engagement: Any = msgspec.defstruct(
    "_Engagement",
    [
        ("status", Literal["Available", "NotAvailable"]),
        ("visitorId", str, ""),
        ("sessionId", str, ""),
        ("pageId", str, ""),
        ("engagementDetails", msgspec.Raw, msgspec.Raw(b"")),
    ],
    gc=False,
)
_decode_usual = msgspec.json.Decoder(_Engagement).decode


def read_reply(op: str, http_status: int, body: bytes) -> Reply:
    """What an answer means: `op` is "get_engagement" or "update", `body` the raw bytes.

    Never raises, whatever the status and the bytes. Contract sections 2.1, 2.3 and 7 (rows 8, 10, 11, 13, 14, 15).
    """
    if http_status == 200 and op != "update":
        try:
            usual = _decode_usual(body)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return _read_success(op, http_status, body)
        if usual.status == "NotAvailable":
            offer = b""
            kind: Kind = "not_available"
        else:
            offer = bytes(usual.engagementDetails)
            kind = "available"
            if offer[:1] != b"{":
                offer = b""
        return Reply(kind, 200, usual.visitorId or None, usual.sessionId or None, usual.pageId or None, offer)
    if 200 <= http_status < 300:
        if op == "update" and http_status != 202:
            return Reply("accepted", http_status)
        return _read_success(op, http_status, body)
    if 300 <= http_status < 400:
        return Reply("redirect", http_status, message=f"redirect {http_status}, not followed")
    if 400 <= http_status < 600:
        return _read_error(http_status, body)
    return Reply("bad_reply", http_status, message=f"HTTP status {http_status} is no final reply")


def _read_success(op: str, http_status: int, body: bytes) -> Reply:
    reply = _parse(body)
    if type(reply) is dict:
        status = reply.get("status")
        kind = _STATUS_KINDS.get(status) if type(status) is str else None
        if kind is not None and op != "update":
            details = reply.get("engagementDetails") if kind == "available" else None
            return Reply(
                kind,
                http_status,
                as_id(reply.get("visitorId")),
                as_id(reply.get("sessionId")),
                as_id(reply.get("pageId")),
                orjson.dumps(details) if type(details) is dict else b"",
            )
        if http_status == 202 and as_code(reply.get("internalCode")) == LOADING_ACCEPTED:
            return _error("loading", http_status, reply)
    if op == "update":
        return Reply("accepted", http_status)
    if type(reply) is dict:
        return _error("bad_reply", http_status, reply, "no known status in the reply")
    return Reply("bad_reply", http_status, message="body is no JSON object" if body else "empty body")


def _read_error(http_status: int, body: bytes) -> Reply:
    parsed = _parse(body)
    reply = parsed if type(parsed) is dict else {}
    return _error(_error_kind(http_status, as_code(reply.get("internalCode"))), http_status, reply)


def _error_kind(http_status: int, code: int | None) -> Kind:
    if http_status == 429:
        return "throttled"
    if http_status == 401 or (http_status == 404 and code in (BAD_VID, BAD_SID)):
        return "rejected"
    if http_status == 500 and code == LOADING:
        return "loading"
    return "client_error" if http_status < 500 else "server_error"


def _error(kind: Kind, http_status: int, reply: dict[str, Any], otherwise: str = "") -> Reply:
    text = reply.get("message")
    message = text if type(text) is str else ""
    hint_vid = loading_vid(message)
    return Reply(
        kind,
        http_status,
        code=as_code(reply.get("internalCode")),
        message=_LOADING_SHOWN if hint_vid else redact(message) or otherwise,
        hint_vid=hint_vid,
    )


def loading_vid(message: str) -> str | None:
    """The visitor id at the end of a "Loading account: …, vid: X" message; None in any other (contract section 4)."""
    if not message.startswith(_LOADING_START):
        return None
    _, found, vid = message.rpartition("vid:")
    words = vid.split()
    return words[0] if found and len(words) == 1 else None


def _parse(body: bytes) -> Any:
    """The parsed JSON, or None when the bytes are none (bad encoding, garbage, nested too deeply)."""
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError:
        return None
