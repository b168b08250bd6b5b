"""`harness sim` as a process: HTTP as clients really speak it, the truth, the log, its start and its end."""

from __future__ import annotations

import http.client
import json
import os
import re
import signal
import socket
import ssl
import subprocess
import sys
import time
import urllib.request
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pytest

pytestmark = pytest.mark.system

ROOT = Path(__file__).parents[2]
FIRST = "/api/account/12345678/app/engagement/visitors/?v=1.0"
PLAIN = b'{"appType":"EXTERNAL"}'
AT_ONCE = '[service]\ndistribution = "constant"\nmean = 0\n'


class Target(NamedTuple):
    """A running simulator."""

    process: subprocess.Popen[str]
    line: str
    port: int

    def truth(self) -> dict[str, Any]:
        """What it says that it did."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/sim/truth", timeout=10) as reply:
            truth: dict[str, Any] = json.load(reply)
            return truth


def command(*options: str) -> list[str]:
    return [sys.executable, "-m", "harness", "sim", "--port", "0", *options]


@contextmanager
def simulator(folder: Path, scenario: str, *options: str) -> Iterator[Target]:
    """A simulator with a scenario text of its own, on a free port; ended and reaped at the end."""
    path = folder / "scenario.toml"
    path.write_text(scenario)
    with subprocess.Popen(
        command("--scenario", str(path), *options),
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        match = re.match(r"simulator ready at https?://127\.0\.0\.1:(\d+) ", line)
        try:
            assert match, (line, process.stderr and process.stderr.read())
            yield Target(process, line, int(match[1]))
        finally:
            if process.poll() is None:
                process.terminate()
            process.wait(10)


def request(method: str, target: str, body: bytes, attempt: str = "", extra: str = "") -> bytes:
    """The bytes of one request."""
    head = f"{method} {target} HTTP/1.1\r\nHost: sim\r\nContent-Length: {len(body)}\r\n{extra}"
    if attempt:
        head += f"X-Harness-Attempt: {attempt}\r\n"
    return head.encode() + b"\r\n" + body


class Wire:
    """A raw keep-alive connection."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=10)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.file = self.socket.makefile("rb")

    def read(self) -> tuple[int, dict[str, str], bytes]:
        """The next reply: status, headers by lower-case name, body."""
        status = int(self.file.readline().split()[1])
        headers: dict[str, str] = {}
        while (line := self.file.readline()) not in (b"\r\n", b""):
            name, _, value = line.decode().partition(":")
            headers[name.lower()] = value.strip()
        return status, headers, self.file.read(int(headers.get("content-length", 0)))

    def ask(self, data: bytes) -> tuple[int, dict[str, str], bytes]:
        """Send one request and read its reply."""
        self.socket.sendall(data)
        return self.read()

    def close(self) -> None:
        self.file.close()
        self.socket.close()


@contextmanager
def wire(target: Target) -> Iterator[Wire]:
    connection = Wire(target.port)
    try:
        yield connection
    finally:
        connection.close()


def chained(body: bytes) -> str:
    """The target of the next call, with the ids of a reply."""
    reply = json.loads(body)
    return f"/api/account/12345678/app/engagement/visitors/{reply['visitorId']}?v=1.0&sid={reply['sessionId']}"


def test_a_visit_over_one_connection_and_what_the_truth_and_the_log_say_of_it(tmp_path: Path) -> None:
    """Three chained calls and an update: ids are kept, and truth, log and metrics agree with what the client saw."""
    log = tmp_path / "sim.jsonl"
    with simulator(tmp_path, AT_ONCE, "--log", str(log), "--metrics") as target, wire(target) as client:
        assert target.line.endswith(" scenario=scenario\n")
        seen = [client.ask(request("POST", FIRST, PLAIN, "v/0/1"))]
        for step in (1, 2):
            seen.append(client.ask(request("POST", chained(seen[0][2]), PLAIN, f"v/{step}/1")))
        page = json.loads(seen[-1][2])["pageId"]
        update = client.ask(request("PUT", chained(seen[0][2]), json.dumps({"pageId": page}).encode(), "v/3/1"))
        assert [status for status, _, _ in [*seen, update]] == [200] * 4
        assert update[2] == b""
        assert len({chained(body) for _, _, body in seen}) == 1
        truth = target.truth()
        assert truth["outcomes"] == {"available": 3, "accepted": 1}
        assert truth["attempts"]["by_op"] == {"get_engagement": 3, "update": 1}
        assert truth["chain"] == {"started": 1, "kept": 2}
        assert (truth["visitors_issued"], truth["sessions_issued"], truth["unknown_ids"]) == (1, 1, 0)
        assert (truth["sessions_open"], truth["attempts"]["in_flight"], truth["service_ms"]["count"]) == (1, 0, 4)
        with urllib.request.urlopen(f"http://127.0.0.1:{target.port}/metrics", timeout=10) as reply:
            assert 'sim_requests_total{op="get_engagement",outcome="available"} 3\n' in reply.read().decode()
    reply = json.loads(seen[0][2])
    ids = (reply["visitorId"], reply["sessionId"])
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    assert [(e["attempt"], e["op"], e["outcome"], e["vid_in"], e["sid_in"], e["vid"], e["sid"]) for e in lines] == [
        ("v/0/1", "get_engagement", "available", None, None, *ids),
        ("v/1/1", "get_engagement", "available", *ids, *ids),
        ("v/2/1", "get_engagement", "available", *ids, *ids),
        ("v/3/1", "update", "accepted", *ids, *ids),
    ]
    timings = [f"sim;dur={entry['service_ms']:.3f}" for entry in lines]
    assert [headers["server-timing"] for _, headers, _ in [*seen, update]] == timings


