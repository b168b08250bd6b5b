"""What tests of one's own code need, and the only module here that is meant to be imported by others.

`running_simulator` is the practice target as a child process, for whatever speaks HTTP. `FakeService` is the other end:
a service without a socket or a clock that answers one visit from a script and keeps what it was sent. `write_trace`
makes a trace from plain data and refuses one that could not be replayed. docs/testing.md shows them at work.
"""

from __future__ import annotations

import json
import os
import re
import select
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import orjson

import harness
from harness.errors import InternalError, TraceError
from harness.sim.scenario_file import load_scenario
from harness.trace.check import Validation
from harness.trace.codec import decode_visit
from harness.trace.lines import BadLines
from harness.trace.model import Header
from harness.trace.writer import write_trace as write_lines
from harness.units import NS_PER_MS
from harness.visitor.calls import Calls
from harness.visitor.identity import Identities
from harness.visitor.records import Result
from harness.visitor.retry import POLICIES, RetryPolicy
from harness.visitor.session import Rules, Sink, VisitorSession
from harness.wire.render import CallRenderer
from harness.wire.reply import read_reply

_READY_LIMIT_S = 20.0
_STOP_LIMIT_S = 5.0
_URL = re.compile(r"https?://\S+")

# An answer of a `FakeService`: HTTP status and body, or the reason why there is none.
Answer = tuple[int, bytes] | Result


@dataclass(frozen=True)
class Simulator:
    """A practice target that runs: `url` is its base URL."""

    url: str

    def truth(self) -> dict[str, Any]:
        """What it really did until now (`GET /sim/truth`); raises `OSError` when it cannot be asked."""
        with urlopen(f"{self.url}/sim/truth", timeout=_READY_LIMIT_S) as reply:
            truth: dict[str, Any] = json.load(reply)
        return truth


@contextmanager
def running_simulator(
    scenario: str | Path = "healthy", *, seed: int = 1, log: Path | None = None
) -> Iterator[Simulator]:
    """Runs `harness sim` on a free port of 127.0.0.1 for the time of the block.

    `scenario` is a preset's name or a file; the same seed and calls give the same replies; `log` gets one JSON line a
    call. Raises `UsageError` when the scenario cannot be used, `InternalError` when the simulator does not start.
    """
    load_scenario(str(scenario))
    command = [sys.executable, "-m", "harness", "sim", "--port", "0", "--exit-with-stdin"]
    command += ["--scenario", str(scenario), "--seed", str(seed), *(["--log", str(log)] if log is not None else [])]
    package = Path(harness.__file__).resolve().parents[1]
    path = os.pathsep.join(filter(None, [str(package), os.environ.get("PYTHONPATH")]))
    child = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": path}
    )
    try:
        yield Simulator(_url(child))
    finally:
        # It ends with its standard input, so it does not outlive a test that is killed either.
        try:
            child.communicate(timeout=_STOP_LIMIT_S)
        except subprocess.TimeoutExpired:
            child.kill()
            child.communicate()


def _url(child: subprocess.Popen[str]) -> str:
    assert child.stdout is not None
    ready, _, _ = select.select([child.stdout], [], [], _READY_LIMIT_S)
    match = _URL.search(child.stdout.readline()) if ready else None
    if match is None:
        raise InternalError(f"the simulator does not start (exit code {child.poll()}); its stderr says why")
    return match[0]


def write_trace(path: Path, visits: Iterable[Mapping[str, Any]], *, source: str = "test") -> Path:
    """Writes a trace whose lines are `visits` (docs/trace-format.md) in order of their `at`; returns `path`.

    The ending `.gz` or `.zst` compresses. Raises `TraceError` with every line that could not be replayed.
    """
    lines = [orjson.dumps(visit) for visit in sorted(visits, key=lambda visit: float(visit["at"]))]
    write_lines(path, Header(harness_trace=1, source=source, visits=len(lines), anonymized=True), lines)
    bad = BadLines("skip")
    for _ in Validation(str(path), bad):
        pass
    if bad.count:
        raise TraceError(f"{bad.count} of {len(lines)} visits cannot be replayed", problems=bad.messages)
    return path


class FakeService:
    """Answers the calls of visits from a script, in its order, on a clock that only it moves.

    Every answer takes `service_ms`. `requests` keeps the bytes of each call, `records` what became of them.
    """

    def __init__(self, answers: Iterable[Answer], *, service_ms: float = 10.0) -> None:
        self._answers = iter(answers)
        self._service_ns = int(service_ms * NS_PER_MS)
        self._calls = Calls(CallRenderer(host="engagement.test", base_path="", account="12345678", headers={}))
        self._identities = Identities()
        self.now_ns = 0
        self.requests: list[bytes] = []
        self.records = Sink()

    def play(self, visit: Mapping[str, Any], *, retry: str | RetryPolicy = "until-available", seed: int = 1) -> None:
        """Plays one visit (a trace line as plain data) to its end; it arrives now.

        Raises `TraceError` when it is no visit, `LookupError` when it makes a call for which the script has no answer.
        """
        policy = POLICIES[retry] if isinstance(retry, str) else retry
        rules = Rules(policy, seed, self._identities, self.records)
        session = VisitorSession(decode_visit(orjson.dumps(visit), "visit"), rules, self._calls, self.now_ns)
        while (action := session.next_action(self.now_ns)) is not None:
            if isinstance(action, int):
                self.now_ns = action
            else:
                self._answer(session, action)

    def _answer(self, session: VisitorSession, request: bytes) -> None:
        self.requests.append(request)
        answer = next(self._answers, None)
        if answer is None:
            raise LookupError(f"the script has no answer to call {len(self.requests)}: {request[:80]!r}")
        sent_ns = self.now_ns
        self.now_ns += self._service_ns
        if isinstance(answer, Result):
            session.fault(answer, sent_ns, sent_ns, sent_ns, self.now_ns)
        else:
            session.resolve(read_reply(session.op, *answer), sent_ns, sent_ns, sent_ns, self.now_ns)
