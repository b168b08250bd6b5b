"""JSON lines of any kind, mapped by a small TOML file: which field is the time, which the visitor, which the request.

    time = "ts"                       # path of keys joined by dots; numbers, ISO 8601, or as in access logs
    time_unit = "ms"                  # of numbers: s (default), ms, us, ns
    visitor = ["user.id"]             # one path or several that together name a visitor
    visit = "session"                 # optional: what names a visit; else pauses do
    op = "event"                      # optional; without it every line is a get_engagement
    ops = { page = "get_engagement", shown = "update" }
    request = "payload"               # optional: an object, or a text that is one
    cohort = "device"                 # optional: a label
    agent = "ua"                      # optional: a User-Agent, from which a cohort is told
    account = "site"                  # optional
    where = { "event.type" = ["page", "shown"] }      # optional: only lines that say so
    vid = "vid"                       # instead of visitor, where lines have the service's own ids: those sent,
    sid = "sid"
    reply = "response.body"           # and the reply's body and status, which give ids and tell retries
    status = "response.status"
    duration = "ms"                   # with its unit in duration_unit

Visits come out of it by the same tying as recordings.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from difflib import get_close_matches
from hashlib import blake2b
from pathlib import Path
from typing import Any, Final, Literal

import msgspec
import orjson

from harness.errors import TraceError, UsageError
from harness.toml_file import read_toml
from harness.trace.intake.exchange import Answer, Exchange, exchange
from harness.trace.intake.issued import Issued
from harness.trace.intake.logformat import any_time_ns
from harness.trace.lines import BadLines, read_lines, source_name
from harness.trace.model import MAX_SECONDS
from harness.units import NS_PER_MS, NS_PER_S, NS_PER_US
from harness.wire.route import Call, Op

Unit = Literal["s", "ms", "us", "ns"]

_UNIT_NS: Final[dict[str, int]] = {"s": NS_PER_S, "ms": NS_PER_MS, "us": NS_PER_US, "ns": 1}
_NO_LABEL: Final = re.compile(r"[^A-Za-z0-9_.-]+")
_MAX_COHORTS: Final = 20
_FIRST: Final = b'{"appType":"EXTERNAL"}'


class Mapping(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """What the TOML file says; see the module's text."""

    time: str
    time_unit: Unit = "s"
    visitor: str | list[str] = []
    visit: str = ""
    op: str = ""
    ops: dict[str, Op] = {}
    request: str = ""
    cohort: str = ""
    agent: str = ""
    account: str = ""
    where: dict[str, Any] = {}
    vid: str = ""
    sid: str = ""
    reply: str = ""
    status: str = ""
    duration: str = ""
    duration_unit: Unit = "ms"


def read_mapping(path: str | Path) -> Mapping:
    """The mapping in a TOML file; raises `UsageError` that names file and key."""
    table = read_toml(path, f"--map {path}")
    unknown = sorted(table.keys() - set(Mapping.__struct_fields__))
    if unknown:
        close = get_close_matches(unknown[0], Mapping.__struct_fields__, n=1)
        raise UsageError(f"--map {path}: unknown key {unknown[0]}{f'; did you mean {close[0]}?' if close else ''}")
    try:
        mapping = msgspec.convert(table, Mapping)
    except msgspec.ValidationError as error:
        raise UsageError(f"--map {path}: {error}") from error
    if not mapping.visitor and not mapping.vid and not mapping.sid:
        raise UsageError(f"--map {path}: nothing says whose a line is: give visitor, or vid and sid")
    return mapping


