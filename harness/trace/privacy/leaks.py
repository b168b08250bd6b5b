"""The leak scan: no value that had to go may stand anywhere in what was written, inside other texts and keys included.

It looks at the written lines as bytes and knows nothing of how they were made. Every string in them, keys too, and
every number that is no plain amount is either public (a word of the contract, the form of a version, a currency, a
language or a time, a number of one digit but for its zeros), a pseudonym by its form, or *kept*. Only kept texts can
hold a leak, and there are few: without a policy that keeps texts one alone is a leak. With such a policy the input is
read once more, and each value that had to go is searched in the kept texts, both in all their readings
(`harness.trace.privacy.readings`): whole words from two letters on (in scripts without spaces also parts of them),
parts of words from four characters on, what has six digits or more also without what separates them, numbers of five
significant digits as numbers. A version or a currency is a leak where it equals such a value. So memory goes with the
distinct kept texts, not with the values.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from decimal import Decimal
from functools import lru_cache
from typing import Any, Final

import orjson

from harness.trace.model import IDENTITIES, OPS
from harness.trace.privacy.pseudonyms import ALPHABET, CORE_CHARS
from harness.trace.privacy.readings import all_readings, reading, readings, without_signs
from harness.wire.personal import vocabulary

# Times are no data of persons, and long: they are passed over by their keys.
_LITERALS: Final = re.compile(
    rb'"(?:at|think)":[-+0-9.eE]+|"((?:[^"\\]|\\.)*)"|(-?[0-9]+(?:\.[0-9]+)?(?:[eE][-+]?[0-9]+)?)'
)
_LINE_WORDS: Final = (
    "harness_trace", "source", "created", "anonymized", "visit", "visitor", "at", "cohort", "returns", "account",
    "steps", "op", "think", "identity", "request", "all", "desktop", "mobile", "tablet",
)  # fmt: skip
_TIMES: Final = frozenset({b"at", b"think"})
_CONSONANTS: Final = f"[{ALPHABET}]".encode()
_PUBLIC_FORMS: Final = re.compile(
    rb"(?!(?:[0-9]\.?){7})[0-9]{1,3}(?:\.[0-9]{1,3}){0,2}|[A-Z]{3}|[a-z]{2}[-_][A-Z]{2}"
    rb"|[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:.]{8,15}(?:Z|[-+][0-9]{2}:[0-9]{2})"
)
# Of these, what could be a name or a phone number as well.
_COULD_NAME: Final = re.compile(rb"[A-Z]{3}|(?:[0-9]\.?){4,}")
_PSEUDONYM_FORMS: Final = re.compile(
    rb"[" + (ALPHABET + ALPHABET.upper()).encode() + rb"]" + _CONSONANTS + b"{%d}" % (CORE_CHARS - 1)
    + rb"[" + ALPHABET.encode() + rb" ]*"
    + b"|" + _CONSONANTS + b"{%d}" % CORE_CHARS + rb"@x\.invalid"
    + rb"|\+999(?: [0-9]{3}){4}|2(?:4[0-9]|5[0-5])(?:\.[0-9]{1,3}){3}|2001:db8:[0-9a-f:]+"
)  # fmt: skip
# Amounts, and what has one digit before its zeros or after them.
_COARSE_NUMBER: Final = re.compile(
    rb"-?(?:[0-9]{1,5}(?:\.[0-9]{1,2})?|[1-9]0*(?:\.0)?|0\.0*[1-9]|[1-9](?:\.0)?[eE][-+]?[0-9]+)"
)
_LONG_NUMBER: Final = re.compile(rb"[0-9]{6}|[0-9][eE]|\.[0-9]{3}")
_WORD: Final = re.compile(r"[^\W_]+")
_NUMBER: Final = re.compile(r"[0-9]+(?:[.,][0-9]+)*")
# Scripts that write words without spaces between them, or join to a name what belongs to it: Thai to Burmese, kana,
# Han, Hangul.
_UNSPACED: Final = re.compile(
    "[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3005-\u30ff\u3400-\u9fff\uac00-\ud7af\U00020000-\U0003ffff]"
)
_GRAM: Final = 4
_JOINED_DIGITS: Final = 6
_NUMBER_DIGITS: Final = 5
_REMEMBERED: Final = 16_384
_REMEMBERED_CHARS: Final = 64


class KeptTexts:
    """The texts in written lines that are neither public nor pseudonyms, each with the line where it stood first.

    `public` are words over and above the contract's that are no secret, even if a field that must go holds one.
    """

    def __init__(self, public: Iterable[str] = ()) -> None:
        self._public = {
            reading(word) for word in (*vocabulary(), *_LINE_WORDS, *OPS, *IDENTITIES, "anonymized", *public)
        }
        self._settled = {b""}
        self._kept: dict[str, int] = {}
        self._formed: dict[str, int] = {}
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
        numbers = (after for before, after in zip(parts[1::2], parts[2::2], strict=True) if before not in _TIMES)
        if b"\\" in line or _LONG_NUMBER.search(b" ".join(numbers)):
            texts = set()
            for text, number in _LITERALS.findall(line):
                if not number:
                    texts.add(text)
                elif not _COARSE_NUMBER.fullmatch(number):
                    self._kept.setdefault(_plain_number(number.decode()), self._line)
        for text in texts - self._settled:
            if not _PSEUDONYM_FORMS.fullmatch(text):
                self._settled.add(text)
                self._settle(text)

    def _settle(self, text: bytes) -> None:
        plain: str = orjson.loads(b'"' + text + b'"')
        if reading(plain) in self._public:
            return
        if not _PUBLIC_FORMS.fullmatch(text):
            self._kept.setdefault(plain, self._line)
        elif _COULD_NAME.fullmatch(text):
            self._formed.setdefault(without_signs(reading(plain)), self._line)

    def search(self) -> LeakSearch:
        """For looking values up in the texts kept so far."""
        return LeakSearch(self._kept, self._formed, self._public)


class LeakSearch:
    """Whether a value stands in one of the kept texts, in any of its readings."""

    def __init__(self, kept: dict[str, int], formed: dict[str, int], public: set[str]) -> None:
        """`kept` and `formed` (texts of a public form, letters and digits only) each have the line where they stand."""
        self._kept = kept
        self._formed = formed
        self._public = public
        texts = {each for text in kept for each in all_readings(text)}
        joined = {without_signs(text) for text in texts if _digits(text) >= _JOINED_DIGITS}
        self._words = {word for text in texts for word in _WORD.findall(text)}
        self._numbers = {number for text in texts for number in _numbers(text)}
        texts |= joined
        self._all = "\0".join(texts)
        self._grams = {text[at : at + _GRAM] for text in texts for at in range(len(text) - _GRAM + 1)}
        self._pairs = {text[at : at + 2] for text in texts if not text.isascii() for at in range(len(text) - 1)}
        # Places, sections and months stand in many lines.
        self._found = lru_cache(maxsize=_REMEMBERED)(self._search)

    def find(self, value: str) -> int | None:
        """The number of the first written line that holds a text, None if there is none."""
        return self._found(value) if len(value) <= _REMEMBERED_CHARS else self._search(value)

    def find_number(self, number: str) -> int | None:
        """The number of the first written line with a number equal to this one, or with its digits if they are many."""
        digits = without_signs(number)
        long = len(digits) >= _JOINED_DIGITS
        if number not in self._numbers and not (long and self._holds(digits)):
            return None
        return self._first(lambda each: number in _numbers(each) or (long and digits in without_signs(each)))

    def _search(self, value: str) -> int | None:
        found = readings(value)
        if not self._public.isdisjoint(found):
            return None
        joined = {each: without_signs(each) for each in found}
        for signless in joined.values():
            if signless in self._formed:
                return self._formed[signless]
        found |= {signless for each, signless in joined.items() if _digits(each) >= _JOINED_DIGITS}
        return next((self._line_of(each) for each in found if self._holds(each)), None)

    def _holds(self, value: str) -> bool:
        if len(value) >= _GRAM:
            return value[:_GRAM] in self._grams and value[-_GRAM:] in self._grams and value in self._all
        if len(value) < 2 or value.isdecimal():
            return False
        if _UNSPACED.search(value):
            return value[:2] in self._pairs and value in self._all
        return value in self._words

    def _line_of(self, value: str) -> int:
        """Where a value that is held stands."""
        if len(value) < _GRAM and not _UNSPACED.search(value):
            return self._first(lambda each: value in _WORD.findall(each))
        return self._first(lambda each: value in each or value in without_signs(each))

    def _first(self, holds: Callable[[str], bool]) -> int:
        """The first line with a kept text one of whose readings holds something; slow, for the message only."""
        return min(line for text, line in self._kept.items() if any(map(holds, all_readings(text))))


class Collector:
    """Takes values in the place of pseudonyms and hands on nothing.

    `values` are the texts that had to go, `numbers` the numbers of five significant digits or more, written as
    `_numbers` reads them.
    """

    def __init__(self) -> None:
        self.values: set[str] = set()
        self.numbers: set[str] = set()

    def token(self, text: str) -> str:
        """Remember a text."""
        self.values.add(text)
        return ""

    name = email = phone = ip = token

    def coarse(self, number: int | float) -> int | float:
        """Remember a number, if it is long enough to name somebody."""
        text = _plain_number(str(number))
        if len(text.replace(".", "").strip("0")) >= _NUMBER_DIGITS:
            self.numbers.add(text)
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
            elif isinstance(one, int | float) and not isinstance(one, bool):
                self.coarse(one)


def _digits(text: str) -> int:
    return sum(map(str.isdecimal, text))


def _numbers(text: str) -> set[str]:
    """The numbers in a reading, a comma taken for a decimal point as well as for nothing."""
    found = _NUMBER.findall(text)
    return {
        _plain_number(number)
        for each in found
        for number in ({each.replace(",", ""), each.replace(",", ".")} if "," in each else (each,))
    }


def _plain_number(text: str) -> str:
    """A number without sign, exponent, and zeros that say nothing."""
    if "e" in text or "E" in text:
        text = format(Decimal(text), "f")
    text = text.lstrip("-0")
    return text.rstrip("0").rstrip(".") if "." in text else text
