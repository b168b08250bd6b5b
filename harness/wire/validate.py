"""Checks requests and replies against the contract and answers with a list of problems (contract sections 1, 2, 7).

The reader (`harness.wire.reply`) is tolerant; strictness lives here. Requests are judged as the service would: an
error anywhere makes it refuse the whole request (400, code 5), a warning does not. Unknown keys of a reply are never
a problem, because the contract asks clients to accept newer fields.
"""

from __future__ import annotations

from typing import Final

import orjson

from harness.wire.attributes import ATTRIBUTES, TEXT
from harness.wire.codes import BODILESS, MEANINGS
from harness.wire.events import EVENTS
from harness.wire.ids import as_code
from harness.wire.schema import Address, Either, Id, Many, Node, Number, Problem, Record, Text, has_errors

__all__ = ["APP_TYPES", "DEVICE_FAMILIES", "OPERATING_SYSTEMS", "Problem", "check_reply", "check_request", "has_errors"]

APP_TYPES: Final = ("EXTERNAL", "MSDK")
DEVICE_FAMILIES: Final = ("DESKTOP", "TABLET", "MOBILE")
OPERATING_SYSTEMS: Final = ("WINDOWS", "MAC_OSX", "LINUX", "IOS", "ANDROID")

_IDS_ELSEWHERE: Final = dict.fromkeys(
    ("vid", "sid", "visitorId", "sessionId"),
    "ids belong into the path and the query, where the harness puts those of the visit",
)
_MONITORING: Final = {
    "clientProperties": "is the Monitoring API's name; here it is appDetails",
    "entryPoints": "is the Monitoring API's name; here it is consumerSections",
    "identities": "belongs to the Monitoring API; this operation does not know it",
    "consumerId": "belongs to the Monitoring API; this operation does not know it",
}

ENGAGEMENT: Final = Record(
    {
        "appType": Text(APP_TYPES),
        "appDetails": Record(
            {
                "appVersion": TEXT,
                "deviceFamily": Text(DEVICE_FAMILIES),
                "ipAddress": Address(),
                "os": Text(OPERATING_SYSTEMS),
                "osVersion": TEXT,
            },
            foreign={"osName": "is the Monitoring API's name; here it is os"},
        ),
        "consumerSections": Many(TEXT),
        "engagementAttributes": ATTRIBUTES,
    },
    expected=("appType",),
    foreign={
        **_IDS_ELSEWHERE,
        **_MONITORING,
        "pageId": "belongs to an update; the service makes it",
        "impAttributes": "belongs to an update",
    },
)

_UPDATE_FIELDS: Final[dict[str, Node]] = {"pageId": Id(), "impAttributes": EVENTS, "engagementAttributes": ATTRIBUTES}
_UPDATE_FOREIGN: Final = {
    **_IDS_ELSEWHERE,
    **_MONITORING,
    **dict.fromkeys(("appType", "appDetails", "consumerSections"), "belongs to get_engagement"),
}
UPDATE_IN_TRACE: Final = Record(_UPDATE_FIELDS, foreign=_UPDATE_FOREIGN)
_UPDATE_ON_WIRE: Final = Record(_UPDATE_FIELDS, required=("pageId",), foreign=_UPDATE_FOREIGN)

_OFFER: Final = Record(
    {
        "campaignId": Id(digits=True),
        "engagementId": Id(digits=True),
        "contextId": Id(),
        "windowId": Id(),
        "language": TEXT,
        "engagementRevision": Id(digits=True),
        "validForSeconds": Number(low=0),
        "skillId": Id(digits=True),
        "skillName": TEXT,
        "connectorId": Id(digits=True),
    },
    required=(
        "campaignId",
        "engagementId",
        "contextId",
        "windowId",
        "language",
        "engagementRevision",
        "validForSeconds",
    ),
    open=True,
)
_REPLY_FIELDS: Final[dict[str, Node]] = {
    "status": Text(("Available", "NotAvailable")),
    "sessionId": Id(),
    "visitorId": Id(),
    "pageId": Id(),
}
_REPLY_REQUIRED: Final = ("status", "sessionId", "visitorId")
_NOT_AVAILABLE: Final = Record(_REPLY_FIELDS, required=_REPLY_REQUIRED, expected=("pageId",), open=True)
_AVAILABLE: Final = Record(
    {**_REPLY_FIELDS, "engagementDetails": _OFFER},
    required=(*_REPLY_REQUIRED, "engagementDetails"),
    expected=("pageId",),
    open=True,
)
_ERROR: Final = Record(
    {
        "time": Either(Number("integer", 0), TEXT, "is usually a number of milliseconds"),
        "message": TEXT,
        "internalCode": Either(Number("integer"), Id(digits=True), "is usually a number"),
    },
    required=("time", "internalCode"),
    open=True,
)


