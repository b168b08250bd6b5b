"""How a text reads when its disguises are taken off: what the leak scan compares, on both sides.

A *reading* is a text in one spelling: compatibility characters composed (NFKC) and folded (ß is ss), what nobody sees
left out, all white space one space, all digits ASCII. A text has the reading of itself, that of what it says without
percent, JSON and HTML escapes (three layers at most), and, where it is searched, those of the base64 in it.
"""

from __future__ import annotations

import html
import re
import unicodedata
from base64 import b64decode
from binascii import Error as Base64Error
from collections.abc import Iterator
from typing import Final
from urllib.parse import unquote

_LAYERS: Final = 3
_ESCAPES: Final = re.compile(r"""(?:(?:[\\%]u[0-9A-Fa-f]{4})+|\\x[0-9A-Fa-f]{2}|\\[nrtbf"'/\\])""")
_CODES: Final = re.compile(r"[\\%]u([0-9A-Fa-f]{4})")
_SHORT_ESCAPES: Final = {"n": "\n", "r": "\r", "t": "\t", "b": " ", "f": " "}
_BASE64: Final = re.compile(r"[A-Za-z0-9+/_-]{12,}")
_BASE64_PARTS: Final = re.compile(r"[+/_-]+")
_BASE64_CHARS: Final = 12
_URL_SAFE: Final = str.maketrans("-_", "+/")
# Seen by nobody, though no format characters: variation selectors, joiners, and the dot that folding leaves of İ.
_UNSEEN: Final = frozenset({"\u0307", "\u034f", *map(chr, range(0xFE00, 0xFE10))})
_NO_SIGNS: Final = re.compile(r"[\W_]+")


def readings(text: str) -> set[str]:
    """A text as it stands and as what it says without escapes."""
    plain = reading(text)
    if not any(sign in text for sign in "%+&\\"):
        return {plain}
    return {plain, *map(reading, _unescaped(text))}


def all_readings(text: str, layers: int = 2) -> set[str]:
    """Its readings, and those of the texts that stand in it as base64 (these may be base64 as well)."""
    found = readings(text)
    if layers:
        for layer in (text, *_unescaped(text)):
            for inner in _from_base64(layer):
                found |= all_readings(inner, layers - 1)
    return found


def reading(text: str) -> str:
    """A text in the one spelling, its escapes left alone."""
    if not text.isascii():
        text = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())
        text = "".join([_plain(each) for each in text])
    return " ".join(text.replace("\0", " ").lower().split())


def without_signs(text: str) -> str:
    """Letters and digits of a reading, nothing between them."""
    return _NO_SIGNS.sub("", text)


def _plain(each: str) -> str:
    if each in _UNSEEN or unicodedata.category(each) == "Cf":
        return ""
    return str(unicodedata.decimal(each)) if each.isdecimal() else each


def _unescaped(text: str) -> Iterator[str]:
    """What a text says with one layer of escapes after the other taken off, with + as itself and as a space."""
    for _ in range(_LAYERS):
        if "+" in text:
            yield text.replace("+", " ")
        plain = html.unescape(_ESCAPES.sub(_unescape, text)) if "&" in text or "\\" in text or "%u" in text else text
        plain = _unquoted(plain)
        if plain == text:
            return
        text = plain
        yield text


def _unquoted(text: str) -> str:
    if "%" not in text:
        return text
    try:
        return unquote(text, errors="strict")
    except UnicodeDecodeError:
        return unquote(text, "latin-1")


def _unescape(match: re.Match[str]) -> str:
    escape = match[0]
    if escape[1] == "u":
        units = b"".join(int(code, 16).to_bytes(2, "big") for code in _CODES.findall(escape))
        return units.decode("utf-16-be", "replace")
    if escape[1] == "x":
        return chr(int(escape[2:], 16))
    return _SHORT_ESCAPES.get(escape[1], escape[1])


def _from_base64(text: str) -> Iterator[str]:
    """What the runs of base64 characters in a text decode to, if that is text; signs are part of it, or not."""
    for run in _BASE64.findall(text):
        for part in {run, *_BASE64_PARTS.split(run)}:
            if len(part) >= _BASE64_CHARS:
                # A last character that stands alone belongs to none.
                whole = part[:-1] if len(part) % 4 == 1 else part
                try:
                    plain = b64decode(whole.translate(_URL_SAFE) + "=" * (-len(whole) % 4), validate=True).decode()
                except (Base64Error, UnicodeDecodeError):
                    continue
                if plain.isprintable():
                    yield plain
