"""The engine against peers that misbehave on real sockets: each gets the one outcome it deserves, nothing hangs."""

from __future__ import annotations

import gzip
import socket
import threading
import time
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.system.engine_play import Played, play, visit
from tests.system.misbehaving import AVAILABLE, Behaviour, Call, answer, closed_port, peer, reply

pytestmark = pytest.mark.system

MS = 1_000_000
TIMEOUT_NS = 700 * MS
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
HALF = reply()[:-20]


def silent(call: Call) -> bool:
    """Reads the request and never answers."""
    call.hold()
    return False


def rst(*pieces: bytes) -> Behaviour:
    """Sends these bytes, then an RST."""

    def behave(call: Call) -> bool:
        call.send(*pieces)
        if pieces:
            time.sleep(0.1)  # else the RST would overtake what is on its way
        call.reset()
        return False

    return behave


def drip(call: Call) -> bool:
    """One byte at a time, far too slowly."""
    for byte in reply():
        call.send(bytes([byte]))
        time.sleep(0.1)
    return True


def split(*pieces: bytes) -> Behaviour:
    """Sends the pieces as segments of their own."""

    def behave(call: Call) -> bool:
        for piece in pieces:
            call.send(piece)
            time.sleep(0.05)
        return True

    return behave


def flood(head: bytes, piece: bytes, times: int) -> Behaviour:
    """Sends the head, then the piece so many times, as long as the client listens."""

    def behave(call: Call) -> bool:
        call.send(head)
        for _ in range(times):
            call.send(piece)
        return True

    return behave


def chunked(*chunks: bytes) -> bytes:
    """A chunked reply."""
    return CHUNKED + b"".join(b"%x\r\n%b\r\n" % (len(chunk), chunk) for chunk in (*chunks, b""))


def json_with(status: str) -> Behaviour:
    return answer(reply(b'{"message":"said so","internalCode":5}', status))


BOMB = gzip.compress(bytes(64 * 1024 * 1024))
MEGABYTE = b"x" * 1024 * 1024
EIGHT_MB = 8 * 1024 * 1024