def test_the_same_seed_gives_the_same_replies_in_another_process(tmp_path: Path) -> None:
    """Status, ids and availability of 60 first calls depend on seed and attempt id alone, whatever their order."""
    scenario = AT_ONCE + "[availability]\nratio = 0.5\n"
    runs = []
    for order in (range(60), reversed(range(60))):
        with simulator(tmp_path, scenario, "--seed", "9") as target, wire(target) as client:
            runs.append({n: client.ask(request("POST", FIRST, PLAIN, f"v{n}/0/1"))[2] for n in order})
    assert runs[0] == runs[1]
    assert {json.loads(body)["status"] for body in runs[0].values()} == {"Available", "NotAvailable"}


def test_the_service_time_that_it_tells_is_the_one_it_gave(tmp_path: Path) -> None:
    """A constant 50 ms: never answered earlier; Server-Timing lies between that and what the client measured."""
    with simulator(tmp_path, '[service]\ndistribution = "constant"\nmean = "50ms"\n') as target, wire(target) as client:
        for _ in range(10):
            before = time.monotonic()
            _, headers, _ = client.ask(request("POST", FIRST, PLAIN))
            measured_ms = (time.monotonic() - before) * 1e3
            told_ms = float(headers["server-timing"].removeprefix("sim;dur="))
            assert 50.0 <= told_ms <= measured_ms + 0.001
        service = target.truth()["service_ms"]
        assert service["count"] == 10 and 50.0 <= service["p50"] <= service["max"]


def test_head_and_body_arrive_without_a_delayed_acknowledgement(tmp_path: Path) -> None:
    """200 calls one after the other on one connection take far less than 200 times 40 ms."""
    with simulator(tmp_path, AT_ONCE) as target, wire(target) as client:
        started = time.monotonic()
        for _ in range(200):
            client.ask(request("POST", FIRST, PLAIN))
        assert time.monotonic() - started < 4.0


def test_pipelined_calls_are_answered_in_order(tmp_path: Path) -> None:
    """Calls sent at once on one connection come back in order, although their service times differ."""
    scenario = '[service]\ndistribution = "exponential"\nmean = "5ms"\n'
    with simulator(tmp_path, scenario, "--log", str(tmp_path / "log")) as target, wire(target) as client:
        bodies = [PLAIN, b"not json", PLAIN, b"[]"] * 10
        calls = [request("POST", FIRST, body, f"p/{n}/1") for n, body in enumerate(bodies)]
        client.socket.sendall(b"".join(calls))
        assert [client.read()[0] for _ in calls] == [200, 400] * 20
    lines = [json.loads(line)["attempt"] for line in (tmp_path / "log").read_text().splitlines()]
    assert lines == [f"p/{n}/1" for n in range(40)]


def test_chunked_bodies_and_expect_continue(tmp_path: Path) -> None:
    """A chunked body is put together; a client that asks first is told to go on."""
    with simulator(tmp_path, AT_ONCE) as target, wire(target) as client:
        head = f"POST {FIRST} HTTP/1.1\r\nHost: sim\r\nTransfer-Encoding: chunked\r\n\r\n".encode()
        assert client.ask(head + b"5\r\n" + PLAIN[:5] + b"\r\n11\r\n" + PLAIN[5:] + b"\r\n0\r\n\r\n")[0] == 200
        asking = request("POST", FIRST, PLAIN, extra="Expect: 100-continue\r\n")
        client.socket.sendall(asking[: -len(PLAIN)])
        assert client.file.readline() == b"HTTP/1.1 100 Continue\r\n"
        assert client.file.readline() == b"\r\n"
        assert client.ask(PLAIN)[0] == 200


