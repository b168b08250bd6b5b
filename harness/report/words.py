"""Numbers and foreign texts as people read them.

Texts of a summary may come from the target (error messages) or from a trace (cohorts): `clean` takes out whatever could
move a cursor, colour a terminal, or turn the reading direction. Escaping for a format is the format's own business.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

NOTHING = "–"
_MAX_TEXT = 300

MEASURES = {
    "response_time": "response time",
    "service_time": "service time",
    "response_time{result=error}": "response time, errors",
    "service_time{result=error}": "service time, errors",
    "connect_time": "connect time",
    "time_to_available": "time to available",
    "dispatch_lag": "dispatch lag",
    "loop_delay": "loop delay",
}


def clean(text: object, limit: int = _MAX_TEXT) -> str:
    """`text` on one line, unprintable characters replaced by U+FFFD, cut after `limit` characters."""
    plain = "".join(char if char.isprintable() else " " if char.isspace() else "\ufffd" for char in str(text))
    return plain if len(plain) <= limit else plain[: limit - 1] + "…"


def name(word: str) -> str:
    """A name of a closed set as people say it: `not_available` is `not available`."""
    return clean(MEASURES.get(word, word.replace("_", " ")))


def integer(value: Any) -> str:
    """A count with separators of thousands; a dash when it is not known."""
    return NOTHING if value is None else f"{value:,}"


def number(value: Any) -> str:
    """Three or four significant digits, never an exponent; texts pass cleaned, None is a dash."""
    if value is None:
        return NOTHING
    if not isinstance(value, (int, float)):
        return clean(value)
    if isinstance(value, int) or value.is_integer():
        return f"{int(value):,}"
    size = abs(value)
    if size >= 1000:
        return f"{value:,.0f}"
    digits = 1 if size >= 100 else 2 if size >= 10 else 3 if size >= 0.1 else 4
    return f"{value:.{digits}f}".rstrip("0").rstrip(".")


def percent(ratio: Any) -> str:
    """A ratio as a percentage, never rounded up to 100 %; a dash when it is not known."""
    if ratio is None:
        return NOTHING
    text = f"{100 * ratio:.2f}".rstrip("0").rstrip(".")
    return "> 99.99 %" if text == "100" and ratio < 1 else f"{text or '0'} %"


def percentile(block: Mapping[str, Any], stat: str) -> str:
    """One statistic of a latency block in ms; `>x` or `never` where it falls on requests that got no reply."""
    if stat in block and block[stat] is None:
        return "never" if block.get("beyond_ms") is None else f">{number(block['beyond_ms'])}"
    return number(block.get(stat))


def quantity(value: Any, unit: Any) -> str:
    """A value with its unit: `12.5 ms`, `50/s`; the unit `ratio` is shown as a percentage."""
    if value is None or not unit:
        return number(value)
    if unit == "ratio" and isinstance(value, (int, float)):
        return percent(value)
    return f"{number(value)}{'' if unit == '/s' else ' '}{clean(unit)}"


def joined(counts: Mapping[str, Any], separator: str = ", ") -> str:
    """`3 available, 1 failed`: the counts above zero in their order, or `none`."""
    parts = [f"{integer(count)} {name(word)}" for word, count in counts.items() if count]
    return separator.join(parts) or "none"
