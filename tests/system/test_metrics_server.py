"""The metrics endpoint over real sockets, in a plain process and in one that gevent has patched."""

from __future__ import annotations

import http.client
import socket
import subprocess
import sys
from collections.abc import Iterator

import pytest

from harness.errors import UsageError
from harness.export.http import MetricsServer

pytestmark = pytest.mark.system

PATCHED = """
from gevent import monkey; monkey.patch_all()
import gevent, http.client
from harness.export.http import MetricsServer
server = MetricsServer("127.0.0.1:0")
server.publish(b"x 1\\n" * 100_000)
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
    server.publish(b"harness_up 1\n")
    assert get(connection, "/metrics?name[]=harness_up") == (200, content_type, b"harness_up 1\n")
    assert get(connection, "/")[0] == 404
    assert server.scrapes == 2
    assert server.url == f"http://127.0.0.1:{server.port}/metrics"


def test_a_scraper_that_hangs_does_not_hold_up_others(server: MetricsServer) -> None:
    """A connection that never sends its request leaves the next one served, and close ends it."""
    server.publish(b"harness_up 1\n")
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
