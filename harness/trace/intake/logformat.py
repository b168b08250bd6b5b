"""Lines of web server logs, whatever their format: who asked for what, when, and what came of it.

Known without being told: combined, common, and JSON lines with nginx's names. Any other format is described the way
the server itself has it in its configuration: nginx's `log_format` (`$remote_addr … $request`) or Apache's
`LogFormat` (`%h … %r`).
"""

from __future__ import annotations

import re
from calendar import monthrange, timegm
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from decimal import Decimal
from functools import lru_cache
from typing import Any, Final, NamedTuple

import orjson

from harness.errors import UsageError
from harness.units import NS_PER_MS, NS_PER_S, NS_PER_US, seconds_to_ns


class LogLine(NamedTuple):
    """One request as a log has it; `agent` is None where the format knows none. Times are ns since 1970."""

    address: bytes
    at_ns: int
    method: bytes
    target: bytes
    status: bytes
    agent: bytes | None


# Half the time of calling the class, for what is made a million times.
_new = tuple.__new__

# A line that is none raises `NoLogLine` with the reason.
Reader = Callable[[bytes], LogLine]


class NoLogLine(Exception):
    """The line is not in the format; the text says why."""


_TEXT: Final = rb'"([^"\\]*(?:\\.[^"\\]*)*)'
_STAMP: Final = rb"(\d\d/[A-Z][a-z]{2}/\d{4}:\d\d:\d\d):(\d\d) ([+-]\d{4})"
_DAY: Final = re.compile(rb"(\d\d)/([A-Za-z]{3})/(\d{4})([+-])(\d\d)(\d\d)")
_CLOCK: Final = re.compile(rb":(\d\d):(\d\d)")
_STAMP_ONLY: Final = re.compile(_STAMP)
# The end of 2115: sums of two times are still 64-bit numbers.
_LAST_YEAR: Final = 2115
END_NS: Final = 2**62
# Seconds beyond the year 5000 are milliseconds.
_FAR_S: Final = 10**11
# The closing quote of the agent may be missing: servers cut lines that are too long.
_COMBINED: Final = re.compile(
    rb"(\S+) [^\[]*\[" + _STAMP + rb"\] " + _TEXT + rb'" (\d{3}) \S+(?: ' + _TEXT + rb'" ' + _TEXT + rb'"?)?'
)
_MONTHS: Final = {
    name: number for number, name in enumerate(b"Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec".split(), start=1)
}

# What a field of a JSON line may be called, in the order in which it is looked for.
_JSON_NAMES: Final[dict[str, tuple[str, ...]]] = {
    "address": ("remote_addr", "client_ip", "client", "clientip", "ip", "host"),
    "time": ("time_iso8601", "msec", "time_local", "@timestamp", "timestamp", "time", "ts"),
    "request": ("request",),
    "method": ("request_method", "method", "verb"),
    "target": ("request_uri", "uri", "url", "path"),
    "status": ("status", "response", "code"),
    "agent": ("http_user_agent", "user_agent", "agent", "useragent"),
}

# Variables of nginx and directives of Apache that matter, by what they are; all others are passed over.
_NGINX: Final = {
    "remote_addr": "address",
    "http_x_forwarded_for": "address",
    "http_x_real_ip": "address",
    "time_local": "stamp",
    "time_iso8601": "iso",
    "msec": "seconds",
    "request": "request",
    "request_method": "method",
    "request_uri": "target",
    "uri": "target",
    "status": "status",
    "http_user_agent": "agent",
}
_APACHE: Final = {
    "h": "address",
    "a": "address",
    "{x-forwarded-for}i": "address",
    "t": "bracketed",
    "r": "request",
    "m": "method",
    "U": "target",
    "s": "status",
    ">s": "status",
    "{user-agent}i": "agent",
}
_PARTS: Final[dict[str, bytes]] = {
    "address": rb"(?P<address>[0-9A-Fa-f.:]+|\S+?)(?:,[^\"]*?)?",
    "stamp": rb"(?P<stamp>\d\d/[A-Z][a-z]{2}/\d{4}:\d\d:\d\d:\d\d [+-]\d{4})",
    "bracketed": rb"\[(?P<stamp>\d\d/[A-Z][a-z]{2}/\d{4}:\d\d:\d\d:\d\d [+-]\d{4})\]",
    "iso": rb"(?P<iso>\d{4}-\d\d-\d\dT[0-9:.]+(?:Z|[+-]\d\d:?\d\d))",
    "seconds": rb"(?P<seconds>\d+(?:\.\d+)?)",
    "request": rb"(?P<request>[^\"\\]*(?:\\.[^\"\\]*)*)",
    "method": rb"(?P<method>[A-Z-]+)",
    "target": rb"(?P<target>[^\s\"]*)",
    "status": rb"(?P<status>\d{3})",
    "agent": rb"(?P<agent>[^\"\\]*(?:\\.[^\"\\]*)*)",
}
_VARIABLE: Final = re.compile(r"\$(?:\{(\w+)\}|(\w+))|%((?:[!<>]|\d{3},?)*(?:\{[^}]*\})?\^?[A-Za-z%]{1,2}?)")
_HEADER: Final = re.compile(r"\{.*\}")
_NAMED: Final = ("auto", "combined", "common", "json")


