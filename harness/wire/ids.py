"""Tolerant reading of ids and codes: the service writes them as numbers here and as strings there.

Ids are opaque. They are compared and sent back as text, and their form is never judged
(contract section 7, rows 11 and 15).
"""

from __future__ import annotations

# int() of a longer text may be refused, and no documented number has more digits.
_MAX_DIGITS = 19


def as_id(value: object) -> str | None:
    """The text of an id given as a string or an integer; None for anything else and for an empty string."""
    if type(value) is str:
        return value or None
    return str(value) if type(value) is int else None


def as_code(value: object) -> int | None:
    """The number of a code given as an integer or as a string of digits; None for anything else."""
    if type(value) is int:
        return value
    if type(value) is str and value.isascii() and value.isdecimal() and len(value) <= _MAX_DIGITS:
        return int(value)
    return None