def check_request(op: str, request: object, *, sent: bool = False) -> list[Problem]:
    """Everything that is wrong with a request body; an empty list when nothing is.

    `op` is "get_engagement" or "update", `request` the parsed JSON. A trace leaves out what only the run can know
    (pageId and the ids of the offer); `sent` says that the body is judged as it stands on the wire, where pageId must
    be there. A request without errors can always be written (`harness.wire.request`). Never raises for any `request`;
    an unknown `op` is a `ValueError`. Contract sections 1.1, 1.2, 5 and 7.
    """
    found: list[Problem] = []
    if op == "get_engagement":
        ENGAGEMENT.check(request, "", found)
        if isinstance(request, dict):
            _check_source(request, found)
    elif op == "update":
        (_UPDATE_ON_WIRE if sent else UPDATE_IN_TRACE).check(request, "", found)
    else:
        raise ValueError(f"unknown operation {op!r}")
    if not has_errors(found):
        try:
            orjson.dumps(request)
        except TypeError:
            found.append(Problem("", "json", "error", "cannot be written as JSON (encoding, depth or number size)"))
    return found


def _check_source(request: dict[str, object], found: list[Problem]) -> None:
    """Searched content cannot be reported from a mobile device."""
    details, attributes = request.get("appDetails"), request.get("engagementAttributes")
    if not (isinstance(details, dict) and isinstance(attributes, list) and details.get("deviceFamily") == "MOBILE"):
        return
    for index, attribute in enumerate(attributes):
        if isinstance(attribute, dict) and attribute.get("type") == "searchInfo":
            place = f"engagementAttributes[{index}].type"
            found.append(Problem(place, "source", "warning", "searchInfo cannot be reported from a mobile device"))


def check_reply(op: str, http_status: int, body: bytes) -> list[Problem]:
    """Everything in which a reply departs from the contract; an empty list when nothing does.

    `op` is "get_engagement" or "update", `body` the raw bytes. A documented error reply is a proper reply: no problem.
    Never raises for any status or body; an unknown `op` is a `ValueError`. Contract sections 2.1, 2.3 and 7.
    """
    if op not in ("get_engagement", "update"):
        raise ValueError(f"unknown operation {op!r}")
    found: list[Problem] = []
    if not 200 <= http_status < 600:
        found.append(Problem("", "status", "error", f"HTTP status {http_status} is no final reply"))
    elif 300 <= http_status < 400:
        found.append(Problem("", "status", "error", "no redirect is documented"))
    elif http_status == 202 or http_status >= 400:
        _check_error(http_status, body, found)
    elif op == "update":
        _check_update(http_status, body, found)
    else:
        _check_engagement(http_status, body, found)
    return found


def _check_update(http_status: int, body: bytes, found: list[Problem]) -> None:
    if http_status != 200:
        found.append(Problem("", "status", "warning", f"HTTP status {http_status} is not documented; 200 is"))
    if body:
        found.append(Problem("", "type", "warning", "has a body; an accepted update has none"))


def _check_engagement(http_status: int, body: bytes, found: list[Problem]) -> None:
    if http_status not in (200, 201):
        found.append(Problem("", "status", "warning", f"HTTP status {http_status} is not documented; 200 is"))
    reply = _parse(body, found)
    if not isinstance(reply, dict):
        if not found or found[-1].rule != "json":
            found.append(Problem("", "type", "error", "must be an object"))
    elif reply.get("status") == "Available":
        _AVAILABLE.check(reply, "", found)
    else:
        _NOT_AVAILABLE.check(reply, "", found)
        if "engagementDetails" in reply:
            found.append(Problem("engagementDetails", "forbidden", "warning", "is given although not Available"))


def _check_error(http_status: int, body: bytes, found: list[Problem]) -> None:
    if http_status == 202:
        found.append(Problem("", "status", "warning", "HTTP status 202 is documented for the Monitoring API only"))
    if http_status in BODILESS and not body:
        return
    reply = _parse(body, found)
    if not isinstance(reply, dict):
        if http_status in BODILESS:
            found.clear()
        elif not found or found[-1].rule != "json":
            found.append(Problem("", "type", "error", "must be an object"))
        return
    _ERROR.check(reply, "", found)
    code = as_code(reply.get("internalCode"))
    if code is not None and (http_status, code) not in MEANINGS:
        found.append(Problem("internalCode", "code", "warning", f"{code} is not documented for HTTP {http_status}"))


def _parse(body: bytes, found: list[Problem]) -> object:
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError:
        found.append(Problem("", "json", "error", "is no JSON" if body else "is empty; JSON is needed"))
        return None