def line_reader(text: str = "auto") -> Reader:
    """The reader of a format: `auto`, `combined`, `common`, `json`, or a description as the server has it.

    Raises `UsageError` when a description has no address, time, request or status.
    """
    if text in ("combined", "common"):
        return read_combined
    if text == "json":
        return read_json
    if text == "auto":
        return _read_any
    return _described(text)


def _read_any(line: bytes) -> LogLine:
    return read_json(line) if line[:1] == b"{" else read_combined(line)


def read_combined(line: bytes) -> LogLine:
    """A line in combined format, or in common format, which knows no agent."""
    # The usual line: three texts without an escaped quote, so that quotes alone tell them apart.
    parts = line.split(b'"')
    head = parts[0]
    if len(parts) == 7 and head[-29:-28] == b"[" and head[-2:] == b"] " and b"\\" not in line:
        status = parts[2][1:4]
        start_s = _minute_s(head[-28:-11], head[-7:-2])
        second = head[-10:-8]
        if start_s is not None and status.isdigit() and second.isdigit() and second <= b"60":
            method, _, rest = parts[1].partition(b" ")
            target = rest.partition(b" ")[0]
            at_ns = (start_s + int(second)) * NS_PER_S
            return _new(LogLine, (head.partition(b" ")[0], at_ns, method, target, status, parts[5]))
    return _read_odd(line)


def _read_odd(line: bytes) -> LogLine:
    """Any line in combined or common format."""
    match = _COMBINED.match(line)
    if match is None:
        raise NoLogLine('not in combined log format: address ident user [time] "request" status size "referer" "agent"')
    address, minute, second, zone, request, status, _, agent = match.groups()
    start_s = _minute_s(minute, zone)
    if start_s is None or second > b"60":
        raise NoLogLine("its time is none")
    method, _, rest = request.partition(b" ")
    return LogLine(address, (start_s + int(second)) * NS_PER_S, method, rest.partition(b" ")[0], status, agent)


def read_json(line: bytes) -> LogLine:
    """A JSON object with nginx's names for its fields, or others that are common."""
    try:
        fields = orjson.loads(line)
    except orjson.JSONDecodeError as error:
        raise NoLogLine(f"not JSON: {error}") from None
    if not isinstance(fields, dict):
        raise NoLogLine("not a JSON object")
    found = {what: _first(fields, names) for what, names in _JSON_NAMES.items()}
    request = _text(found["request"])
    method, _, rest = request.partition(b" ")
    target = rest.partition(b" ")[0]
    if not request:
        method, target = _text(found["method"]), _text(found["target"])
    at_ns = any_time_ns(found["time"])
    missing = [
        name
        for name, value in (
            ("time", at_ns),
            ("address", found["address"]),
            ("request", target),
            ("status", found["status"]),
        )
        if value in (None, b"")
    ]
    if missing or at_ns is None:
        names = ", ".join(_JSON_NAMES[missing[0]])
        raise NoLogLine(f"no {missing[0]} that can be read; it is looked for as {names}")
    agent = found["agent"]
    return LogLine(
        _text(found["address"]), at_ns, method, target, _text(found["status"]), None if agent is None else _text(agent)
    )


def _described(text: str) -> Reader:
    pattern, known = _pattern(text)
    missing = [
        what
        for what, ways in (
            ("an address", {"address"}),
            ("a time", {"stamp", "iso", "seconds"}),
            ("a request", {"request", "target"}),
            ("a status", {"status"}),
        )
        if not ways & known
    ]
    if missing:
        raise UsageError(
            f"--format {text}: has no {' and no '.join(word.partition(' ')[2] for word in missing)}; write it as the "
            "server's configuration has it ($remote_addr … or %h …), or one of auto, combined, common, json"
        )
    match = re.compile(pattern).match

    def read(line: bytes) -> LogLine:
        found = match(line)
        if found is None:
            raise NoLogLine(f"not in the format {text}")
        parts = found.groupdict()
        at_ns = _time_ns(parts)
        if at_ns is None:
            raise NoLogLine("its time is none")
        method, _, rest = (parts.get("request") or b"").partition(b" ")
        target = rest.partition(b" ")[0]
        if "request" not in parts:
            method, target = parts.get("method", b"GET"), parts["target"]
        return LogLine(parts["address"], at_ns, method, target, parts["status"], parts.get("agent"))

    return read


