"""Keyed pseudonyms: the same text has the same one under the same key, and nobody finds it without the key.

The core is 64 bits of HMAC-SHA-256 written in sixteen consonants. Such a string holds no vowel and no digit, so no
name, number, address or date stands in it by chance. Other shapes carry the core or more bits of the same digest in
places that are nobody's: the top-level domain `.invalid` (RFC 2606), the country code 999 (unassigned), 240.0.0.0/4
(RFC 1112) and 2001:db8::/32 (RFC 3849). Tokens grow to the length of what they stand for, so requests keep their size.
"""

from __future__ import annotations

import ipaddress
import re
import unicodedata
from functools import lru_cache
from hashlib import sha256
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from hashlib import _Hash

ALPHABET: Final = "bcdfghjkmnpqrtvx"
_TO_ALPHABET: Final = str.maketrans("0123456789abcdef", ALPHABET)
_CORE_BYTES: Final = 8
CORE_CHARS: Final = 2 * _CORE_BYTES
_EMAIL: Final = re.compile(r"[^@\s]+@[^@\s]+")
_NO_DIGITS: Final = re.compile(r"\D+")
# Fewer digits are no number that could be written in several ways.
_PHONE_DIGITS: Final = 4
_BLOCK_BYTES: Final = 64
_CACHED: Final = 8192
_CACHED_CHARS: Final = 64
# A whole number beyond this loses digits when it is read as a float.
_EXACT: Final = 10**15


class Pseudonyms:
    """The pseudonyms under one key.

    `replaced` counts the values that were replaced or made coarse, `dropped` those that were left out.
    """

    def __init__(self, key: bytes) -> None:
        self._inner, self._outer = _hmac_states(key)
        # What many visits say (places, sections, months) is not worked out anew each time.
        self._token = lru_cache(maxsize=_CACHED)(self._new_token)
        self._ip = lru_cache(maxsize=_CACHED)(self._new_ip)
        self._coarse = lru_cache(maxsize=_CACHED, typed=True)(one_digit)
        self.replaced = 0
        self.dropped = 0

    def token(self, text: str) -> str:
        """For an id or a text. An e-mail address keeps its shape wherever it stands; an empty text stays empty."""
        self.replaced += 1
        # Long texts hardly come again and would make the cache large.
        return self._token(text) if len(text) <= _CACHED_CHARS else self._new_token(text)

    def _new_token(self, text: str) -> str:
        text = _normal(text)
        if _is_email(text):
            return f"{self._core(text.casefold())}@x.invalid"
        core = self._core(text)
        size = len(text.encode())
        if size <= CORE_CHARS:
            return core if text else ""
        unit = core + " " if any(char.isspace() for char in text) else core
        return (unit * (size // len(unit) + 1))[:size]

    def name(self, text: str) -> str:
        """For a name: a token with a capital letter."""
        token = self.token(text)
        return token if "@" in token else token.capitalize()

    def email(self, text: str) -> str:
        """For an e-mail address, whatever its capitals, and for what stands in its place."""
        self.replaced += 1
        text = _normal(text)
        return f"{self._core(text.casefold() if _is_email(text) else text)}@x.invalid" if text else ""

    def phone(self, text: str) -> str:
        """For a phone number: the same one however its digits are grouped. 12 digits: two in a million may meet."""
        text = _normal(text)
        if not text or "@" in text:
            return self.token(text)
        self.replaced += 1
        digits = _NO_DIGITS.sub("", text)
        number = self._number(digits if len(digits) >= _PHONE_DIGITS else text)
        return "+999 " + " ".join(f"{number // 10**place % 1000:03}" for place in (9, 6, 3, 0))

    def ip(self, text: str) -> str:
        """For an IP address: one of the same family, the same for every spelling. 28 bits for IPv4, 64 for IPv6."""
        self.replaced += 1
        return self._ip(text)

    def _new_ip(self, text: str) -> str:
        try:
            address = ipaddress.ip_address(text)
        except ValueError:
            return self._new_token(text)
        number = self._number(str(address))
        if address.version == 4:
            return str(ipaddress.IPv4Address(0xF0000000 | number & 0x0FFFFFFF))
        return str(ipaddress.IPv6Address(0x20010DB8 << 96 | number))

    def coarse(self, number: int | float) -> int | float:
        """A number of which one significant digit is left; whole ones stay whole."""
        self.replaced += 1
        return self._coarse(number)

    def drop(self, value: object) -> None:
        """Nothing stays of a value or of a key."""
        self.dropped += 1

    def _core(self, text: str) -> str:
        return self._digest(text)[:_CORE_BYTES].hex().translate(_TO_ALPHABET)

    def _number(self, text: str) -> int:
        return int.from_bytes(self._digest(text)[:_CORE_BYTES], "big")

    def _digest(self, text: str) -> bytes:
        inner, outer = self._inner.copy(), self._outer.copy()
        inner.update(text.encode())
        outer.update(inner.digest())
        return outer.digest()


def _hmac_states(key: bytes) -> tuple[_Hash, _Hash]:
    """The two halves of HMAC-SHA-256 (RFC 2104) after the key: copying them costs a third of starting anew.

    HMAC fills keys up with NULs, so one that ends with a NUL is hashed first, as long ones are.
    """
    block = (sha256(key).digest() if len(key) > _BLOCK_BYTES or key.endswith(b"\0") else key).ljust(_BLOCK_BYTES, b"\0")
    return sha256(bytes(byte ^ 0x36 for byte in block)), sha256(bytes(byte ^ 0x5C for byte in block))


def one_digit(number: int | float) -> int | float:
    """A number of which one significant digit is left; whole ones stay whole."""
    if isinstance(number, float) or abs(number) < _EXACT:
        return type(number)(float(f"{number:.0e}"))
    digits = str(number)
    kept = 2 if number < 0 else 1
    return int(digits[:kept] + "0" * (len(digits) - kept))


def _is_email(text: str) -> bool:
    return "@" in text and _EMAIL.fullmatch(text) is not None


def _normal(text: str) -> str:
    """One spelling for what looks the same: composed characters, no white space around."""
    return text.strip() if text.isascii() else unicodedata.normalize("NFC", text).strip()
