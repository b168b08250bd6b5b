"""The bench's target: answers every engagement call at once with an Available reply and echoes the ids it was given.

An `asyncio.Protocol` over httptools in a process of its own, so that its cost is nobody's but its own.
`GET /stats` gives the number of calls answered. Prints its URL when it is ready; ends on SIGTERM.
"""

from __future__ import annotations

import asyncio
import json
import re
import signal
from typing import cast

import httptools

_TARGET = re.compile(rb"/api/account/[^/]+/app/engagement/visitors/([^/?]*)\?v=1\.0(?:&sid=(.+))?")
_REPLY = (
    b'{"status":"Available","sessionId":"%s","visitorId":"%s","pageId":"%d","engagementDetails":{'
    b'"campaignId":"3346848610","engagementId":"3562981110","contextId":"1","windowId":"3346847910",'
    b'"language":"en-US","engagementRevision":44,"validForSeconds":900,"skillId":23,"skillName":"TestSkill"}}'
)


class Stats:
    """How many calls were answered, and how many ids given."""

    calls = 0
    ids = 0


class Connection(asyncio.Protocol):
    """One client: a reply per complete request, in one write."""

    def __init__(self, stats: Stats) -> None:
        self.stats = stats
        self.url = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self.parser = httptools.HttpRequestParser(self)

    def data_received(self, data: bytes) -> None:
        self.parser.feed_data(data)

    def on_url(self, url: bytes) -> None:
        self.url += url

    def on_message_complete(self) -> None:
        url, self.url = self.url, b""
        match = _TARGET.fullmatch(url)
        if match is None:
            body = json.dumps({"calls": self.stats.calls}).encode()
        else:
            vid, sid = match.groups()
            if not vid or not sid:
                self.stats.ids += 1
            self.stats.calls += 1
            vid = vid or b"ZjYWZlYzYzNDE5%08x" % self.stats.ids
            sid = sid or b"stM0CzMWRye4MZ%08x" % self.stats.ids
            body = _REPLY % (sid, vid, 4_743_822_558 + self.stats.calls)
        self.transport.write(
            b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(body) + body
        )


async def serve() -> None:
    """Serves on a free port until SIGTERM."""
    loop = asyncio.get_running_loop()
    stats = Stats()
    server = await loop.create_server(lambda: Connection(stats), "127.0.0.1", 0, backlog=4096)
    stop = asyncio.Event()
    loop.add_signal_handler(signal.SIGTERM, stop.set)
    print(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", flush=True)
    await stop.wait()
    server.close()


if __name__ == "__main__":
    asyncio.run(serve())
