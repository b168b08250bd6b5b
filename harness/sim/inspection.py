"""Whether the service accepts a request body (contract sections 1.1, 1.2, 7).

One error voids the whole request: 400, code 5, with a field name as its message. Strict, every violation counts; if
not, those are let pass that contract section 7 says real servers ignore: descriptive fields of the wrong form, and a
missing appType.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import msgspec
import orjson

from harness.trace.model import Op
from harness.wire.validate import Problem, check_request

# Visitors repeat themselves, so what was accepted is known again, by a hash of 64 bits: of so many bodies two are
# mistaken for each other once in ten thousand million cases.
_KNOWN_BODIES = 65_536
_DESCRIPTIVE = re.compile(r"(appDetails|consumerSections)\b|engagementAttributes\Z")


class Inspected(msgspec.Struct, frozen=True):
    """A judged body: `complaint` is the message of the refusal or None, `impressions` the events that it reports."""

    complaint: str | None
    page_id: str = ""
    impressions: tuple[dict[str, Any], ...] = ()


_ACCEPTED = Inspected(None)


def inspector(strict: bool) -> Callable[[Op, bytes], Inspected]:
    """A function that judges the body of an operation; it never raises, whatever the bytes."""
    accepted: set[int] = set()

    def inspect(op: Op, body: bytes) -> Inspected:
        if op == "update":
            return _inspect(op, body, strict)  # with the id of a page, so hardly ever the same twice
        known = hash(body)
        if known in accepted:
            return _ACCEPTED
        inspected = _inspect(op, body, strict)
        if inspected.complaint is None:
            if len(accepted) >= _KNOWN_BODIES:
                accepted.clear()
            accepted.add(known)
        return inspected

    return inspect


def _inspect(op: Op, body: bytes, strict: bool) -> Inspected:
    try:
        request = orjson.loads(body)
    except orjson.JSONDecodeError:
        return Inspected("body is not JSON")
    for problem in check_request(op, request, sent=True):
        if _refuses(problem, strict):
            return Inspected(problem.path or "body must be an object")
    events = request.get("impAttributes", ()) if op == "update" else ()
    return Inspected(None, str(request.get("pageId", "")), tuple(events))


def _refuses(problem: Problem, strict: bool) -> bool:
    if strict:
        return problem.severity == "error" or (problem.path, problem.rule) == ("appType", "required")
    return problem.severity == "error" and not _DESCRIPTIVE.match(problem.path)
