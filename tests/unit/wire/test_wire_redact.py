"""Redaction: nothing that identifies somebody gets from a reply into a report."""

from __future__ import annotations

import pytest

from harness.wire.redact import MAX_CHARS, redact


@pytest.mark.parametrize(
    ("message", "shown"),
    [
        ("Illegal Version", "Illegal Version"),
        ("consumerId", "consumerId"),
        ("HTTP 500, code 18, version 1.0", "HTTP 500, code 18, version 1.0"),
        ("java.lang.NullPointerException", "java.lang.NullPointerException"),
        ("Loading account: 12345678, vid: ZjYWZlYzYzNDE5MTE1OWQ5", "Loading account: …, vid: …"),
        ("Loading account: ahiel", "Loading account: …"),
        ("customerId=bob; retry", "customerId=…; retry"),
        ("mail to bob@example.test now", "mail to … now"),
        ("from 192.168.5.2 to [2001:db8::1]", "from … to […]"),
        ("call +1 (212) 788 8877 now", "call … now"),
        ("cannot parse 'Sarah West' here", "cannot parse '…' here"),
        ("can't do, won't try", "can't do, won't try"),
        ('{"vid":"ahiel","name": "Joe Miller"}', '{"…":"…","…": "…"}'),
        ("session stMCzMWRyeMZgRBALUQab gone", "session … gone"),
        ("a\r\nSet-Cookie:\tb\x00\x1b[31m\u202e", "a Set-Cookie: b [31m"),
        ("", ""),
    ],
)
def test_redact(message: str, shown: str) -> None:
    """Plain words and short numbers stay, values and identifiers become an ellipsis, controls vanish."""
    assert redact(message) == shown


def test_length_is_bounded() -> None:
    """However long the message, the line has at most 200 characters and says that it was cut."""
    line = redact("word " * 100_000)
    assert len(line) == MAX_CHARS == 200
    assert line == ("word " * 40)[:199] + "…"
