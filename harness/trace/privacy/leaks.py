"""The leak scan: no value that had to go may stand anywhere in what was written, inside other texts and keys included.

It looks at the written lines as bytes and knows nothing of how they were made. Every string in them, keys too, and
every number of six digits or more is either public (a word of the contract, the form of a version, a currency, a
language or a time, a number with one digit before its zeros), a pseudonym by its form, or *kept*. Only kept texts can
hold a leak, and there are few: without a policy that keeps texts one alone is a leak. With such a policy the input is
read once more, and each value that had to go is searched in the kept texts: whole words from two letters
on, parts of words from four characters on, digits from seven on also without what separates them; capitals do not
matter. So memory goes with the distinct kept texts, not with the values.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Any, Final
from urllib.parse import unquote

import orjson

from harness.trace.model import IDENTITIES, OPS
from harness.trace.privacy.pseudonyms import ALPHABET, CORE_CHARS
from harness.wire.personal import vocabulary

# Times are no data of persons, and long: they are passed over by their keys.
_LITERALS: Final = re.compile(
    rb'"(?:at|think)":[-+0-9.eE]+|"((?:[^"\\]|\\.)*)"|(-?[0-9]+(?:\.[0-9]+)?(?:[eE][-+]?[0-9]+)?)'
)
_LINE_WORDS: Final = (
    "harness_trace", "source", "created", "anonymized", "visit", "visitor", "at", "cohort", "returns", "account",
    "steps", "op", "think", "identity", "request", "all", "desktop", "mobile", "tablet",
)  # fmt: skip
_CONSONANTS: Final = f"[{ALPHABET}]".encode()
_PUBLIC_FORMS: Final = re.compile(
    rb"[0-9]{1,3}(?:\.[0-9]{1,3}){0,2}|[A-Z]{3}|[a-z]{2}[-_][A-Z]{2}"
    rb"|[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:.]{8,15}(?:Z|[-+][0-9]{2}:[0-9]{2})"
)
_PSEUDONYM_FORMS: Final = re.compile(
    rb"[" + (ALPHABET + ALPHABET.upper()).encode() + rb"]" + _CONSONANTS + b"{%d}" % (CORE_CHARS - 1)
    + rb"[" + ALPHABET.encode() + rb" ]*"
    + b"|" + _CONSONANTS + b"{%d}" % CORE_CHARS + rb"@x\.invalid"
    + rb"|\+999(?: [0-9]{3}){4}|2(?:4[0-9]|5[0-5])(?:\.[0-9]{1,3}){3}|2001:db8:[0-9a-f:]+"
)  # fmt: skip
_COARSE_NUMBER: Final = re.compile(rb"-?(?:[0-9]{1,5}(?:\.[0-9]+)?|[1-9]0*(?:\.0)?|[1-9](?:\.0)?[eE][-+]?[0-9]+)")
_LONG_NUMBER: Final = re.compile(rb"[0-9]{6}|[0-9][eE]")
_WORD: Final = re.compile(r"\w+")
_SEPARATORS: Final = re.compile(r"[\s().+/-]+")
_GRAM: Final = 4
_PHONE_DIGITS: Final = 7
_NUMBER_DIGITS: Final = 6


class KeptTexts:
    """The texts in written lines that are neither public nor pseudonyms, each with the line where it stood first.

    `public` are words over and above the contract's that are no secret, even if a field that must go holds one.
    """

    def __init__(self, public: Iterable[str] = ()) -> None:
        self._public = {
            word.casefold() for word in (*vocabulary(), *_LINE_WORDS, *OPS, *IDENTITIES, "anonymized", *public)
        }
        self._settled = {b""}
        self._kept: dict[str, int] = {}
        self._line = 0

    def __len__(self) -> int:
        return len(self._kept)

    @property
    def first_line(self) -> int:
        """The first written line with a kept text; there must be one."""
        return min(self._kept.values())

    def note(self, line: bytes) -> None:
        """Take the next line that was written, from the header on."""
        self._line += 1
        # Without a backslash every second part between quotation marks is a text, and numbers stand in the others.
        parts = line.split(b'"')
        texts = set(parts[1::2])
        if b"\\" in line or _LONG_NUMBER.search(b" ".join(parts[::2])):
            texts = set()
            for text, number in _LITERALS.findall(line):
                if not number:
                    texts.add(text)
                elif not _COARSE_NUMBER.fullmatch(number):
                    self._kept.setdefault(number.decode(), self._line)
        for text in texts - self._settled:
            if not _PSEUDONYM_FORMS.fullmatch(text):
                self._settled.add(text)
                self._settle(text)

    def _settle(self, text: bytes) -> None:
        plain: str = orjson.loads(b'"' + text + b'"')
        if plain.casefold() not in self._public and not _PUBLIC_FORMS.fullmatch(text):
            self._kept.setdefault(plain, self._line)

    def search(self) -> LeakSearch:
        """For looking values up in the texts kept so far."""
        return LeakSearch(self._kept, self._public)


class LeakSearch:
    """Whether a value stands in one of the kept texts."""

    def __init__(self, kept: dict[str, int], public: set[str]) -> None:
        self._kept = kept
        self._public = public
        texts = {variant for text in kept for variant in _variants(text.casefold())}
        self._all = "\0".join(texts)
        self._words = {word for text in texts for word in _WORD.findall(text)}
        self._grams = {text[at : at + _GRAM] for text in texts for at in range(len(text) - _GRAM + 1)}

    def find(self, value: str) -> int | None:
        """The number of the first written line that holds a value, None if there is none."""
        value = value.casefold().strip()
        if value in self._public:
            return None
        return next((self._line_of(variant) for variant in _variants(value) if self._holds(variant)), None)

    def _holds(self, value: str) -> bool:
        if len(value) < _GRAM:
            return len(value) > 1 and not value.isdecimal() and value in self._words
        return value[:_GRAM] in self._grams and value[-_GRAM:] in self._grams and value in self._all

    def _line_of(self, value: str) -> int:
        """Where a value that is held stands; slow, for the message only."""
        return min(line for text, line in self._kept.items() if any(value in v for v in _variants(text.casefold())))


class Collector:
    """Takes values in the place of pseudonyms and hands on nothing: `values` are those that had to go."""

    def __init__(self) -> None:
        self.values: set[str] = set()

    def token(self, text: str) -> str:
        """Remember a text."""
        self.values.add(text)
        return ""

    name = email = phone = ip = token

    def coarse(self, number: int | float) -> int | float:
        """Remember a number, if it is long enough to name somebody."""
        text = str(number)
        if sum(map(str.isdecimal, text)) >= _NUMBER_DIGITS:
            self.values.add(text)
        return 0

    def drop(self, value: object) -> None:
        """Remember all texts and long numbers in a value, keys included."""
        left: list[Any] = [value]
        while left:
            one = left.pop()
            if isinstance(one, str):
                self.token(one)
            elif isinstance(one, dict):
                left += [*one.keys(), *one.values()]
            elif isinstance(one, list):
                left += one
            elif isinstance(one, int | float):
                self.coarse(one)


def _variants(text: str) -> Iterator[str]:
    """A text, and what it is without percent encoding and without what separates its digits."""
    yield text
    if "%" in text and (decoded := unquote(text)) != text:
        yield decoded
    joined = _SEPARATORS.sub("", text)
    if joined != text and sum(map(str.isdecimal, joined)) >= _PHONE_DIGITS:
        yield joined
