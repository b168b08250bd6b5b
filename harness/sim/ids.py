"""Ids in the forms seen of the real service (contract 3.5), made from draws that depend on the caller alone.

The draws for one call come from (seed, entity, counter), so they do not depend on what other visitors do meanwhile:
for a known visitor the entity is its vid and the counter its number of calls; for a new one it is the value of
`X-Harness-Attempt`, or, without that header, the order of arrival.
"""

from __future__ import annotations

import struct
from base64 import urlsafe_b64encode
from binascii import b2a_base64
from hashlib import blake2b

from harness.record import Record

_EIGHT = struct.Struct(">8Q")
_TWO = struct.Struct(">2Q")
_UNIT = 2.0**-53


class Draws(Record):
    """One call's randomness: eight times 64 bits, each for one purpose."""

    __slots__ = (
        "available_bits",
        "fault_bits",
        "page_bits",
        "service_bits",
        "sid_high_bits",
        "sid_low_bits",
        "vid_bits",
        "visit_bits",
    )

    def __init__(
        self,
        fault_bits: int,
        service_bits: int,
        available_bits: int,
        page_bits: int,
        visit_bits: int,
        sid_high_bits: int,
        sid_low_bits: int,
        vid_bits: int,
    ) -> None:
        self.fault_bits = fault_bits
        self.service_bits = service_bits
        self.available_bits = available_bits
        self.page_bits = page_bits
        self.visit_bits = visit_bits
        self.sid_high_bits = sid_high_bits
        self.sid_low_bits = sid_low_bits
        self.vid_bits = vid_bits


def draw(seed: int, entity: str, counter: int) -> Draws:
    """The draws of call number `counter` of `entity`."""
    fault, service, available, page, visit, sid_high, sid_low, vid = _EIGHT.unpack(
        blake2b(f"{seed}/{entity}/{counter}".encode()).digest()
    )
    return Draws(fault, service, available, page, visit, sid_high, sid_low, vid)


def unit(bits: int) -> float:
    """64 random bits as a uniform draw from [0, 1)."""
    return (bits >> 11) * _UNIT


def page_id(bits: int) -> str:
    """A pageId: a decimal number of at most 10 digits."""
    return str(1 + bits % 9_999_999_999)


def session_id(high_bits: int, low_bits: int) -> str:
    """A sid: 22 base64url characters, 128 random bits."""
    return urlsafe_b64encode(_TWO.pack(high_bits, low_bits))[:22].decode()


def visitor_id(bits: int) -> str:
    """A vid: 2 base64url characters, then 20 that decode to 15 lowercase hex digits; `bits` is 64 bits."""
    hexdigits = b"%015x" % (bits & (1 << 60) - 1)
    return "Z" + "QRSTUVWXYZabcdef"[bits >> 60] + b2a_base64(hexdigits, newline=False).decode()
