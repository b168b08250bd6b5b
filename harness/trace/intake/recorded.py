"""What a recorded body says without the ids of the service it was recorded at: the request of a trace's step.

Left out is what a replay puts in by itself: ids and pageId, and in impression events the campaign, engagement,
revision and context of the offer that the reply before had made (contract sections 1.2 and 3.7).
"""

from __future__ import annotations

from typing import Any

import msgspec
import orjson

from harness.wire.events import CONTEXT_EVENTS, OFFER_FIELDS
from harness.wire.ids import as_id
from harness.wire.route import Op

# What names something of the recorded service at the top of a body; a trace must not hold it.
RECORDED_IDS = frozenset({"vid", "sid", "visitorId", "sessionId", "pageId"})


def recorded_request(op: Op, body: bytes, offer: bytes) -> bytes | None:
    """The request for a trace's step as one line of JSON, or None when the body is no JSON object.

    `offer` is the JSON of the engagementDetails that the visit's last available reply carried, empty without: then all
    fields that name an offer are left out, for they can be right at no other service. Nothing else is changed.
    """
    try:
        request = orjson.loads(body)
        # The text's own numbers, not those that another writer would make of them.
        text = msgspec.json.format(body, indent=-1)
    except (orjson.JSONDecodeError, msgspec.DecodeError):
        return None
    if not isinstance(request, dict):
        return None
    kept = {key: value for key, value in request.items() if key not in RECORDED_IDS}
    events = kept.get("impAttributes")
    if op == "update" and isinstance(events, list):
        known = orjson.loads(offer) if offer else None
        kept["impAttributes"] = [_without_offer(event, known) for event in events]
    return text if kept == request else orjson.dumps(kept)


def _without_offer(event: Any, offer: dict[str, Any] | None) -> Any:
    if not isinstance(event, dict):
        return event
    kept = dict(event)
    for field, source in OFFER_FIELDS.items():
        if field in kept and (offer is None or as_id(kept[field]) == as_id(offer.get(source))):
            del kept[field]
    if kept.get("type") in CONTEXT_EVENTS and "eContext" in kept:
        context = None if offer is None else as_id(offer.get("contextId"))
        if offer is None or kept["eContext"] == [{"type": "engagementContext", "id": context}]:
            del kept["eContext"]
    return kept
