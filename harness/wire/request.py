"""Writes request bodies strictly: UTF-8 JSON with the keys in the order of the real browser client.

A trace says what the visitor reported; what only the run can know is filled in here: the application type that every
client sends, the page of the last reply, and the offer that an impression event is about. A request is not judged
here (`harness.wire.validate` does that), so a wrong one can be sent on purpose.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import orjson

from harness.errors import UsageError
from harness.wire.events import CONTEXT_EVENTS, OFFER_FIELDS
from harness.wire.ids import as_code, as_id

ENGAGEMENT_KEYS: Final = ("appDetails", "consumerSections", "engagementAttributes", "appType")
UPDATE_KEYS: Final = ("pageId", "impAttributes", "engagementAttributes")
DEFAULT_APP_TYPE: Final = "EXTERNAL"


def encode_engagement(request: Mapping[str, Any]) -> bytes:
    """The body of a getEngagement POST: the browser client's key order, unknown keys after, `appType` always there.

    Raises `UsageError` when the request cannot be written as JSON. Contract section 1.1.
    """
    return _write(_ordered({"appType": DEFAULT_APP_TYPE, **request}, ENGAGEMENT_KEYS))


def encode_update(request: Mapping[str, Any], page_id: str, details: Mapping[str, Any] | None) -> bytes:
    """The body of an update PUT: pageId first, impression events completed with the offer, unknown keys after.

    `page_id` and `details` (its engagementDetails) come from the visit's last Available reply. They fill only what the
    request leaves out; a field that `details` lacks too stays out. `request` is not changed. Raises `UsageError` when
    the request cannot be written as JSON. Contract sections 1.2, 3.7 and 3.8.
    """
    body = {"pageId": page_id, **request}
    events = body.get("impAttributes")
    if details and isinstance(events, list):
        offer = {name: details.get(source) for name, source in OFFER_FIELDS.items()}
        numbers = {name: value if (number := as_code(value)) is None else number for name, value in offer.items()}
        context = as_id(details.get("contextId"))
        body["impAttributes"] = [_complete(event, numbers, context) for event in events]
    return _write(_ordered(body, UPDATE_KEYS))


def _complete(event: Any, offer: Mapping[str, Any], context: str | None) -> Any:
    if not isinstance(event, Mapping):
        return event
    missing = {name: value for name, value in offer.items() if value is not None and name not in event}
    if context is not None and event.get("type") in CONTEXT_EVENTS and "eContext" not in event:
        missing["eContext"] = [{"type": "engagementContext", "id": context}]
    return {**event, **missing}


def _ordered(body: Mapping[str, Any], first: tuple[str, ...]) -> dict[str, Any]:
    return {key: body[key] for key in first if key in body} | dict(body)


def _write(body: dict[str, Any]) -> bytes:
    try:
        return orjson.dumps(body)
    except TypeError as error:
        raise UsageError(f"the request cannot be written as JSON: {error}") from error