def test_what_is_no_engagement_call(tmp_path: Path) -> None:
    """Unknown paths and methods are 404 as JSON (HEAD without a body), /metrics too unless asked for."""
    with simulator(tmp_path, AT_ONCE) as target:
        client = http.client.HTTPConnection("127.0.0.1", target.port, timeout=10)
        for method, path in (("GET", "/"), ("GET", FIRST), ("HEAD", "/x"), ("DELETE", FIRST), ("GET", "/metrics")):
            client.request(method, path)
            reply = client.getresponse()
            body = reply.read()
            assert reply.status == 404
            assert (body == b"") if method == "HEAD" else ("message" in json.loads(body))
        client.close()
        assert target.truth()["unrouted"] == 5


def test_what_is_no_http_is_refused_and_the_next_client_served(tmp_path: Path) -> None:
    """Garbage gets 400 and a closed connection; a body of more than 8 MB gets 413 after it was read."""
    with simulator(tmp_path, AT_ONCE) as target:
        with wire(target) as client:
            assert client.ask(b"\x16\x03\x01 hello\r\n\r\n")[0] == 400
            assert client.socket.recv(1) == b""
        with wire(target) as client:
            assert client.ask(request("POST", FIRST, b"x" * (8 * 1024 * 1024 + 1)))[0] == 413
        with wire(target) as client:
            status, headers, _ = client.ask(request("POST", FIRST, PLAIN, extra="Connection: close\r\n"))
            assert (status, headers["connection"], client.socket.recv(1)) == (200, "close", b"")


def test_resets_and_hangs_are_real_and_counted(tmp_path: Path) -> None:
    """A reset arrives as RST, a hang as silence; truth and log know both, and who left before a reply."""
    log = tmp_path / "log"
    for kind, outcome in (("reset", "reset"), ("hang", "hang")):
        scenario = f'{AT_ONCE}[[fault]]\nkind = "{kind}"\nratio = 1.0\n'
        with simulator(tmp_path, scenario, "--log", str(log)) as target:
            with wire(target) as client:
                client.socket.settimeout(10 if kind == "reset" else 0.3)
                client.socket.sendall(request("POST", FIRST, PLAIN, "v/0/1"))
                with pytest.raises(ConnectionResetError if kind == "reset" else TimeoutError):
                    client.socket.recv(1)
                assert target.truth()["attempts"]["in_flight"] == (kind == "hang")
            assert target.truth()["outcomes"] == {outcome: 1}
        line = json.loads(log.read_text())
        assert (line["attempt"], line["outcome"], line["answered"]) == ("v/0/1", outcome, False)
    with simulator(tmp_path, '[service]\nmean = "20s"\n', "--log", str(log)) as target:
        with wire(target) as client:
            client.socket.sendall(request("POST", FIRST, PLAIN, "v/0/1"))
            while target.truth()["attempts"]["in_flight"] == 0:
                time.sleep(0.01)
        while target.truth()["attempts"]["in_flight"] == 1:
            time.sleep(0.01)
        assert target.truth()["attempts"]["abandoned"] == {"available": 1}
    assert json.loads(log.read_text())["answered"] is False


def test_a_freeze_answers_everybody_at_the_thaw(tmp_path: Path) -> None:
    """Calls that arrive during a freeze of one second get their replies together when it ends."""
    scenario = AT_ONCE + '[[freeze]]\nat = "300ms"\nlasts = "1s"\n'
    with simulator(tmp_path, scenario) as target:
        clients = [Wire(target.port) for _ in range(5)]
        clients[0].ask(request("POST", FIRST, PLAIN))
        epoch = time.monotonic()
        time.sleep(0.4)
        sent_s = []
        for client in clients:
            sent_s.append(time.monotonic() - epoch)
            client.socket.sendall(request("POST", FIRST, PLAIN))
            time.sleep(0.12)
        told_s = [float(client.read()[1]["server-timing"].removeprefix("sim;dur=")) / 1e3 for client in clients]
        thaws_s = [sent + told for sent, told in zip(sent_s, told_s, strict=True)]
        assert time.monotonic() - epoch > 1.29
        assert max(thaws_s) - min(thaws_s) < 0.4 < max(sent_s) - min(sent_s)
        truth = target.truth()
        assert truth["freezes"] == [{"at_s": 0.3, "until_s": 1.3}]
        for client in clients:
            client.close()


