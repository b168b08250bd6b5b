"""What a recorded body says without the ids of the service it was recorded at: the request of a trace's step.

Left out is what a replay puts in by itself: ids and pageId, and in impression events the campaign, engagement,
revision and context of the offer that the reply before had made (contract sections 1.2 and 3.7). Ids that the service
gave out are taken out wherever else they stand.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import msgspec
import orjson

from harness.trace.intake.issued import without_ids
from harness.wire.events import CONTEXT_EVENTS, OFFER_FIELDS
from harness.wire.ids import as_id
from harness.wire.route import Op

# What names something of the recorded service at the top of a body; a trace must not hold it.
RECORDED_IDS = frozenset({"vid", "sid", "visitorId", "sessionId", "pageId"})


def recorded_request(op: Op, body: bytes, offer: bytes, issued: Collection[str] = ()) -> tuple[bytes | None, int]:
    """The request for a trace's step as one line of JSON, or None when the body is no JSON object.

    The number is how often one of the ids in `issued` was taken out of it, the usual places aside.

    `offer` is the JSON of the engagementDetails that the visit's last available reply carried, empty without: then all
    fields that name an offer are left out, for they can be right at no other service. Nothing else is changed.
    """
    try:
        request = orjson.loads(body)
        # The text's own numbers, not those that another writer would make of them.
        text = msgspec.json.format(body, indent=-1)
    except (orjson.JSONDecodeError, msgspec.DecodeError):
        return None, 0
    if not isinstance(request, dict):
        return None, 0
    kept = {key: value for key, value in request.items() if key not in RECORDED_IDS}
    events = kept.get("impAttributes")
    if op == "update" and isinstance(events, list):
        known = orjson.loads(offer) if offer else None
        kept["impAttributes"] = [_without_offer(event, known, issued) for event in events]
    taken = 0
    if issued:
        kept, taken = without_ids(kept, issued)
    try:
        return (text if kept == request else orjson.dumps(kept)), taken
    except orjson.JSONEncodeError:  # nested more deeply than can be written
        return None, 0


def _without_offer(event: Any, offer: dict[str, Any] | None, issued: Collection[str]) -> Any:
    if not isinstance(event, dict):
        return event
    kept = dict(event)
    for field, source in OFFER_FIELDS.items():
        if field in kept and (offer is None or as_id(kept[field]) == as_id(offer.get(source))):
            del kept[field]
    if kept.get("type") in CONTEXT_EVENTS and "eContext" in kept:
        context = None if offer is None else as_id(offer.get("contextId"))
        of_offer = offer is None or kept["eContext"] == [{"type": "engagementContext", "id": context}]
        # A context of an earlier offer names nothing that a replay will have either.
        if of_offer or (issued and without_ids(kept["eContext"], issued)[1]):
            del kept["eContext"]
    return kept
