"""From method and request target to a `Call`: what the service is asked, by whom (contract 1.1, 1.2)."""

from __future__ import annotations

import re
from typing import Literal
from urllib.parse import unquote

from harness.record import Record

Op = Literal["get_engagement", "update"]

# The query in the documented order, v then sid, is taken apart at once; what follows is looked at only if there is any.
_TARGET = re.compile(
    r"/api/account/([^/?]*)/app/engagement/visitors(?:/([^/?]*))?/?"
    r"(?:\?(?:v=([^&]*))?(?:&?sid=([^&]*))?(.*))?",
    re.DOTALL,
)
_OPS: dict[bytes, Op] = {b"POST": "get_engagement", b"PUT": "update"}


class Call(Record):
    """One engagement call as it arrived: ids are None when absent, `attempt` is X-Harness-Attempt or empty."""

    __slots__ = ("account", "attempt", "op", "sid", "version", "vid")

    def __init__(
        self,
        op: Op,
        account: str,
        vid: str | None = None,
        sid: str | None = None,
        version: str | None = None,
        attempt: str = "",
    ) -> None:
        self.op: Op = op
        self.account = account
        self.vid = vid
        self.sid = sid
        self.version = version
        self.attempt = attempt


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
