"""What the ids of a call turn out to be, in one word each.

Without any id: `started`. With a live pair: `kept`, or `renewed` when the session has had all the calls it may have. A
known vid without sid: `returned`, or `loaded` when it never had a session because its account was cold. With a sid
that is over: `expired`. With ids that the service cannot place: `adopted` (unknown vid), `unknown_sid`, `crossed`
(another visitor's sid), `vidless` (a sid alone).
"""

from __future__ import annotations

from harness.sim.visitors import Account, Visitor
from harness.wire.route import Call

GOOD = frozenset({"kept", "renewed"})
BAD_VID = frozenset({"vidless", "adopted"})
BAD_SID = frozenset({"expired", "crossed", "unknown_sid"})
UNKNOWN = frozenset({"vidless", "adopted", "crossed", "unknown_sid"})


def acquaintance(account: Account, visitor: Visitor | None, call: Call) -> str:
    """The word for this call, whose vid is known as `visitor` (None: not at all)."""
    if call.vid is None:
        return "started" if call.sid is None else "vidless"
    if visitor is None:
        return "adopted"
    if call.sid is None:
        return "returned" if visitor.sessions or visitor.ended else "loaded"
    session = visitor.sessions.get(call.sid)
    if session is not None:
        return "renewed" if account.spent(session) and call.op == "get_engagement" else "kept"
    if call.sid in visitor.ended:
        return "expired"
    return "crossed" if call.sid in account.sessions else "unknown_sid"
