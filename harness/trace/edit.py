"""Changing a few values of a line and nothing else: unknown keys, the order of keys and the spelling of numbers stay.

The outer keys of a line are decoded, their values stay the bytes that they are.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import msgspec
import orjson

from harness.trace.codec import plain_number

_fields = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_objects = msgspec.json.Decoder(list[dict[str, msgspec.Raw]]).decode


def edit_line(
    line: bytes, changes: Mapping[str, Any], step: Callable[[int, dict[str, msgspec.Raw]], object] | None = None
) -> bytes:
    """A visit's line with other values (anything that JSON knows) for some of its keys; keys it lacks stand at its end.

    `step` may change each step in place: it is given the step's number from 0 and its keys with raw values.
    """
    fields = _fields(line)
    for key, value in changes.items():
        fields[key] = raw(value)
    if step is not None:
        steps = _objects(fields["steps"])
        for index, one in enumerate(steps):
            step(index, one)
        fields["steps"] = msgspec.Raw(msgspec.json.encode(steps))
    return msgspec.json.encode(fields)


def edit_header(line: bytes, changes: Mapping[str, Any]) -> bytes:
    """A header's line with other values for some of its keys; None takes the key away."""
    header = {**orjson.loads(line), **changes}
    return orjson.dumps({key: value for key, value in header.items() if key not in changes or value is not None})


def raw(value: Any) -> msgspec.Raw:
    """A value as the bytes that stand for it in a line."""
    return msgspec.Raw(msgspec.json.encode(value))


def seconds(value: float) -> int | float:
    """A computed time as a trace writes it, to the nanosecond: `0.3`, not `0.30000000000000004`."""
    return plain_number(round(value, 9))
