"""Durations, rates and their text forms: integers (nanoseconds) inside, units in names.

Durations are written `250ms`, `30s`, `5m`, `1.5h`, `2d`; a bare number is seconds. Rates are written
`50/s`, `120/m`, `10/h`; a bare number is per second.
"""

from __future__ import annotations

import re
from decimal import Decimal, InvalidOperation

from harness.errors import UsageError

NS_PER_US = 1_000
NS_PER_MS = 1_000_000
NS_PER_S = 1_000_000_000

_DURATION_NS = {
    "ns": 1,
    "us": NS_PER_US,
    "ms": NS_PER_MS,
    "s": NS_PER_S,
    "m": 60 * NS_PER_S,
    "h": 3600 * NS_PER_S,
    "d": 86_400 * NS_PER_S,
}
_DURATION = re.compile(r"(?:(\d+(?:\.\d+)?)(ns|us|ms|s|m|h|d)?)\Z")
_DURATION_PARTS = re.compile(r"(\d+(?:\.\d+)?)(ns|us|ms|s|m|h|d)")
_RATE = re.compile(r"(\d+(?:\.\d+)?)(?:/(s|m|h))?\Z")
_RATE_PER_S = {"s": 1.0, "m": 60.0, "h": 3600.0}


def parse_duration_ns(text: str) -> int:
    """Nanoseconds of a duration such as `30s`, `250ms`, `1m30s` or `2.5` (seconds); never negative.

    Raises `UsageError` when the text is no duration.
    """
    text = text.strip()
    single = _DURATION.match(text)
    if single:
        return int(Decimal(single[1]) * _DURATION_NS[single[2] or "s"])
    parts = _DURATION_PARTS.findall(text)
    if parts and "".join(number + unit for number, unit in parts) == text:
        return sum(int(Decimal(number) * _DURATION_NS[unit]) for number, unit in parts)
    raise UsageError(f"'{text}' is not a duration: write 250ms, 30s, 5m, 1m30s or 2h")


def parse_rate_hz(text: str) -> float:
    """Events per second of a rate such as `50/s`, `120/m` or `50`; above zero.

    Raises `UsageError` when the text is no rate.
    """
    match = _RATE.match(text.strip())
    rate = float(match[1]) / _RATE_PER_S[match[2] or "s"] if match else 0.0
    if rate <= 0:
        raise UsageError(f"'{text}' is not a rate: write 50/s, 120/m or 10/h")
    return rate


def seconds_to_ns(seconds: float | int | str) -> int:
    """Nanoseconds of decimal seconds, rounded to the nearest; text is read exactly, without a float in between.

    Raises `ValueError` when a text is no number.
    """
    if isinstance(seconds, str):
        try:
            return int((Decimal(seconds) * NS_PER_S).to_integral_value())
        except InvalidOperation:
            raise ValueError(f"'{seconds}' is not a number of seconds") from None
    return round(seconds * NS_PER_S)


def format_duration(ns: int) -> str:
    """A short text for people: `850 us`, `12.3 ms`, `4.56 s`, `3m 20s`, `2h 05m`."""
    if ns < NS_PER_MS:
        return f"{ns / NS_PER_US:.0f} us"
    if ns < NS_PER_S:
        return f"{ns / NS_PER_MS:.3g} ms"
    if ns < 120 * NS_PER_S:
        return f"{ns / NS_PER_S:.3g} s"
    minutes, seconds = divmod(round(ns / NS_PER_S), 60)
    if minutes < 120:
        return f"{minutes}m {seconds:02d}s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours}h {minutes:02d}m"


def format_rate(hz: float) -> str:
    """A short text for people: `12.5/s`."""
    return f"{hz:.4g}/s"