def _pattern(text: str) -> tuple[bytes, set[str]]:
    """The regular expression of a described format, and which parts it has."""
    # As it stands in a configuration, where it is between quotation marks itself.
    text = text.replace('\\"', '"')
    pattern, at, known = b"", 0, set[str]()
    for variable in _VARIABLE.finditer(text):
        pattern += re.escape(text[at : variable.start()].encode())
        at = variable.end()
        nginx = variable[1] or variable[2]
        # Names of headers and variables are the same in any capitals.
        what = _NGINX.get(nginx.lower()) if nginx else _APACHE.get(_HEADER.sub(_lower, variable[3]))
        follows = text[at : at + 1].encode()
        group = "stamp" if what == "bracketed" else what
        if what is not None and group not in known:
            pattern += _PARTS[what]
            known.add(str(group))
        elif variable[3] == "t":
            pattern += rb"\[[^\]]*\]"
        elif follows == b'"':
            pattern += rb"[^\"\\]*(?:\\.[^\"\\]*)*"
        elif follows == b"]":
            pattern += rb"[^\]]*"
        else:
            pattern += rb"[^\s\"]*"
    # Behind the last part lines may go on, as long as nothing that is described is missing.
    return pattern + re.escape(text[at:].rstrip('"').encode()), known


def _lower(match: re.Match[str]) -> str:
    return match[0].lower()


def _time_ns(parts: Mapping[str, bytes]) -> int | None:
    if "seconds" in parts:
        at_ns = seconds_to_ns(parts["seconds"].decode())
        return at_ns if at_ns < END_NS else None
    if "iso" in parts:
        return iso_ns(parts["iso"].decode())
    stamp = parts["stamp"]
    start_s = _minute_s(stamp[:17], stamp[-5:])
    return None if start_s is None or stamp[18:20] > b"60" else (start_s + int(stamp[18:20])) * NS_PER_S


def any_time_ns(value: Any, unit_ns: int = 0) -> int | None:
    """Nanoseconds since 1970 of a number, ISO 8601, or a time as in combined format; None when it is none of them.

    A number counts `unit_ns`; without one it is seconds, or milliseconds where seconds would be far in the future.
    """
    if isinstance(value, str):
        if re.fullmatch(r"\d{1,20}(?:\.\d{1,12})?", value):
            number: Decimal | int | float = Decimal(value)
        else:
            stamp = value.encode()
            return _time_ns({"stamp": stamp}) if _STAMP_ONLY.fullmatch(stamp) else iso_ns(value)
    elif isinstance(value, int | float) and not isinstance(value, bool):
        number = value
    else:
        return None
    at_ns = int(number * (unit_ns or (NS_PER_S if number < _FAR_S else NS_PER_MS)))
    return at_ns if 0 <= at_ns < END_NS else None


def iso_ns(text: str) -> int | None:
    """Nanoseconds since 1970 of a time in ISO 8601 (UTC without a zone); None if it is none, or not in 1970 to 2115."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    since = moment - datetime(1970, 1, 1, tzinfo=UTC)
    whole_ns = (since.days * 86_400 + since.seconds) * NS_PER_S + since.microseconds * NS_PER_US
    return whole_ns if 0 <= whole_ns < END_NS else None


@lru_cache(maxsize=4096)
def _minute_s(minute: bytes, zone: bytes) -> int | None:
    """Seconds since 1970 of `17/May/2015:10:05` in a zone such as `+0200`; None when there is no such moment."""
    clock = _CLOCK.fullmatch(minute, 11)
    day_s = _day_s(minute[:11], zone)
    if clock is None or day_s is None or clock[1] > b"23" or clock[2] > b"59":
        return None
    return day_s + int(clock[1]) * 3600 + int(clock[2]) * 60


@lru_cache(maxsize=1024)
def _day_s(date: bytes, zone: bytes) -> int | None:
    form = _DAY.fullmatch(date + zone)
    month = _MONTHS.get(form[2]) if form is not None else None
    if form is None or month is None or not 1970 <= (year := int(form[3])) <= _LAST_YEAR:
        return None
    day = int(form[1])
    # No place is further from Greenwich than that.
    if not 1 <= day <= monthrange(year, month)[1] or form[5] > b"14" or form[6] > b"59":
        return None
    offset_s = (int(form[5]) * 60 + int(form[6])) * 60
    start_s = timegm((year, month, day, 0, 0, 0))
    return start_s + (offset_s if form[4] == b"-" else -offset_s)


def _first(fields: Mapping[str, Any], names: tuple[str, ...]) -> Any:
    return next((fields[name] for name in names if fields.get(name) is not None), None)


def _text(value: Any) -> bytes:
    if isinstance(value, str):
        return value.encode()
    return b"" if value is None or isinstance(value, dict | list) else str(value).encode()
