"""The metrics endpoint over real sockets, in a plain process and in one that gevent has patched."""

from __future__ import annotations

import http.client
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator

import pytest

from harness.errors import UsageError
from harness.export.http import MetricsServer
from harness.export.protobuf import PROTOBUF
from harness.export.text_format import OPENMETRICS, TEXT
from tests.system.harness_run import wait_until

pytestmark = pytest.mark.system

PATCHED = """
from gevent import monkey; monkey.patch_all()
import gevent, http.client
from harness.export.http import MetricsServer
from harness.export.text_format import TEXT
server = MetricsServer("127.0.0.1:0")
server.publish({TEXT: b"x 1\\n" * 100_000})
turns = 0
def count():
    global turns
    while True:
        turns += 1
        gevent.sleep(0.001)
gevent.spawn(count)
connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
for _ in range(3):
    connection.request("GET", "/metrics")
    body = connection.getresponse().read()
server.close()
print(len(body), server.scrapes, turns > 0)
"""


@pytest.fixture
def server() -> Iterator[MetricsServer]:
    server = MetricsServer("127.0.0.1:0")
    yield server
    server.close()


def get(connection: http.client.HTTPConnection, path: str) -> tuple[int, str | None, bytes]:
    connection.request("GET", path)
    response = connection.getresponse()
    return response.status, response.getheader("Content-Type"), response.read()


def test_the_latest_page_is_served_and_counted(server: MetricsServer) -> None:
    """One kept-alive connection gets each page as it was published; only metrics requests count as scrapes."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
    content_type = "text/plain; version=0.0.4; charset=utf-8"
    assert get(connection, "/metrics") == (200, content_type, b"")
    server.publish({TEXT: b"harness_up 1\n"})
    assert get(connection, "/metrics?name[]=harness_up") == (200, content_type, b"harness_up 1\n")
    assert get(connection, "/")[0] == 404
    assert server.scrapes == 2
    assert server.url == f"http://127.0.0.1:{server.port}/metrics"


def test_a_format_comes_with_the_next_page_after_it_was_asked_for(server: MetricsServer) -> None:
    """Who prefers protobuf or OpenMetrics gets text until a page was made in that format, and then that format."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
    assert server.wanted == {TEXT}
    server.publish({TEXT: b"text"})
    for accept, content_type in (
        ("application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5,*/*;q=0.1", OPENMETRICS),
        (f"{PROTOBUF},application/openmetrics-text;version=1.0.0;q=0.8,text/plain;q=0.5", PROTOBUF),
    ):
        connection.request("GET", "/metrics", headers={"Accept": accept})
        reply = connection.getresponse()
        assert (reply.getheader("Content-Type"), reply.read()) == (TEXT, b"text")
        assert content_type in server.wanted
        server.publish({TEXT: b"text", content_type: b"finer"})
        connection.request("GET", "/metrics", headers={"Accept": accept})
        reply = connection.getresponse()
        assert (reply.getheader("Content-Type"), reply.read()) == (content_type, b"finer")


def test_a_page_is_served_when_that_page_was_sent(server: MetricsServer) -> None:
    """A scrape of an older page does not count as one of the newest."""
    assert not server.newest_was_served
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
    for number in (1, 2):
        server.publish({TEXT: b"%d" % number})
        assert not server.newest_was_served
        assert get(connection, "/metrics")[2] == b"%d" % number
        wait_until(lambda: server.newest_was_served, 10, "the page to be counted")


def test_the_end_waits_for_every_scraper(server: MetricsServer) -> None:
    """Of two scrapers on one machine the first one's last scrape does not end the waiting, the second one's does."""
    first, second = (http.client.HTTPConnection("127.0.0.1", server.port, timeout=10) for _ in range(2))
    server.publish({TEXT: b"during"})
    for each in (first, second):
        assert get(each, "/metrics")[2] == b"during"
    wait_until(lambda: server.newest_was_served, 10, "both scrapes to be counted")
    server.publish({TEXT: b"last"})
    lingering = threading.Thread(target=server.linger, args=(600.0,), daemon=True)
    lingering.start()
    assert get(first, "/metrics")[2] == b"last"
    wait_until(lambda: server.scrapes == 3, 10, "the scrape to be counted")
    assert not server.newest_was_served and lingering.is_alive()
    assert get(second, "/metrics")[2] == b"last"
    lingering.join(10)
    assert not lingering.is_alive()


