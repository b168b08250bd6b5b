"""From method and request target to a `Call`: what the service is asked, by whom (contract 1.1, 1.2)."""

from __future__ import annotations

import re
from urllib.parse import unquote

import msgspec

from harness.trace.model import Op

# The query in the documented order, v then sid, is taken apart at once; what follows is looked at only if there is any.
_TARGET = re.compile(
    r"/api/account/([^/?]*)/app/engagement/visitors(?:/([^/?]*))?/?"
    r"(?:\?(?:v=([^&]*))?(?:&?sid=([^&]*))?(.*))?",
    re.DOTALL,
)
_OPS: dict[bytes, Op] = {b"POST": "get_engagement", b"PUT": "update"}
# What an id may look like at most: ids are opaque, but these characters survive a path and a query unescaped.
_ID = re.compile(r"[A-Za-z0-9._~:@+=-]{1,128}")
_ACCOUNT = re.compile(r"[A-Za-z0-9_]{1,20}")


class Call(msgspec.Struct, gc=False):
    """One engagement call as it arrived: ids are None when absent, `attempt` is X-Harness-Attempt or empty."""

    op: Op
    account: str
    vid: str | None = None
    sid: str | None = None
    version: str | None = None
    attempt: str = ""


def route(method: bytes, target: bytes, attempt: str = "") -> Call | None:
    """The call that this request line makes, or None when it is none of the engagement service's."""
    op = _OPS.get(method)
    match = _TARGET.fullmatch(target.decode("latin-1")) if op is not None else None
    if op is None or match is None:
        return None
    account, vid, version, sid, rest = match.groups()
    if rest:
        for name, _, value in (pair.partition("=") for pair in rest.split("&")):
            version = value if name == "v" else version
            sid = value if name == "sid" else sid
    call = Call(op, account, vid or None, sid, version, attempt)
    if b"%" in target:
        call.account = unquote(account)
        call.vid = unquote(vid) if vid else None
        call.sid = None if call.sid is None else unquote(call.sid)
    return call


def well_formed_id(text: str | None) -> bool:
    """Whether an id is absent or one that the service could have issued (or tolerates, as client-chosen vids)."""
    return text is None or _ID.fullmatch(text) is not None


def well_formed_account(text: str) -> bool:
    """Whether an account id follows the documented pattern (contract 1.1)."""
    return _ACCOUNT.fullmatch(text) is not None


def known_version(text: str | None) -> bool:
    """Whether the `v` parameter, a number, is 1.0: the only version of this operation."""
    return text in ("1.0", "1")
