"""Combined-format access logs, line by line: which lines are page views of people, and whose.

A page view is a GET answered with 2xx or 3xx, for something that is no asset, by an agent that is no robot. Everything
else is left out and counted by reason. Address and agent leave only as a keyed pseudonym and as parsed classes.
"""

from __future__ import annotations

import re
from calendar import timegm
from collections import Counter
from collections.abc import Iterable, Iterator
from functools import lru_cache
from hashlib import blake2b
from pathlib import Path
from typing import Final, NamedTuple

from harness.errors import TraceError
from harness.trace.lines import BadLines, read_lines, source_name
from harness.trace.useragent import Agent, classify

KEY_MAX_BYTES: Final = 64


class PageView(NamedTuple):
    """One page view: when (seconds since 1970), the visitor's pseudonym, its agent's classes, and where it stood."""

    at_s: int
    visitor: str
    agent: Agent
    where: str


_TEXT: Final = rb'"([^"\\]*(?:\\.[^"\\]*)*)'
# The closing quote of the agent may be missing: servers cut lines that are too long.
_LINE: Final = re.compile(
    rb"(\S+) [^\[]*\[(\d\d/[A-Z][a-z]{2}/\d{4}:\d\d:\d\d):(\d\d) ([+-]\d{4})\] "
    + _TEXT
    + rb'" (\d{3}) \S+(?: '
    + _TEXT
    + rb'" '
    + _TEXT
    + rb'"?)?'
)
_ASSET: Final = re.compile(
    rb"\.(?:css|js|mjs|map|png|jpe?g|gif|ico|svg|webp|avif|bmp|woff2?|ttf|eot|otf|mp[34]|webm|ogg|wav|swf|pdf|docx?|xlsx?"
    rb"|zip|gz|tgz|bz2|xz|tar|iso|jar|exe|msi|deb|rpm|txt|log|conf|xml|xsl|rss|atom|json|py|sh|rb|c|h|diff|patch)\Z"
    rb"|/(?:images?|img|icons?|css|js|fonts?|static|assets)/|/robots\.txt",
    re.IGNORECASE,
)
_MONTHS: Final = {
    name: number for number, name in enumerate(b"Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec".split(), start=1)
}


class AccessLog:
    """The page views of log files, read in the order given; iterate once.

    `key` (1 to 64 bytes) makes the pseudonyms: the same key gives the same visitor the same pseudonym, and nobody
    without it can find the address by trying them all. A line that is not in combined format goes to `bad`.
    After iterating, `lines` is the number of lines read and `left_out` how many of them count for nothing, by reason.
    """

    def __init__(self, sources: Iterable[str | Path], key: bytes, bad: BadLines) -> None:
        self._sources = list(sources)
        self._key = key
        self._bad = bad
        self.lines = 0
        self.left_out: Counter[str] = Counter()

    def __iter__(self) -> Iterator[PageView]:
        pseudonym = lru_cache(maxsize=65_536)(self._pseudonym)
        agent_of = lru_cache(maxsize=65_536)(classify)
        for source in self._sources:
            name = source_name(source)
            for number, line in read_lines(source, self._bad, encoding="any"):
                self.lines += 1
                match = _LINE.match(line)
                if match is None or match[8] is None or (at_s := _time_s(match[2], match[3], match[4])) is None:
                    self._bad.add(TraceError(f"{name}:{number}: {_reason(match)}"))
                    continue
                agent = agent_of(match[8])
                reason = _left_out(match[5], match[6], agent)
                if agent is None or reason is not None:
                    self.left_out[reason or "robot"] += 1
                    continue
                yield PageView(at_s, pseudonym(match[1], match[8]), agent, f"{name}:{number}")

    def _pseudonym(self, address: bytes, agent: bytes) -> str:
        return blake2b(address + b"\0" + agent, key=self._key, digest_size=8).hexdigest()


def _left_out(request: bytes, status: bytes, agent: Agent | None) -> str | None:
    """Why a line is no page view of a person, or None when it is one."""
    method, _, rest = request.partition(b" ")
    if method != b"GET":
        return "method other than GET"
    if status[:1] not in (b"2", b"3"):
        return "status other than 2xx or 3xx"
    if agent is None:
        return "robot"
    path = rest.partition(b" ")[0].partition(b"?")[0]
    return "asset" if _ASSET.search(path) else None


def _time_s(minute: bytes, second: bytes, zone: bytes) -> int | None:
    start = _minute_s(minute, zone)
    return None if start is None else start + int(second)


@lru_cache(maxsize=4096)
def _minute_s(minute: bytes, zone: bytes) -> int | None:
    """Seconds since 1970 of `17/May/2015:10:05` in a zone such as `+0200`; None when there is no such month or year."""
    month = _MONTHS.get(minute[3:6])
    if month is None:
        return None
    year = int(minute[7:11])
    if year < 1970:
        return None
    clock = (year, month, int(minute[:2]), int(minute[12:14]), int(minute[15:17]), 0)
    offset_s = (int(zone[1:3]) * 60 + int(zone[3:5])) * 60
    return timegm(clock) + (offset_s if zone[:1] == b"-" else -offset_s)


def _reason(match: re.Match[bytes] | None) -> str:
    if match is None:
        return 'not in combined log format: address ident user [time] "request" status size "referer" "agent"'
    if match[8] is None:
        return "common log format, without referer and agent: log in combined format to tell visitors apart"
    return "its time is none"
