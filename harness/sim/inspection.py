"""Whether the service accepts a request body (contract sections 1.1, 1.2, 7).

One error voids the whole request: 400, code 5, with a field name as its message. Strict, every violation counts; if
not, those are let pass that contract section 7 says real servers ignore: descriptive fields of the wrong form, and a
missing appType.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache
from typing import Any

import msgspec
import orjson

from harness.trace.model import Op
from harness.wire.validate import Problem, check_request

# Visitors repeat themselves: small bodies are judged once. Larger ones would make the cache's memory unbounded.
_CACHED_BODIES = 4096
_CACHED_BYTES = 4096
_DESCRIPTIVE = re.compile(r"(appDetails|consumerSections)\b|engagementAttributes\Z")


class Inspected(msgspec.Struct, frozen=True):
    """A judged body: `complaint` is the message of the refusal or None, `impressions` the events that it reports."""

    complaint: str | None
    page_id: str = ""
    impressions: tuple[dict[str, Any], ...] = ()


def inspector(strict: bool) -> Callable[[Op, bytes], Inspected]:
    """A function that judges the body of an operation; it never raises, whatever the bytes."""
    cached = lru_cache(maxsize=_CACHED_BODIES)(lambda op, body: _inspect(op, body, strict))

    def inspect(op: Op, body: bytes) -> Inspected:
        return cached(op, body) if len(body) <= _CACHED_BYTES else _inspect(op, body, strict)

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
