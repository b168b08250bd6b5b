"""Access logs of web servers, line by line: which lines are page views of people or engagement calls, and whose.

A page view is a GET answered with 2xx or 3xx, for something that is no asset, by an agent that is no robot; an
engagement call is one to the service's own path, answered with 2xx. Everything else is left out and counted by
reason. Address, agent and ids leave only as keyed pseudonyms and as parsed classes.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from functools import lru_cache
from hashlib import blake2b
from pathlib import Path
from typing import Final, Literal, NamedTuple
from urllib.parse import unquote_to_bytes

from harness.errors import TraceError
from harness.trace.intake.logformat import LogLine, NoLogLine, Reader, line_reader
from harness.trace.lines import BadLines, read_lines, source_name
from harness.trace.useragent import Agent, classify
from harness.wire.route import route

Steps = Literal["all", "pages", "calls"]


class PageView(NamedTuple):
    """One page view or call: when (ns since 1970), its client's pseudonym, its agent's classes (None: not known).

    `ids` is the pseudonym of the vid (else the sid) that the request carried, empty without; `update` says that it was
    an update of its session.
    """

    at_ns: int
    client: str
    agent: Agent | None
    ids: str = ""
    update: bool = False


_ASSET: Final = re.compile(
    rb"\.(?:css|js|mjs|map|png|jpe?g|gif|ico|svg|webp|avif|bmp|woff2?|ttf|eot|otf|mp[34]|webm|ogg|wav|swf|pdf|docx?|xlsx?"
    rb"|zip|gz|tgz|bz2|xz|tar|iso|jar|exe|msi|deb|rpm|txt|log|conf|xml|xsl|rss|atom|json|py|sh|rb|c|h|diff|patch)\Z"
    rb"|/(?:images?|img|icons?|css|js|fonts?|static|assets)/|/robots\.txt",
    re.IGNORECASE,
)
_CALL: Final = b"/app/engagement/visitors"
_API: Final = b"/api/account/"
_SUCCESS: Final = (b"2", b"3")
_IDS: Final = re.compile(rb"[?&]([vs]id)=([^&#]+)")


class AccessLog:
    """The page views and calls of log files, read in the order given; iterate once.

    `key` (a byte at least) makes the pseudonyms: the same key gives the same visitor the same pseudonym, and nobody
    without it can find the address by trying them all. A line that is not in the format goes to `bad`.
    After iterating, `lines` is the number of lines read, `left_out` how many of them count for nothing, by reason,
    `without_agent` how many of the others name no agent, so that a visitor is an address alone.
    """

    def __init__(
        self,
        sources: Iterable[str | Path],
        key: bytes,
        bad: BadLines,
        *,
        reader: Reader | None = None,
        steps: Steps = "all",
    ) -> None:
        self._sources = list(sources)
        self._key = key if len(key) <= blake2b.MAX_KEY_SIZE else blake2b(key).digest()
        self._bad = bad
        self._read = reader or line_reader()
        self._pages = steps != "calls"
        self._calls = steps != "pages"
        self.lines = 0
        self.left_out: Counter[str] = Counter()
        self.without_agent = 0

    def __iter__(self) -> Iterator[PageView]:
        pseudonym = lru_cache(maxsize=65_536)(self._pseudonym)
        agent_of = lru_cache(maxsize=65_536)(classify)
        is_asset = lru_cache(maxsize=65_536)(_is_asset)
        read, left_out = self._read, self.left_out
        for source in self._sources:
            name = source_name(source)
            for number, raw in read_lines(source, self._bad, encoding="any"):
                self.lines += 1
                try:
                    line = read(raw)
                except NoLogLine as error:
                    self._bad.add(TraceError(f"{name}:{number}: {error}"))
                    continue
                address, at_ns, method, target, status, logged = line
                agent = None if logged is None else agent_of(logged)
                reason = None
                if _CALL in target:
                    reason = self._call_left_out(line)
                elif method != b"GET":
                    reason = "method other than GET"
                elif status[:1] not in _SUCCESS:
                    reason = "status other than 2xx or 3xx"
                elif agent is None and logged is not None:
                    reason = "robot"
                elif is_asset(target):
                    reason = "asset"
                elif not self._pages:
                    reason = "page view"
                if reason is not None:
                    left_out[reason] += 1
                    continue
                self.without_agent += logged is None
                ids = _ids(target)
                yield PageView(
                    at_ns,
                    pseudonym(address + b"\0" + (logged or b"")),
                    agent,
                    pseudonym(ids) if ids else "",
                    method == b"PUT",
                )

    def _pseudonym(self, name: bytes) -> str:
        return blake2b(name, key=self._key, digest_size=8).hexdigest()

    def _call_left_out(self, line: LogLine) -> str | None:
        """Why a line on the service's own path is no step, or None when it is one."""
        if line.method not in (b"POST", b"PUT"):
            return "method other than GET" if line.method != b"OPTIONS" else "preflight"
        if line.status[:1] != b"2":
            return "call without success"
        return None if self._calls else "engagement call"


def _is_asset(target: bytes) -> bool:
    return _ASSET.search(target.partition(b"?")[0]) is not None


def _ids(target: bytes) -> bytes:
    """The vid that a request carries in its path or query, else the sid, else nothing."""
    if _CALL in target:
        call = route(b"POST", target[max(0, target.find(_API)) :])
        return ((call.vid or call.sid or "") if call is not None else "").encode()
    if b"id=" not in target:
        return b""
    found = dict(_IDS.findall(target))
    value = found.get(b"vid") or found.get(b"sid") or b""
    return unquote_to_bytes(value) if b"%" in value else value
