"""An exchange: one engagement call as somebody recorded it, with the answer if that was recorded too.

Recorder, HAR and GoReplay meet here: each makes exchanges, `tying` makes visits of them. Ids are only compared, so
whoever writes exchanges to a disk may put anything in their place that keeps equal ones equal.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Literal

import msgspec
import orjson

from harness.trace.intake.issued import Issued
from harness.trace.useragent import classify
from harness.wire.ids import as_id
from harness.wire.reply import Kind, read_reply
from harness.wire.route import Call, Op

# Kinds of replies, or why there was none; empty where the recording does not say.
NoAnswer = Literal["", "timeout", "connect_error", "reset"]
Result = Kind | NoAnswer
# HTTP status and decoded body, or why there is neither.
Answer = tuple[int, bytes] | NoAnswer

# Clients send the same header again and again.
_classes = lru_cache(maxsize=4096)(classify)

_DEVICES = {"DESKTOP": "desktop", "TABLET": "tablet", "MOBILE": "mobile"}


class Exchange(msgspec.Struct, gc=False, kw_only=True, omit_defaults=True):
    """One call and what came of it; times are nanoseconds since 1970, empty texts mean none or not known.

    `began_ns` is when the request came, `done_ns` when its answer was complete (or nobody waited for it any more).
    `vid` and `sid` are those sent, `reply_vid` and `reply_sid` those that the reply gave, `hint` the vid in a "Loading
    account" message, `offer` the JSON of an available reply's engagementDetails. `issued` are ids of the service, as
    they are, that stand in the body and must not stay there. `line` is what only one visitor can have used at a time
    if it is one visitor's at all (a connection, a recording), `client` tells clients apart.
    """

    began_ns: int
    done_ns: int
    op: Op
    account: str = ""
    vid: str = ""
    sid: str = ""
    body: bytes = b""
    result: Result = ""
    reply_vid: str = ""
    reply_sid: str = ""
    hint: str = ""
    offer: bytes = b""
    issued: list[str] = []
    line: str = ""
    client: str = ""
    cohort: str = "all"
    where: str = ""


def exchange(
    call: Call,
    body: bytes,
    *,
    began_ns: int,
    done_ns: int,
    answer: Answer,
    line: str = "",
    client: str = "",
    agent: bytes = b"",
    where: str = "",
    disguise: Callable[[str], str] = str,
    issued: Issued,
) -> Exchange:
    """The exchange of a call with its answer.

    `issued` are the ids that this recording has shown so far; those of this call are added. `disguise` is applied to
    every id but those in the body, account excepted. The cohort is that of `agent`, a User-Agent header, unless the
    body's appDetails name a device family.
    """
    made = Exchange(
        began_ns=began_ns,
        done_ns=max(began_ns, done_ns),
        op=call.op,
        account=call.account,
        vid=disguise(call.vid) if call.vid else "",
        sid=disguise(call.sid) if call.sid else "",
        body=body,
        line=line,
        client=client,
        cohort=_cohort(body, agent),
        where=where,
    )
    issued.add(call.vid, call.sid)
    if isinstance(answer, str):
        made.result = answer
        made.issued = issued.within(body, (call.vid, call.sid))
        return made
    reply = read_reply(call.op, *answer)
    issued.add(reply.vid, reply.sid, reply.page_id, reply.hint_vid, _context(reply.offer))
    made.issued = issued.within(body, (call.vid, call.sid, reply.vid, reply.sid))
    made.result = reply.kind
    made.reply_vid = disguise(reply.vid) if reply.vid else ""
    made.reply_sid = disguise(reply.sid) if reply.sid else ""
    made.hint = disguise(reply.hint_vid) if reply.hint_vid else ""
    made.offer = reply.offer
    return made


def _context(offer: bytes) -> str | None:
    """The id of an offer's context."""
    if b'"contextId"' not in offer:
        return None
    try:
        return as_id(orjson.loads(offer).get("contextId"))
    except orjson.JSONDecodeError:  # nested more deeply than is read
        return None


def _cohort(body: bytes, agent: bytes) -> str:
    if b'"deviceFamily"' in body:
        try:
            request = orjson.loads(body)
        except orjson.JSONDecodeError:
            request = None
        details = request.get("appDetails") if isinstance(request, dict) else None
        family = details.get("deviceFamily") if isinstance(details, dict) else None
        if isinstance(family, str) and family in _DEVICES:
            return _DEVICES[family]
    classes = _classes(agent)
    return classes.cohort if classes is not None else "all"
