"""The recorder from outside: bytes pass as they are, and what passed becomes a trace that says the same again."""

from __future__ import annotations

import json
import signal
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median

import pytest

from harness.testing import Simulator, running_simulator
from tests.system.harness_run import run_command, wait_until
from tests.system.recorded_loop import close_the_loop
from tests.system.recording import recorder, visits_of

pytestmark = pytest.mark.system

BASE = "/api/account/12345678/app/engagement/visitors"


def conversation(port: int, sent: bytes, *, parts: int = 1, ends: bytes | None = None) -> bytes:
    """What a server says to these bytes, sent in some parts, until it closes or has said `ends`."""
    with socket.create_connection(("127.0.0.1", port), timeout=20) as sock:
        size = -(-len(sent) // parts)
        for begin in range(0, len(sent), size):
            sock.sendall(sent[begin : begin + size])
        said = b""
        while (ends is None or not said.endswith(ends)) and (part := sock.recv(65536)):
            said += part
        return said


@contextmanager
def scripted(
    *exchanges: tuple[bytes, bytes], context: ssl.SSLContext | None = None
) -> Iterator[tuple[int, list[bytes]]]:
    """A server that takes one connection for each (end, answer): it reads up to the end, answers and closes.

    Gives its port and what it was sent.
    """
    listening = socket.create_server(("127.0.0.1", 0))
    heard: list[bytes] = []

    def serve() -> None:
        for end, answer in exchanges:
            sock, _ = listening.accept()
            with context.wrap_socket(sock, server_side=True) if context is not None else sock as taken:
                got = b""
                while not got.endswith(end):
                    part = taken.recv(65536)
                    assert part, f"closed after {got!r}"
                    got += part
                heard.append(got)
                taken.sendall(answer)

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield listening.getsockname()[1], heard
    finally:
        listening.close()
        thread.join(5)


def post(target: str, body: str, head: str = "") -> bytes:
    return f"POST {target} HTTP/1.1\r\nhOsT: proxy.example\r\n{head}Content-Length: {len(body)}\r\n\r\n{body}".encode()


def test_bytes_pass_as_they_are(tmp_path: Path) -> None:
    """Odd messages arrive byte for byte on either side, however they are cut up; of a request only Host is another."""
    chunked = (
        b"POST /a%20b?c=%00&&d HTTP/1.1\r\nhOsT: proxy.example\r\nX-Odd:\t  a  b \r\nx-ODD:\r\n"
        b"Transfer-encoding: chunked\r\n\r\n5;x=y\r\nhello\r\n00\r\nT: r\r\n\r\n"
    )
    pipelined = post(f"{BASE}/?v=1.0", '{"a":1}') + post("/other", "!")
    nonsense = b"NONSENSE \xff\r\n\r\nand more"
    answers = [
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 203 Odd  Reason\r\nA:b\r\nTransfer-Encoding: chunked\r\n\r\n"
        b"3\r\nabc\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}HTTP/1.0 500 X\r\n\r\nuntil the end \xff\x00",
        b"this is no HTTP at all \xff\r\n\r\n",
    ]
    sent = [chunked, pipelined, nonsense]
    for parts in (1, 50):
        exchanges = [(message[-9:], answer) for message, answer in zip(sent, answers, strict=True)]
        with (
            scripted(*exchanges) as (port, heard),
            recorder(f"http://127.0.0.1:{port}", tmp_path / str(parts)) as running,
        ):
            assert [conversation(running.port, each, parts=parts) for each in sent] == answers
            host = b"\r\nHost: 127.0.0.1:%d\r\n" % port
            assert heard == [each.replace(b"\r\nhOsT: proxy.example\r\n", host) for each in sent]


def test_large_bodies_pass_and_are_not_kept(tmp_path: Path) -> None:
    """Bodies of 12 MB pass whole in both directions; such a call is no step, and that is counted."""
    body = '{"a":"' + "x" * 12_000_000 + '"}'
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: 12000000\r\n\r\n" + b"y" * 12_000_000
    small = (b"{}", b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")
    with scripted((b'x"}', answer), small) as (port, heard), recorder(f"http://127.0.0.1:{port}", tmp_path) as running:
        assert conversation(running.port, post(f"{BASE}/?v=1.0", body)) == answer
        assert conversation(running.port, post(f"{BASE}/?v=1.0", "{}")) == small[1]
        finished = running.stop()
    assert heard[0].endswith(body.encode())
    assert "left out: 1 body that is no JSON object" in finished.stderr, finished.explain()
    assert len(visits_of(running.out)) == 1


def test_tls_to_the_service_below_a_path(tmp_path: Path) -> None:
    """The service may speak TLS and lie below a path: its certificate is verified, its path put before the caller's."""
    from harness.sim.tls import self_signed

    context, certificate = self_signed(tmp_path, "127.0.0.1")
    reply = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
    with scripted((b"!", reply), context=context) as (port, heard):
        trusting = ("--ca-file", str(certificate))
        with recorder(f"https://127.0.0.1:{port}/base/", tmp_path / "a", *trusting) as running:
            assert conversation(running.port, post("/x?y", "!"), ends=reply) == reply
    assert heard[0].startswith(b"POST /base/x?y HTTP/1.1\r\nHost: 127.0.0.1:%d\r\n" % port)
    with running_simulator() as simulator, recorder(simulator.url.replace("http", "https"), tmp_path / "b") as running:
        assert conversation(running.port, post("/", "!")).startswith(b"HTTP/1.1 502 Bad Gateway\r\n")


def test_the_loop_closes(tmp_path: Path) -> None:
    """A replay of 200 visitors, recorded, is the trace again; half of its think times at least within 10 ms.

    A busy machine holds up single calls, so that all of them are held to it by `make prove`.
    """
    off_ms = close_the_loop(tmp_path)
    assert median(off_ms) <= 10


def call_once(port: int, vid: str = "", sid: str = "") -> tuple[str, str]:
    """One getEngagement call on a connection of its own; the ids that it gave."""
    target = f"{BASE}/{vid}?v=1.0" + (f"&sid={sid}" if sid else "")
    said = conversation(port, post(target, '{"appType":"EXTERNAL"}', "Connection: close\r\n"))
    reply = json.loads(said.partition(b"\r\n\r\n")[2])
    return reply["visitorId"], reply["sessionId"]


def in_flight(simulator: Simulator) -> int:
    """How many calls the simulator has not answered yet."""
    count: int = simulator.truth()["attempts"]["in_flight"]
    return count


def listens(port: int) -> bool:
    """Whether somebody takes connections at this port."""
    with socket.socket() as sock:
        return sock.connect_ex(("127.0.0.1", port)) == 0


def test_a_call_under_way_is_not_lost_when_it_stops(tmp_path: Path) -> None:
    """SIGTERM lets an answer under way arrive and be recorded; nothing but the trace is left behind."""
    (tmp_path / "s.toml").write_text('[service]\ndistribution = "constant"\nmean = "1500ms"\n')
    with running_simulator(tmp_path / "s.toml") as simulator, recorder(simulator.url, tmp_path) as running:
        said: list[tuple[str, str]] = []
        caller = threading.Thread(target=lambda: said.append(call_once(running.port)))
        caller.start()
        wait_until(lambda: in_flight(simulator) == 1, 20, "the call is at the service")
        finished = running.stop()
        caller.join(20)
    assert finished.exit_code == 0, finished.explain()
    assert len(said) == 1
    assert [len(visit["steps"]) for visit in visits_of(running.out)] == [1]
    assert not running.journal.exists()
    content = running.out.read_text()
    assert said[0][0] not in content and said[0][1] not in content


def test_a_second_signal_does_not_wait(tmp_path: Path) -> None:
    """A call that is never answered is kept as one without an answer when a second signal ends the waiting."""
    (tmp_path / "s.toml").write_text('[[fault]]\nkind = "hang"\nratio = 1.0\n')
    with (
        running_simulator(tmp_path / "s.toml") as simulator,
        recorder(simulator.url, tmp_path) as running,
        socket.create_connection(("127.0.0.1", running.port)) as sock,
    ):
        sock.sendall(post(f"{BASE}/?v=1.0", "{}"))
        wait_until(lambda: in_flight(simulator) == 1, 20, "the call is at the service")
        running.command.signal(signal.SIGINT)
        # Heard when nobody listens any more: two signals at once could be taken for one.
        wait_until(lambda: not listens(running.port), 20, "the first signal is heard")
        finished = running.stop(signal.SIGINT)
        assert sock.recv(100) == b""
    assert finished.exit_code == 0, finished.explain()
    assert [len(visit["steps"]) for visit in visits_of(running.out)] == [1]


def test_a_crash_keeps_everything_that_was_answered(tmp_path: Path) -> None:
    """Killed outright, the recorder leaves a journal without ids, from which --recover makes the trace."""
    with running_simulator() as simulator, recorder(simulator.url, tmp_path) as running:
        vid, sid = call_once(running.port)
        call_once(running.port, vid, sid)
        wait_until(lambda: running.journal.read_bytes().count(b"\n") == 3, 20, "both calls are in the journal")
        running.command.signal(signal.SIGKILL)
        assert running.command.wait(running.command.age_s() + 20).exit_code == -signal.SIGKILL
    assert not running.out.exists()
    journal = running.journal
    assert journal.stat().st_mode & 0o777 == 0o600
    assert vid not in journal.read_text() and sid not in journal.read_text()
    journal.write_bytes(journal.read_bytes() + b'{"began_ns":12')
    output = ("-o", str(running.out))
    again = run_command("trace", "record", "--upstream", "http://127.0.0.1:9", *output, scratch=tmp_path / "a")
    assert again.exit_code == 2
    assert f"harness trace record --recover {journal} -o OUT" in again.stderr
    recovered = run_command("trace", "record", "--recover", str(journal), *output, scratch=tmp_path / "b")
    assert recovered.exit_code == 0, recovered.explain()
    [visit] = visits_of(running.out)
    assert [step["identity"] for step in visit["steps"]] == ["fresh", "chain"]
    assert not journal.exists()


def test_a_service_that_is_not_there(tmp_path: Path) -> None:
    """Calls are answered 502 with the reason; they are steps nevertheless, and the count is told."""
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    with recorder(f"http://127.0.0.1:{port}", tmp_path) as running:
        said = conversation(running.port, post(f"{BASE}/?v=1.0", "{}"))
        finished = running.stop()
    assert said.startswith(b"HTTP/1.1 502 Bad Gateway\r\n")
    assert b"cannot be reached" in said
    assert (finished.exit_code, "1 connections that the service did not take" in finished.stderr) == (0, True)
    assert len(visits_of(running.out)) == 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ((), "--upstream URL is needed"),
        (("--upstream", "ftp://x"), "is not a target"),
        (("--upstream", "http://127.0.0.1:9", "--listen", "8899"), "--listen 8899: write HOST:PORT"),
        (("--upstream", "http://127.0.0.1:9", "--listen", "192.0.2.1:0"), "cannot listen on 192.0.2.1:0"),
        (("--upstream", "https://127.0.0.1:9", "--ca-file", "no"), "the CA file or client certificate cannot be used"),
        (("--recover", "no"), "no: cannot be read"),
        (("--upstream", "http://127.0.0.1:9", "-o", "no/such/t.jsonl"), "cannot be written"),
    ],
)
def test_wrong_usage(tmp_path: Path, options: tuple[str, ...], message: str) -> None:
    """What cannot work is one line and exit code 2, and leaves no file."""
    output = () if "-o" in options else ("-o", str(tmp_path / "out" / "t.jsonl"))
    (tmp_path / "out").mkdir()
    finished = run_command("trace", "record", *options, *output, scratch=tmp_path / "scratch")
    assert (finished.exit_code, len(finished.error_lines)) == (2, 1), finished.explain()
    assert message in finished.error_lines[0]
    assert list((tmp_path / "out").iterdir()) == []


def test_nothing_recorded_is_said(tmp_path: Path) -> None:
    """Without a single engagement call nothing is written, and that is told with exit code 2."""
    with running_simulator() as simulator, recorder(simulator.url, tmp_path) as running:
        assert b"visitors_issued" in conversation(running.port, b"GET /sim/truth HTTP/1.1\r\nConnection: close\r\n\r\n")
        finished = running.stop()
    assert (finished.exit_code, finished.error_lines) == (
        2, ["harness: error: no engagement call came through: nothing was written"]
    )  # fmt: skip
    assert "1 other requests passed through" in finished.stderr
    assert not running.out.exists() and not running.journal.exists()
