"""The ids that the recorded service gave out, and how requests read without them.

A page may send an id anywhere: in a section's address, in a field of its own, in an error's message. What was given
out in this recording is known, so it is found wherever it stands; ids of other systems are none of ours.
"""

from __future__ import annotations

import re
from collections import Counter, OrderedDict
from collections.abc import Collection
from contextlib import suppress
from typing import Any, Final
from urllib.parse import unquote

import orjson

# Shorter ids stand in many texts by chance: they count only whole, under a key that says what they are.
LONG_ID: Final = 8
_LONGEST_ID: Final = 256
_MOST_IDS: Final = 100_000
_DEEPEST: Final = 64
_KEY: Final = r"(?:vid|sid|(?:visitor|session|page|context)_?id)"
_ID_KEY: Final = re.compile(_KEY, re.IGNORECASE)
_KEYED: Final = re.compile(rf'"{_KEY}"\s*:\s*(?:"([^"\\]{{1,{LONG_ID}}})"|([0-9]{{1,{LONG_ID}}}))', re.IGNORECASE)
# Where an id can begin: at what follows no letter and no digit.
_BEGINS: Final = re.compile(r'(?<![A-Za-z0-9])(?=[^\s"{}\[\]:,\\])')
_GONE: Final = object()


class Issued:
    """The ids that were seen so far, the newest 100,000 of them."""

    def __init__(self, most: int = _MOST_IDS) -> None:
        self._most = most
        self._ids: OrderedDict[str, None] = OrderedDict()
        self._lengths: Counter[int] = Counter()

    def add(self, *ids: str | None) -> None:
        """Remember ids; none and empty ones are passed over."""
        for each in ids:
            if not each or len(each) > _LONGEST_ID:
                continue
            if each in self._ids:
                self._ids.move_to_end(each)
                continue
            self._ids[each] = None
            self._lengths[len(each)] += 1
            if len(self._ids) > self._most:
                oldest, _ = self._ids.popitem(last=False)
                self._lengths[len(oldest)] -= 1
                if not self._lengths[len(oldest)]:
                    del self._lengths[len(oldest)]

    def within(self, body: bytes, own: Collection[str | None] = ()) -> list[str]:
        """Which of them stand in the JSON of a body, also percent-encoded; `own` are looked for inside words too."""
        text = _text(body)
        found = {given or number for given, number in _KEYED.findall(text)} & self._ids.keys()
        lengths = [length for length in self._lengths if length >= LONG_ID]
        for match in _BEGINS.finditer(text) if lengths else ():
            at = match.start()
            for length in lengths:
                if (part := text[at : at + length]) in self._ids:
                    found.add(part)
        found.update(each for each in own if each and LONG_ID <= len(each) <= _LONGEST_ID and each in text)
        return sorted(found)


def without_ids(value: Any, ids: Collection[str]) -> tuple[Any, int]:
    """The same JSON without these ids, and how often one was taken out.

    What is nothing but an id goes with its key or its place; from a longer text the id is cut out. Short ids go only
    where a key says what they are.
    """
    taker = _Taker(ids)
    left = taker.take(value, 0)
    return (None if left is _GONE else left), taker.count


class _Taker:
    def __init__(self, ids: Collection[str]) -> None:
        self._ids = frozenset(ids)
        # Longer ones first, as one may begin with another.
        self._long = sorted((each for each in ids if len(each) >= LONG_ID), key=len, reverse=True)
        self.count = 0

    def take(self, value: Any, depth: int) -> Any:
        if isinstance(value, str):
            return self._text(value)
        if isinstance(value, int) and not isinstance(value, bool):
            return self._gone() if len(text := str(value)) >= LONG_ID and text in self._ids else value
        if not isinstance(value, dict | list):
            return value
        if depth >= _DEEPEST:
            return self._gone()
        if isinstance(value, list):
            items = (self.take(item, depth + 1) for item in value)
            return [item for item in items if item is not _GONE]
        kept = {}
        for key, item in value.items():
            if self._text(key) != key:
                continue
            named = _ID_KEY.fullmatch(key) and isinstance(item, str | int) and str(item) in self._ids
            left = self._gone() if named else self.take(item, depth + 1)
            if left is not _GONE:
                kept[key] = left
        return kept

    def _text(self, text: str) -> Any:
        if not any(each in text for each in self._long):
            if "%" not in text:
                return text
            plain = unquote(unquote(text))
            if not any(each in plain for each in self._long):
                return text
            text = plain
        if text in self._ids:
            return self._gone()
        for each in self._long:
            self.count += text.count(each)
            text = text.replace(each, "")
        return text

    def _gone(self) -> object:
        self.count += 1
        return _GONE


def _text(body: bytes) -> str:
    """A body as it is searched: without JSON's escapes, and once more without percent encoding."""
    if b"\\" in body:
        # What is no JSON is searched as it stands, and gets into no trace.
        with suppress(orjson.JSONDecodeError, orjson.JSONEncodeError):
            body = orjson.dumps(orjson.loads(body))
    text = body.decode("utf-8", "replace")
    return f"{text}\n{unquote(unquote(text))}" if "%" in text else text