def test_nobody_is_waited_for_where_nobody_scraped(server: MetricsServer) -> None:
    """The end is at once, whatever the limit."""
    server.publish({TEXT: b"last"})
    lingering = threading.Thread(target=server.linger, args=(600.0,), daemon=True)
    lingering.start()
    lingering.join(10)
    assert not lingering.is_alive()


def test_scrapers_that_hold_on_to_everything_exhaust_nothing(server: MetricsServer) -> None:
    """Beyond 64 open connections new ones are hung up on, and there is room again when one of them goes."""
    held = [socket.create_connection(("127.0.0.1", server.port), timeout=10) for _ in range(64)]
    server.publish({TEXT: b"harness_up 1\n"})
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as refused:
        assert refused.recv(1) == b""
    for each in held:
        each.close()

    def served() -> bool:
        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
        try:
            return get(connection, "/metrics")[2] == b"harness_up 1\n"
        except (http.client.HTTPException, OSError):
            return False

    wait_until(served, 10, "room for a scraper")


@pytest.mark.parametrize(
    ("request_bytes", "status", "closes"),
    [
        (b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n", 200, False),
        (b"GET /metrics HTTP/1.1\r\nHost: x\r\nCONNECTION: Close\r\n\r\n", 200, True),
        (b"GET /metrics HTTP/1.0\r\n\r\n", 200, True),
        (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", 404, False),
        (b"POST /metrics HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc", 405, True),
        (b"\x16\x03\x01 hello\r\n\r\n", 400, True),
        (b"GET /metrics\r\n\r\n", 400, True),
        (b"GET /metrics HTTP/1.1\r\nX: " + b"y" * 20_000, 431, True),
    ],
)
def test_requests_of_any_kind_are_answered(
    server: MetricsServer, request_bytes: bytes, status: int, closes: bool
) -> None:
    """Each gets its status, and the connection ends where it must; what is no request never counts as a scrape."""
    server.publish({TEXT: b"harness_up 1\n"})
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as connection:
        connection.sendall(request_bytes)
        reply = http.client.HTTPResponse(connection)
        reply.begin()
        body = reply.read()
        assert (reply.status, body == b"harness_up 1\n") == (status, status == 200)
        if not closes:
            connection.sendall(b"GET /metrics HTTP/1.1\r\n\r\nGET /metrics HTTP/1.1\r\n\r\n")
            for _ in range(2):
                again = http.client.HTTPResponse(connection)
                again.begin()
                assert (again.status, again.read()) == (200, b"harness_up 1\n")
        else:
            assert connection.recv(1) == b""
    expected = (status == 200) + (0 if closes else 2)
    wait_until(lambda: server.scrapes == expected, 10, f"{expected} scrapes")


def test_a_scraper_that_hangs_does_not_hold_up_others(server: MetricsServer) -> None:
    """A connection that never sends its request leaves the next one served, and close ends it."""
    server.publish({TEXT: b"harness_up 1\n"})
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as silent:
        silent.sendall(b"GET /met")
        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
        assert get(connection, "/metrics")[2] == b"harness_up 1\n"
        server.close()
        assert silent.recv(1) == b""


def test_after_close_the_port_is_free(server: MetricsServer) -> None:
    """Closing twice does no harm, and the same port can be listened on at once."""
    server.close()
    server.close()
    MetricsServer(f"127.0.0.1:{server.port}").close()


def test_a_port_in_use_is_one_clear_line(server: MetricsServer) -> None:
    """A second server on the same port is refused with what, where and what to do."""
    with pytest.raises(UsageError, match=rf"^cannot serve metrics on 127.0.0.1:{server.port}: the port is in use: "):
        MetricsServer(f"127.0.0.1:{server.port}")


@pytest.mark.parametrize("addr", ["9646", "127.0.0.1", "127.0.0.1:http", "127.0.0.1:70000", ":9646"])
def test_an_address_without_sense_is_refused(addr: str) -> None:
    """Anything but HOST:PORT is a usage error that shows the form."""
    with pytest.raises(UsageError, match=r"write HOST:PORT"):
        MetricsServer(addr)


def test_it_works_in_a_gevent_patched_process() -> None:
    """Under gevent's patches the pages come whole, the scrapes are counted and other greenlets go on."""
    ran = subprocess.run([sys.executable, "-c", PATCHED], capture_output=True, text=True, timeout=60, check=False)
    assert (ran.returncode, ran.stdout, ran.stderr) == (0, "400000 3 True\n", "")