class JsonLines:
    """The exchanges in files of JSON lines, read in the order given; iterate once.

    A line that cannot be used goes to `bad`; afterwards `count` is how many there were, and `left_out` how many of
    them the mapping does not want, by reason.
    """

    def __init__(self, sources: Iterable[str | Path], mapping: Mapping, bad: BadLines) -> None:
        self._sources = list(sources)
        self._map = mapping
        self._visitor = [mapping.visitor] if isinstance(mapping.visitor, str) else mapping.visitor
        self._bad = bad
        self._seen: set[str] = set()
        self._cohorts: set[str] = {"all", "other"}
        self._issued = Issued()
        self.count = 0
        self.left_out: Counter[str] = Counter()

    def __iter__(self) -> Iterator[Exchange]:
        for source in self._sources:
            name = source_name(source)
            for number, raw in read_lines(source, self._bad):
                self.count += 1
                try:
                    found = self._exchange(raw, f"{name}:{number}")
                except ValueError as error:
                    self._bad.add(TraceError(f"{name}:{number}: {error}"))
                else:
                    if found is not None:
                        yield found

    def _exchange(self, raw: bytes, where: str) -> Exchange | None:
        try:
            line = orjson.loads(raw)
        except orjson.JSONDecodeError as error:
            raise ValueError(f"not JSON: {error}") from None
        if not isinstance(line, dict):
            raise ValueError("not a JSON object")
        wanted = self._map
        for path, values in wanted.where.items():
            if _at(line, path) not in (values if isinstance(values, list) else [values]):
                self.left_out[f"line without the wanted {path}"] += 1
                return None
        op = self._op(line)
        if op is None:
            return None
        began_ns = any_time_ns(_at(line, wanted.time), _UNIT_NS[wanted.time_unit])
        if began_ns is None:
            raise ValueError(f"no time at {wanted.time}")
        duration = _at(line, wanted.duration)
        lasted = duration if isinstance(duration, int | float) and duration > 0 else 0
        if lasted * _UNIT_NS[wanted.duration_unit] > MAX_SECONDS * NS_PER_S:
            raise ValueError(f"its duration at {wanted.duration} is more than ten years")
        agent = _at(line, wanted.agent)
        made = exchange(
            self._call(line, op),
            self._body(line, op),
            began_ns=began_ns,
            done_ns=began_ns + int(lasted * _UNIT_NS[wanted.duration_unit]),
            answer=self._answer(line),
            agent=str(agent).encode() if agent is not None else b"",
            where=where,
            issued=self._issued,
        )
        if self._visitor:
            self._name(made, line)
        if wanted.cohort:
            made.cohort = self._cohort(_at(line, wanted.cohort))
        return made

    def _op(self, line: dict[str, Any]) -> Op | None:
        wanted = self._map
        if not wanted.op:
            return "get_engagement"
        value = _at(line, wanted.op)
        named = wanted.ops or {"get_engagement": "get_engagement", "update": "update"}
        op = named.get(value) if isinstance(value, str) else None
        if op is None:
            self.left_out[f"line with another {wanted.op}"] += 1
        return op

    def _call(self, line: dict[str, Any], op: Op) -> Call:
        account = _at(line, self._map.account)
        vid, sid = (_name_of(_at(line, path)) for path in (self._map.vid, self._map.sid))
        return Call(op, "" if account is None else str(account), vid or None, sid or None)

    def _body(self, line: dict[str, Any], op: Op) -> bytes:
        request = _at(line, self._map.request)
        if request is None:
            return _FIRST if op == "get_engagement" else b"{}"
        return request.encode() if isinstance(request, str) else orjson.dumps(request)

    def _answer(self, line: dict[str, Any]) -> Answer:
        status = _at(line, self._map.status)
        reply = _at(line, self._map.reply)
        if self._map.status and not isinstance(status, int):
            return ""
        body = b"" if reply is None else reply.encode() if isinstance(reply, str) else orjson.dumps(reply)
        return (status, body) if isinstance(status, int) else (200, body) if body else ""

    def _name(self, made: Exchange, line: dict[str, Any]) -> None:
        """Ids in place of the service's: a visitor is given its own at its first line, a visit at its first."""
        parts = [_name_of(_at(line, path)) for path in self._visitor]
        if not any(parts):
            raise ValueError(f"no visitor at {' or '.join(self._visitor)}")
        visitor = _digest("visitor", *parts)
        visit = _name_of(_at(line, self._map.visit)) if self._map.visit else ""
        visit = _digest("visit", *parts, visit) if visit else ""
        made.reply_vid, made.reply_sid = visitor, visit
        made.vid = visitor if visitor in self._seen else ""
        made.sid = visit if visit and visit in self._seen else ""
        self._seen.add(visitor)
        if visit:
            self._seen.add(visit)
        if not self._map.status:
            # A line is a page, not an attempt: the same one again is another page.
            made.result = "available"

    def _cohort(self, value: Any) -> str:
        label = _NO_LABEL.sub("-", _name_of(value)).strip("-._")[:32].lower()
        if not label:
            return "all"
        if label not in self._cohorts and len(self._cohorts) >= _MAX_COHORTS:
            return "other"
        self._cohorts.add(label)
        return label


def _at(line: Any, path: str) -> Any:
    """What stands at a path of keys, or None."""
    if not path:
        return None
    for key in path.split("."):
        if not isinstance(line, dict):
            return None
        line = line.get(key)
    return line


def _name_of(value: Any) -> str:
    return "" if value is None or isinstance(value, dict | list) else str(value)


def _digest(*parts: str) -> str:
    return blake2b("\0".join(parts).encode(), digest_size=12).hexdigest()