def test_tls_is_verified_with_the_certificate_that_it_names(tmp_path: Path) -> None:
    """`--tls` prints a certificate that serves as the client's CA file, for 127.0.0.1 by name."""
    with simulator(tmp_path, AT_ONCE, "--tls") as target:
        assert target.line.startswith("simulator ready at https://127.0.0.1:")
        certificate = Path(target.line.split(" certificate=")[1].strip())
        context = ssl.create_default_context(cafile=str(certificate))
        client = http.client.HTTPSConnection("127.0.0.1", target.port, timeout=10, context=context)
        client.request("POST", FIRST, PLAIN)
        assert client.getresponse().status == 200
        client.close()
        # A client that speaks no TLS harms nobody.
        with socket.create_connection(("127.0.0.1", target.port), timeout=10) as plain:
            plain.sendall(b"GET / HTTP/1.1\r\n\r\n")
            plain.recv(100)
        client.request("POST", FIRST, PLAIN)
        assert client.getresponse().status == 200
    assert not certificate.exists()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_stops_on_a_signal_with_everything_written(tmp_path: Path, number: signal.Signals) -> None:
    """SIGTERM and SIGINT end it with 0, also while calls hang; the log has each of them."""
    log = tmp_path / "log"
    scenario = AT_ONCE + '[[fault]]\nkind = "hang"\nratio = 0.5\n'
    with simulator(tmp_path, scenario, "--log", str(log)) as target:
        clients = [Wire(target.port) for _ in range(40)]
        for n, client in enumerate(clients):
            client.socket.sendall(request("POST", FIRST, PLAIN, f"v{n}/0/1"))
        while sum((outcomes := target.truth()["outcomes"]).values()) < 40:
            time.sleep(0.01)
        target.process.send_signal(number)
        assert target.process.wait(10) == 0
        assert target.process.stderr is not None and target.process.stderr.read() == ""
        for client in clients:
            client.close()
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    assert sorted(line["attempt"] for line in lines) == sorted(f"v{n}/0/1" for n in range(40))
    assert Counter(line["outcome"] for line in lines) == outcomes


def test_it_ends_with_its_parent(tmp_path: Path) -> None:
    """`--exit-with-stdin`: when the other end of standard input is gone, so is the simulator."""
    with simulator(tmp_path, AT_ONCE, "--exit-with-stdin") as target:
        assert target.truth()["outcomes"] == {}
        assert target.process.stdin is not None
        target.process.stdin.close()
        assert target.process.wait(10) == 0


def run_to_its_end(*options: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command(*options), cwd=ROOT, capture_output=True, text=True, timeout=20)


def test_a_port_in_use_is_one_line_and_exit_code_2(tmp_path: Path) -> None:
    """The line names the address and the way out; nothing is on stdout."""
    with simulator(tmp_path, AT_ONCE) as target:
        result = run_to_its_end("--port", str(target.port))
    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr.splitlines() == [
        f"harness: error: 127.0.0.1:{target.port} is in use: choose another --port (0 picks a free one)"
    ]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--scenario", "stormy"], "neither a file nor a preset"),
        (["--host", "no.such.host.invalid"], "cannot listen on no.such.host.invalid:0"),
        (["--log", "/nonexistent/log"], "--log /nonexistent/log cannot be written"),
    ],
)
def test_bad_options_are_one_line_and_exit_code_2(options: list[str], words: str) -> None:
    """What, where, what to do; no traceback."""
    result = run_to_its_end(*options)
    assert (result.returncode, result.stdout) == (2, "")
    assert len(result.stderr.splitlines()) == 1 and words in result.stderr


@pytest.mark.skipif(not os.access("/dev/full", os.W_OK), reason="the system has no /dev/full")
def test_a_full_disk_ends_it_with_one_line(tmp_path: Path) -> None:
    """A log that cannot be written any more is an error with its own line, not a silent gap."""
    with simulator(tmp_path, AT_ONCE, "--log", "/dev/full") as target, wire(target) as client:
        client.ask(request("POST", FIRST, PLAIN))
        assert target.process.wait(10) == 1
        assert target.process.stderr is not None
        assert target.process.stderr.read().splitlines() == [
            "harness: error: --log /dev/full cannot be written: No space left on device"
        ]


def test_pages_of_other_origins_may_call(tmp_path: Path) -> None:
    """A preflight is allowed for the calls' own path and methods, and replies name the origin that asked."""
    allowed = {"Access-Control-Allow-Origin": "https://shop.example", "Access-Control-Allow-Credentials": "true"}
    with simulator(tmp_path, AT_ONCE) as target:
        connection = http.client.HTTPConnection("127.0.0.1", target.port, timeout=10)

        def ask(method: str, path: str, **headers: str) -> http.client.HTTPResponse:
            connection.request(method, path, PLAIN if method == "POST" else None, headers)
            reply = connection.getresponse()
            reply.read()
            return reply

        origin = {"Origin": "https://shop.example"}
        for method, path, status in (("OPTIONS", FIRST, 200), ("POST", FIRST, 200), ("OPTIONS", "/sim/truth", 404)):
            reply = ask(method, path, **origin)
            assert (reply.status, {name: reply.headers[name] for name in allowed}) == (status, allowed)
        assert "PUT" in ask("OPTIONS", FIRST, **origin).headers["Access-Control-Allow-Methods"]
        assert ask("POST", FIRST).headers["Access-Control-Allow-Origin"] is None
        assert ask("OPTIONS", FIRST).status == 404
        connection.close()
        assert target.truth()["attempts"]["total"] == 2