# name: (what the peer does, the result, the HTTP status of the record)
CASES: dict[str, tuple[Behaviour, str, int]] = {
    "fine": (answer(reply()), "available", 200),
    # No reply, or an end without one.
    "silent": (silent, "timeout", 0),
    "drip": (drip, "timeout", 0),
    "longer": (answer(reply(length=len(AVAILABLE) + 9)), "timeout", 0),
    "endless_continue": (flood(b"", CONTINUE, 3), "timeout", 0),
    "shut": (answer(keep=False), "reset", 0),
    "rst": (rst(), "reset", 0),
    "only_continue": (answer(CONTINUE, keep=False), "reset", 0),
    # A reply that breaks off.
    "cut_head": (answer(b"HTTP/1.1 200 OK\r\nContent-Le", keep=False), "bad_reply", 0),
    "cut_body": (answer(HALF, keep=False), "bad_reply", 0),
    "cut_chunk": (answer(CHUNKED + b"ff\r\n{", keep=False), "bad_reply", 0),
    "cut_after_continue": (answer(CONTINUE + HALF, keep=False), "bad_reply", 0),
    "rst_in_body": (rst(HALF), "bad_reply", 0),
    # What is no reply.
    "garbage": (answer(b"\x00\xff\x17 what?\r\n\r\n"), "bad_reply", 0),
    "ssh": (answer(b"SSH-2.0-OpenSSH_9.2\r\n"), "bad_reply", 0),
    "bad_chunk": (answer(CHUNKED + b"zz\r\n{}\r\n0\r\n\r\n"), "bad_reply", 0),
    "two_lengths": (answer(reply(b"{}", "200 OK", "Content-Length: 3")), "bad_reply", 0),
    "length_and_chunks": (answer(reply(b"{}", "200 OK", "Transfer-Encoding: chunked")), "bad_reply", 0),
    "shorter": (answer(reply(length=len(AVAILABLE) - 9)), "bad_reply", 0),
    "two_replies": (answer(reply() + reply(b"{}", "408 Request Timeout")), "bad_reply", 0),
    "switching": (answer(b"HTTP/1.1 101 Switching\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n"), "bad_reply", 0),
    "status_0": (answer(reply(AVAILABLE, "000 Nothing")), "bad_reply", 0),
    "status_999": (answer(reply(AVAILABLE, "999 Much")), "bad_reply", 999),
    # What is too much.
    "big_head": (answer(reply(AVAILABLE, "200 OK", f"X: {'x' * 70_000}")), "bad_reply", 0),
    "endless_head": (flood(b"HTTP/1.1 200 OK\r\n", b"X: y\r\n" * 5000, 500), "bad_reply", 0),
    "big_body": (flood(reply(b"", length=9 << 20), MEGABYTE, 9), "bad_reply", 0),
    "just_too_big": (answer(reply(AVAILABLE.ljust(EIGHT_MB + 1))), "bad_reply", 0),
    "just_fits": (answer(reply(AVAILABLE.ljust(EIGHT_MB))), "available", 200),
    "endless_chunks": (flood(CHUNKED, b"100000\r\n" + MEGABYTE + b"\r\n", 100), "bad_reply", 0),
    "endless_body": (flood(b"HTTP/1.1 200 OK\r\n\r\n", MEGABYTE, 100), "bad_reply", 0),
    "gzip_bomb": (answer(reply(BOMB, "200 OK", "Content-Encoding: gzip")), "bad_reply", 0),
    "cut_gzip": (answer(reply(gzip.compress(AVAILABLE)[:-9], "200 OK", "Content-Encoding: gzip")), "bad_reply", 0),
    # What is unusual and has its own meaning.
    "http10": (answer(b"HTTP/1.0 200 OK\r\n\r\n" + AVAILABLE, keep=False), "available", 200),
    "until_close": (answer(b"HTTP/1.1 200 OK\r\n\r\n", AVAILABLE, keep=False), "available", 200),
    "continue": (answer(CONTINUE + reply()), "available", 200),
    "continue_first": (split(CONTINUE, reply()), "available", 200),
    "early_hints": (split(b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" + reply()), "available", 200),
    "chunked": (answer(chunked(AVAILABLE[:7], AVAILABLE[7:])), "available", 200),
    "gzip": (answer(reply(gzip.compress(AVAILABLE), "200 OK", "Content-Encoding: gzip")), "available", 200),
    "deflate": (answer(reply(zlib.compress(AVAILABLE), "200 OK", "Content-Encoding: deflate")), "available", 200),
    "pieces": (split(reply()[:5], reply()[5:90], reply()[90:]), "available", 200),
    "says_close": (answer(reply(AVAILABLE, "200 OK", "Connection: close"), keep=False), "available", 200),
    # HTTP is fine, the meaning is what counts.
    "no_content": (answer(b"HTTP/1.1 204 No Content\r\n\r\n"), "bad_reply", 204),
    "not_json": (answer(reply(b"<html>It works!</html>")), "bad_reply", 200),
    "no_utf8": (answer(reply(b'{"status":"\xff\xfe"}')), "bad_reply", 200),
    "array": (answer(reply(b"[]")), "bad_reply", 200),
    "nested": (answer(reply(b"[" * 100_000)), "bad_reply", 200),
    "no_status": (answer(reply(b'{"sessionId":"a","visitorId":"b"}')), "bad_reply", 200),
    "empty": (answer(reply(b"")), "bad_reply", 200),
    "bad_request": (json_with("400 Bad Request"), "client_error", 400),
    "unauthorized": (json_with("401 Unauthorized"), "rejected", 401),
    "slow_down": (json_with("429 Too Many Requests"), "throttled", 429),
    "broken": (json_with("503 Service Unavailable"), "server_error", 503),
}


@pytest.fixture(scope="module")
def table() -> Iterator[Played]:
    """All cases played at once, each by a visitor of its own."""
    with peer({name: behaviour for name, (behaviour, _, _) in CASES.items()}) as seen:
        yield play(f"http://127.0.0.1:{seen.port}", [visit(name) for name in CASES], timeout_ns=TIMEOUT_NS)


@pytest.mark.parametrize("name", CASES)
def test_each_misbehaviour_has_its_one_outcome(table: Played, name: str) -> None:
    """A single attempt with the result that the table demands, and the status of the reply if there was one."""
    _, result, status = CASES[name]
    (attempt,) = [attempt for attempt in table.attempts if attempt["visit"] == name]
    assert (attempt["result"], attempt["http_status"]) == (result, status), attempt["message"]


def test_the_whole_table_leaves_nothing_behind(table: Played) -> None:
    """Every visit completed; no descriptor and no unreachable object is left."""
    assert table.ends == {"completed": len(CASES)}
    assert table.descriptors[0] == table.descriptors[1]
    assert table.cycles == 0


def test_moments_of_an_attempt_are_in_order_and_bounded(table: Played) -> None:
    """planned ≤ started ≤ connected ≤ sent ≤ done; a timeout ends within two ticks after its time."""
    for attempt in table.attempts:
        moments = [attempt[f"{name}_ns"] for name in ("planned", "started", "connected", "sent", "done")]
        assert moments == sorted(moments), attempt
        if attempt["result"] == "timeout":
            assert attempt["done_ns"] - attempt["started_ns"] >= TIMEOUT_NS, attempt


def test_a_refused_connect_is_a_connect_error() -> None:
    """Nobody listens: connect_error, never connected, never sent."""
    with closed_port() as port:
        played = play(f"http://127.0.0.1:{port}", [visit("refused")])
    (attempt,) = played.attempts
    assert (attempt["result"], attempt["message"]) == ("connect_error", "Connection refused")
    assert (attempt["connected_ns"], attempt["sent_ns"]) == (-1, -1)
    assert played.connections["opened"] == 0


def test_a_reply_before_the_request_was_read_counts() -> None:
    """A peer that answers after the head of a request of 16 MB is understood; the connection is not used again."""

    def early(call: Call) -> bool:
        call.send(reply())
        call.sock.shutdown(socket.SHUT_WR)
        call.hold()
        return False

    with peer({"early": early}, read_all=False) as seen:
        target = f"http://127.0.0.1:{seen.port}"
        played = play(target, [visit("early", 2, body="x" * (16 << 20))], timeout_ns=5_000 * MS)
    assert [attempt["result"] for attempt in played.attempts] == ["available", "available"]
    assert (seen.connections, played.connections["reused"]) == (2, 0)


def test_a_large_request_arrives_whole() -> None:
    """A request that does not fit into the socket's buffer goes out in parts, and its connection is kept."""

    def slow(call: Call) -> bool:
        return answer(reply())(call)

    with peer({"large": slow}) as seen:
        played = play(f"http://127.0.0.1:{seen.port}", [visit("large", 2, body="x" * (8 << 20))])
    assert [attempt["result"] for attempt in played.attempts] == ["available", "available"]
    assert seen.calls == [("large", 0, 1), ("large", 1, 2)]


@pytest.mark.parametrize("status", ["301", "302", "303", "307", "308"])
def test_a_redirect_is_never_followed(status: str) -> None:
    """The result is redirect; the place it points to sees no connection, and the visit goes on without ids."""
    with peer({}) as elsewhere:
        there = f"Location: http://127.0.0.1:{elsewhere.port}/"
        with peer({"moved": answer(reply(b"", f"{status} Moved", there))}) as seen:
            played = play(f"http://127.0.0.1:{seen.port}", [visit("moved", 2)])
    assert played.results() == {"moved": ["redirect"] * 2}
    assert [attempt["http_status"] for attempt in played.attempts] == [int(status)] * 2
    assert len(seen.calls) == 2
    assert elsewhere.connections == 0


def test_an_update_is_accepted_without_a_body() -> None:
    """204 and 200 without a body accept an update, though they are no reply to a getEngagement call."""

    def behave(call: Call) -> bool:
        call.send(reply() if call.step == 0 else (b"HTTP/1.1 204 No Content\r\n\r\n", reply(b""))[call.step % 2])
        return True

    with peer({"update": behave}) as seen:
        played = play(f"http://127.0.0.1:{seen.port}", [visit("update", 3, op="update")])
    assert [attempt["result"] for attempt in played.attempts] == ["available", "accepted", "accepted"]


def test_bytes_after_a_reply_close_the_connection_without_a_result_of_their_own() -> None:
    """Excess that comes later than the reply cannot take back the reply, but the next call goes another way."""
    late = split(reply(), b"HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\n\r\n")
    with peer({"late": late}) as seen:
        played = play(f"http://127.0.0.1:{seen.port}", [visit("late", 2, think=0.3)])
    assert [attempt["result"] for attempt in played.attempts] == ["available", "available"]
    assert seen.calls == [("late", 0, 1), ("late", 1, 1)]
    assert played.connections["closed_by_peer"] >= 1


def test_a_kept_connection_that_proves_dead_is_an_attempt_of_its_own() -> None:
    """The peer resets instead of answering the second call: `reset`, not a silent second try."""

    def behave(call: Call) -> bool:
        return answer(reply())(call) if call.number == 1 else rst()(call)

    with peer({"dead": behave}) as seen:
        played = play(f"http://127.0.0.1:{seen.port}", [visit("dead", 3)])
    assert [attempt["result"] for attempt in played.attempts] == ["available", "reset", "available"]
    assert seen.calls == [("dead", 0, 1), ("dead", 1, 2), ("dead", 2, 1)]


# Connections


@pytest.mark.parametrize(
    ("mode", "slots", "opened"),
    [("browser", None, 20), ("browser", 4, 20), ("pooled", 4, 4), ("fresh", None, 60), ("fresh", 4, 60)],
)
def test_each_mode_opens_and_reuses_as_the_peer_sees_it(mode: str, slots: int | None, opened: int) -> None:
    """20 visits of 3 calls: one connection a visit, a slot or a call; the peer's count and ours are the same."""
    with peer({"v": answer(reply())}) as seen:
        visits = [visit(f"v-{number}", 3) for number in range(20)]
        played = play(f"http://127.0.0.1:{seen.port}", visits, slots=slots, connections=mode)
    assert seen.connections == opened
    assert played.connections["opened"] == opened
    assert played.connections["reused"] == 60 - opened == sum(number > 1 for _, _, number in seen.calls)
    assert Counter(visit for visit, _, _ in seen.calls) == {f"v-{number}": 3 for number in range(20)}


def test_connection_close_is_honoured() -> None:
    """After `Connection: close` the next call opens another connection, and none counts as closed by the peer."""
    with peer({"v": answer(reply(AVAILABLE, "200 OK", "Connection: close"), keep=False)}) as seen:
        played = play(f"http://127.0.0.1:{seen.port}", [visit("v", 3)])
    assert (seen.connections, played.connections["opened"], played.connections["closed_by_peer"]) == (3, 3, 0)


@contextmanager
def crowded(on_crowd: Callable[[socket.socket], None] = lambda _: None) -> Iterator[tuple[int, list[int]]]:
    """A listener with a full queue: its port, and how many SYNs were under way at each look; tells of the first 250."""
    peaks: list[int] = []
    over = threading.Event()
    with socket.create_server(("127.0.0.1", 0), backlog=0) as listener:
        port = listener.getsockname()[1]

        def watch() -> None:
            told = False
            while not over.wait(0.02):
                rows = [row.split() for row in Path("/proc/net/tcp").read_text().splitlines()[1:]]
                peaks.append(sum(row[2].endswith(f":{port:04X}") and row[3] == "02" for row in rows))
                if peaks[-1] >= 250 and not told:
                    told = True
                    on_crowd(listener)

        watcher = threading.Thread(target=watch)
        watcher.start()
        try:
            yield port, peaks
        finally:
            over.set()
            watcher.join()


def test_half_open_connects_are_bounded_and_the_wait_is_our_lag() -> None:
    """A peer whose queue is full: never more than 256 SYNs at once; who waits for a turn has not started."""
    visits = [visit(f"v-{number}") for number in range(400)]
    with crowded() as (port, peaks):
        played = play(f"http://127.0.0.1:{port}", visits, timeout_ns=1_000 * MS, connect_timeout_ns=600 * MS)
    assert 200 < max(peaks) <= 256
    assert Counter(attempt["result"] for attempt in played.attempts)["connect_error"] >= 390
    waited = [attempt for attempt in played.attempts if attempt["started_ns"] - attempt["planned_ns"] > 500 * MS]
    assert len(waited) >= 400 - 256 - 10
    assert played.descriptors[0] == played.descriptors[1]


def test_connects_that_wait_and_then_fail_at_once_fail_in_turn() -> None:
    """256 connects hang, 2,700 wait; those are let in, and no descriptor is left: no recursion, nobody forgotten."""
    visits = [visit(f"v-{number}") for number in range(3_000)]
    with crowded(lambda listener: listener.listen(1_024)) as (port, peaks):
        target = f"http://127.0.0.1:{port}"
        played = play(target, visits, descriptor_room=260, timeout_ns=4_000 * MS, connect_timeout_ns=3_000 * MS)
    assert max(peaks) >= 250
    assert played.ends == {"completed": 3_000}
    short_of = Counter(attempt["message"] for attempt in played.attempts)["Too many open files"]
    assert played.own_limits == short_of > 2_000
    assert played.descriptors[0] == played.descriptors[1]
    assert played.cycles == 0


def test_the_next_attempt_takes_the_other_address_when_the_first_refuses() -> None:
    """Two addresses, one dead: ten visits that fail on it together all reach the living one next."""
    with closed_port("127.0.0.2") as dead, peer({"v": answer(reply())}) as seen:
        played = play(
            f"http://localhost:{seen.port}",
            [visit(f"v-{number}") for number in range(10)],
            addresses=[("127.0.0.2", dead), ("127.0.0.1", seen.port)],
            retry={"name": "again", "retry_on": ["connect_error"], "first_ms": 20.0, "max_retries": 3},
        )
    assert set(map(tuple, played.results().values())) == {("connect_error", "available")}
    assert seen.connections == 10


def test_ipv6_loopback() -> None:
    """A target written as [::1] is spoken to over IPv6 and named so in the Host header."""
    with peer({"v": answer(reply())}, host="::1") as seen:
        played = play(f"http://[::1]:{seen.port}", [visit("v", 2)])
    assert [attempt["result"] for attempt in played.attempts] == ["available", "available"]
    assert all(b"\r\nHost: [::1]:%d\r\n" % seen.port in head for head in seen.heads)


def test_resolve_takes_the_place_of_dns() -> None:
    """`--resolve` leads a name that does not exist to an address; the Host header keeps the name."""
    with peer({"v": answer(reply())}) as seen:
        resolve = {"service.invalid": "127.0.0.1"}
        played = play(f"http://Service.invalid:{seen.port}/base", [visit("v")], resolve=resolve)
    assert played.results() == {"v": ["available"]}
    assert b"\r\nHost: service.invalid:%d\r\n" % seen.port in seen.heads[0]
    assert seen.heads[0].startswith(b"POST /base/api/account/12345678/app/engagement/visitors/?v=1.0 HTTP/1.1\r\n")


def test_header_values_are_looked_up_where_the_engine_runs(tmp_path: Path) -> None:
    """`file:PATH` in a header becomes the file's text on the wire."""
    (tmp_path / "token").write_text("s3cret\n")
    with peer({"v": answer(reply())}) as seen:
        play(f"http://127.0.0.1:{seen.port}", [visit("v")], headers={"X-Token": f"file:{tmp_path / 'token'}"})
    assert b"\r\nX-Token: s3cret\r\n" in seen.heads[0]


@pytest.mark.parametrize("mode", ["browser", "pooled", "fresh"])
def test_two_thousand_mixed_calls_leave_no_descriptor_and_no_cycle(mode: str) -> None:
    """Good and bad calls of every quick kind: descriptors flat, nothing for the garbage collector, all visits over."""
    quick = [name for name, (_, result, _) in CASES.items() if result != "timeout" and "endless" not in name]
    quick = [name for name in quick if name not in ("big_body", "gzip_bomb", "rst_in_body")]
    visits = [visit(f"{quick[number % len(quick)]}-{number}", 2) for number in range(1_000)]
    with peer({name: behaviour for name, (behaviour, _, _) in CASES.items()}) as seen:
        played = play(f"http://127.0.0.1:{seen.port}", visits, slots=16, connections=mode)
    assert played.ends == {"completed": 1_000}
    assert len(played.attempts) == 2_000
    assert played.descriptors[0] == played.descriptors[1]
    assert played.cycles == 0
    wrong = {
        attempt["visit"]: attempt["result"]
        for attempt in played.attempts
        if attempt["result"] != CASES[attempt["visit"].partition("-")[0]][1]
    }
    assert wrong == {}
