"""Two clients, one session machine: stock FastHttpUser makes the very calls that the engine makes."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest

from harness.testing import running_simulator
from tests.system.harness_run import ROOT, get_engagement, run_command, update, write_trace
from tests.system.plain_locust import Locust, write_profile

pytestmark = pytest.mark.system

CLASSIC = ROOT / "locustfiles" / "classic.py"
LOAD = 'arrivals = "constant:60/s"\nlimit_visits = 150\nmax_think = "100ms"\nseed = 7'
CLIENT = '[client]\ntimeout = "2s"\n'


def play_classic(profile: Path, scratch: Path) -> None:
    """Plays a profile with the classic locustfile to its end; Locust's 1 says that some requests failed."""
    with Locust("--headless", "--only-summary", "--harness-config", str(profile), scratch=scratch,
                locustfile=CLASSIC) as locust:  # fmt: skip
        assert locust.wait(90) in (0, 1), locust.explain()
        assert "visits: 150 completed\n" in locust.stdout, locust.explain()


def play_engine(profile: Path, scratch: Path) -> None:
    """Plays a profile with `harness run`."""
    finished = run_command("run", "--profile", str(profile), "--quiet", scratch=scratch, timeout_s=90)
    assert finished.exit_code in (0, 5), finished.explain()


Calls = dict[str, list[tuple[object, ...]]]


def by_visit(lines: Path) -> Calls:
    """The simulator's log: for each visit its calls in order, with attempt, operation, ids sent and what came of it."""
    calls: Calls = {}
    for entry in map(json.loads, lines.read_text().splitlines()):
        names = ("attempt", "op", "account", "vid_in", "sid_in", "outcome", "vid", "sid")
        calls.setdefault(entry["attempt"].split("/")[0], []).append(tuple(entry[name] for name in names))
    return calls


def test_both_clients_make_the_same_calls_on_the_same_simulator(tmp_path: Path) -> None:
    """The demo's trace on a flaky simulator: each visit has the same attempts with the same ids and outcomes."""
    seen = []
    for play in (play_classic, play_engine):
        scratch = tmp_path / play.__name__
        scratch.mkdir()
        log = scratch / "sim.jsonl"
        with running_simulator("flaky", seed=3, log=log) as sim:
            profile = write_profile(scratch, ROOT / "fixtures" / "demo.jsonl.gz", sim.url, f"{LOAD}\n{CLIENT}")
            play(profile, scratch)
        seen.append(by_visit(log))
    classic, engine = seen
    assert len(classic) == 150
    outcomes = {call[5] for calls in classic.values() for call in calls}
    assert {"available", "not_available", "accepted", "server_error"} <= outcomes
    assert classic == engine


class Witness(ThreadingHTTPServer):
    """Keeps every call whole, and answers by its attempt id alone."""

    daemon_threads = True
    request_queue_size = 512

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.calls: dict[str, tuple[str, str, bytes, dict[str, str]]] = {}

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = -1
    server: Witness

    def log_message(self, *_: object) -> None:
        """Says nothing."""

    def do_HEAD(self) -> None:
        self._reply(200, b"")

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        attempt = self.headers["X-Harness-Attempt"]
        kept = ("Content-Type", "Accept", "LP-URL", "Cache-Control", "User-Agent", "Cookie")
        headers = {name: self.headers[name] for name in kept if name in self.headers}
        self.server.calls[attempt] = (self.command, self.path, body, headers)
        visit, step, number = attempt.split("/")
        if self.command == "PUT":
            self._reply(201, b"{}")
        elif number == "1" and int(visit[-1]) % 3 == 0:
            self._reply(500, b'{"time":1,"message":"not now","internalCode":18}')
        elif number == "1" and int(visit[-1]) % 3 == 1:
            self._reply(200, _status("NotAvailable", visit, number))
        elif step == "1" and int(visit[-1]) == 8:
            self._reply(401, b'{"time":1,"message":"who?","internalCode":16}')
        else:
            self._reply(200, _status("Available", visit, step))

    do_PUT = do_POST

    def _reply(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Set-Cookie", "leak=1; Path=/")
        self.end_headers()
        self.wfile.write(body)


def _status(status: str, visit: str, part: str) -> bytes:
    details = {"campaignId": "11", "engagementId": "22", "engagementRevision": 3, "contextId": f"c{part}"}
    reply = {"status": status, "visitorId": f"V{visit}", "sessionId": f"S{visit}{part}", "pageId": f"{part}7"}
    return json.dumps(reply | ({"engagementDetails": details} if status == "Available" else {})).encode()


@contextmanager
def witness() -> Iterator[Witness]:
    """A witness on a free port for the time of the block."""
    with Witness() as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


def test_both_clients_send_the_same_bytes_but_for_what_is_their_own(tmp_path: Path) -> None:
    """Per attempt: method, path with ids, body and the headers of the service's client; and no cookie ever."""
    steps = [get_engagement(identity="fresh"), get_engagement(0.05), update(0.05)]
    write_trace(tmp_path / "trace.jsonl", (steps for _ in range(150)))
    seen = []
    for play in (play_classic, play_engine):
        scratch = tmp_path / play.__name__
        scratch.mkdir()
        with witness() as server:
            more = f'{LOAD}\n{CLIENT}user_agent = "both/1"\n'
            play(write_profile(scratch, tmp_path / "trace.jsonl", server.url, more), scratch)
            port = server.url.rpartition(":")[2]
            seen.append({
                attempt: (method, path, body, {name: text.replace(port, "PORT") for name, text in headers.items()})
                for attempt, (method, path, body, headers) in server.calls.items()
            })  # fmt: skip
    classic, engine = seen
    assert len(classic) > 450
    assert any(method == "PUT" and b'"campaign"' in body for method, _, body, _ in classic.values())
    assert not any("Cookie" in headers for *_, headers in classic.values())
    assert classic == engine


@pytest.mark.parametrize(
    ("target", "options", "exit_code", "words"),
    [
        ("http://192.0.2.1:80", (), 6, "is not on this machine and not allowed"),
        ("http://127.0.0.1:1", ("--master",), 2, "run in one process"),
        ("http://127.0.0.1:1", ("--host", "http://192.0.2.1"), 2, "the target stands in the profile"),
    ],
)
def test_what_cannot_be_played_is_one_line(
    tmp_path: Path, target: str, options: tuple[str, ...], exit_code: int, words: str
) -> None:
    """Guard, other processes and another host are refused before anything is sent."""
    write_trace(tmp_path / "trace.jsonl", [[get_engagement(identity="fresh")]])
    profile = write_profile(tmp_path, tmp_path / "trace.jsonl", target)
    arguments = ["--headless", "--harness-config", str(profile), *options]
    with Locust(*arguments, scratch=tmp_path, locustfile=CLASSIC) as locust:
        assert locust.wait(30) == exit_code, locust.explain()
        errors = [line for line in locust.stderr.splitlines() if line.startswith("harness: error:")]
        assert len(errors) == 1 and words in errors[0], locust.explain()
        assert "Traceback" not in locust.stderr
