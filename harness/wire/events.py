"""The five impression events as data tables (contract section 5), allowed only in `impAttributes` of an update.

Campaign, engagement, revision and context name the engagement that an earlier reply offered; a trace leaves them out
and the writer fills them in from the visit's last Available reply (`harness.wire.request.encode_update`).
"""

from __future__ import annotations

from typing import Final

from harness.wire.attributes import ATTRIBUTE_TYPES, TEXT
from harness.wire.schema import ByType, Free, Id, Many, Node, Record, Rule, Severity, Text

# Where the fields of an event come from: event field -> field of the reply's engagementDetails.
OFFER_FIELDS: Final = {"campaign": "campaignId", "engId": "engagementId", "revision": "engagementRevision"}
# The events that also name the engagement's context.
CONTEXT_EVENTS: Final = frozenset({"impDisplay", "impAccept"})

_NUMBER = Id(digits=True)
_OFFER: dict[str, Node] = {"type": TEXT, **dict.fromkeys(OFFER_FIELDS, _NUMBER)}
_CONTEXT = Many(Record({"type": Text(("engagementContext",)), "id": Id()}, required=("type", "id")))
_WITH_CONTEXT = Record({**_OFFER, "eContext": _CONTEXT})

EVENT_TYPES: Final[dict[str, Record]] = {
    "impDisplay": _WITH_CONTEXT,
    "impAccept": _WITH_CONTEXT,
    "impExpanded": Record({**_OFFER, "expanded": Free(), "userInit": Free(), "actionableItems": Free()}),
    "impTimeout": Record(_OFFER),
    "impClose": Record(_OFFER),
}


def _refuse(kind: str) -> tuple[Rule, Severity, str]:
    if kind in ATTRIBUTE_TYPES:
        return "forbidden", "error", "is an engagement attribute; put it into engagementAttributes"
    if kind.startswith("imp"):
        # The service defines the set by a base class, so there may be more than the documented five.
        return "unknown", "warning", f"is none of the documented events {', '.join(EVENT_TYPES)}"
    return "enum", "error", f"must be one of {', '.join(EVENT_TYPES)}"


EVENTS: Final = Many(ByType(EVENT_TYPES, _refuse))
