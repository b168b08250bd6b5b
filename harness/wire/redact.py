"""Makes a server's error message fit for a report: one short line that identifies nobody.

Messages carry account numbers, visitor ids, addresses and whatever a field contained. Hidden is what looks like a
value: anything in quotes, what follows a name such as `vid:` or `account:`, e-mail and IP addresses, phone numbers,
long words and words of five or more characters with a digit. Plain words and short numbers stay, so equal errors
look equal.
"""

from __future__ import annotations

import re
from typing import Final

HIDDEN: Final = "…"
MAX_CHARS: Final = 200

# Bounds the work on hostile input; most of what lies behind would be cut anyway.
_MAX_READ: Final = 500
# One less than the 21 and more characters that 128 random bits need, so that an id without a digit goes too.
_LONG_WORD: Final = 20
_SHORT_NUMBER: Final = 4

_QUOTED = re.compile(r"(?<!\w)([\"'`]).+?\1(?!\w)")
_NAMED = re.compile(r"(?i)((?:id|account|visitor|session|name|user|customer|phone|mail|value)\s*[:=]\s*)[^\s,;]+")
_PHONE = re.compile(r"\+?\d[\d ().-]{6,}\d")
_DIGIT = re.compile(r"\d")
_WORD = re.compile(r"[^\s\"'`<>()\[\]{},;=]+")


def _hide_word(match: re.Match[str]) -> str:
    word = match[0]
    identifies = (
        "@" in word
        or word.count(":") > 1
        or any(len(part) > _LONG_WORD for part in word.split("."))
        or (len(word) > _SHORT_NUMBER and _DIGIT.search(word) is not None)
    )
    return HIDDEN if identifies else word


def redact(message: str) -> str:
    """One line of at most 200 printable characters, without ids, quoted values, e-mail and IP addresses."""
    line = message[:_MAX_READ]
    if not line.isprintable():  # controls, line breaks, marks that reorder text
        line = "".join(char if char.isprintable() else " " for char in line)
    line = _QUOTED.sub(rf"\1{HIDDEN}\1", line)
    if ":" in line or "=" in line:  # spares most messages the slowest pattern
        line = _NAMED.sub(rf"\1{HIDDEN}", line)
    line = _WORD.sub(_hide_word, _PHONE.sub(HIDDEN, line))
    line = " ".join(line.split())
    return line if len(line) <= MAX_CHARS else line[: MAX_CHARS - 1] + HIDDEN
