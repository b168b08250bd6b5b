"""A real browser's visits recorded, and replayed."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import pairwise
from pathlib import Path
from typing import Any

from harness.testing import running_simulator
from tests.system.browser import FLAGS, find_chromium
from tests.system.harness_run import run_to_end
from tests.system.recording import recorder, visits_of

SCENARIO = 'cold = { calls = 2 }\n[service]\ndistribution = "constant"\nmean = "20ms"\n'
PAGE_LIMIT_S = 60
# Three visitors of one page, each with its own ids as the SDK keeps them for a tab; they overlap and share the
# browser's connections. A call is tried again 100 ms after an error, as the SDK's sample does, without ids until some
# were given.
PAGE = """<!doctype html><title>visits</title><script>
const base = "%s/api/account/12345678/app/engagement/visitors/";
const sleep = ms => new Promise(done => setTimeout(done, ms));
function send(method, ids, body) {
  return new Promise(done => {
    const xhr = new XMLHttpRequest();
    xhr.open(method, base + (ids.vid || "") + "?v=1.0" + (ids.sid ? "&sid=" + ids.sid : ""));
    xhr.setRequestHeader("Content-Type", "application/json; charset=UTF-8");
    xhr.setRequestHeader("Pragma", "no-cache");
    xhr.setRequestHeader("X-Requested-With", "XMLHttpRequest");
    xhr.onloadend = () => done(xhr);
    xhr.send(JSON.stringify(body));
  });
}
async function engage(ids, body) {
  for (let retries = 0; ; retries++) {
    const xhr = await send("POST", ids, body);
    if (xhr.status === 200) {
      const reply = JSON.parse(xhr.responseText);
      ids.vid = reply.visitorId; ids.sid = reply.sessionId;
      return reply;
    }
    if (retries === 25) throw Error("gave up");
    await sleep(100);
  }
}
async function visit(number) {
  const ids = {};
  const who = {type: "ctmrinfo", info: {customerId: "C" + number}};
  await sleep(600 * number);
  await engage(ids, {consumerSections: ["home" + number], appType: "EXTERNAL"});
  await sleep(700 + 50 * number);
  const reply = await engage(ids, {consumerSections: ["a"], engagementAttributes: [who], appType: "EXTERNAL"});
  const offer = reply.engagementDetails;
  await sleep(450);
  await send("PUT", ids, {pageId: reply.pageId, impAttributes: [{type: "impDisplay", campaign: +offer.campaignId,
    engId: +offer.engagementId, revision: offer.engagementRevision,
    eContext: [{type: "engagementContext", id: offer.contextId}]}]});
  await sleep(900 - 100 * number);
  await engage(ids, {consumerSections: ["b"], appType: "EXTERNAL"});
}
Promise.all([0, 1, 2].map(visit)).then(() => "done", String).then(
  said => fetch("/said", {method: "POST", body: said}));
</script>"""


@contextmanager
def page_server(page: str) -> Iterator[tuple[str, threading.Event, list[str]]]:
    """Serves the page; gives its URL, an event for its end, and what it said then."""
    ended, said = threading.Event(), list[str]()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._answer(page.encode() if self.path == "/" else b"")

        def do_POST(self) -> None:
            said.append(self.rfile.read(int(self.headers["Content-Length"])).decode())
            self._answer(b"")
            ended.set()

        def _answer(self, body: bytes) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            """Quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/", ended, said
    finally:
        server.shutdown()
        server.server_close()
        thread.join(5)


@contextmanager
def browser(chromium: str, url: str, profile: Path) -> Iterator[None]:
    """A headless Chromium with this page open, in real time; ended with all its processes."""
    flags = [flag for flag in FLAGS if not flag.startswith("--virtual-time-budget")]
    command = [chromium, *flags, "--disable-background-timer-throttling", f"--user-data-dir={profile}", url]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
    try:
        yield
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait(20)


Seen = dict[int, list[tuple[str, bool, bool, str]]]


def calls_by_visitor(log: Path) -> tuple[Seen, dict[int, list[float]]]:
    """What the simulator saw of each visitor: op, whether vid and sid came, outcome; and the gaps in ms.

    A call that the cold account refused gave no session: it is the next visitor's who is given one.
    """
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    visitors: dict[str, int] = {}
    refused: list[dict[str, Any]] = []
    calls: dict[int, list[dict[str, Any]]] = {}
    for line in sorted(lines, key=lambda line: line["at_ms"]):
        if line["outcome"] == "loading":
            refused.append(line)
            continue
        number = visitors.setdefault(line["vid"], len(visitors))
        calls.setdefault(number, []).extend([*refused, line])
        refused = []
    seen = {
        number: [(each["op"], each["vid_in"] is not None, each["sid_in"] is not None, each["outcome"]) for each in made]
        for number, made in calls.items()
    }
    gaps = {
        number: [after["at_ms"] - before["at_ms"] for before, after in pairwise(found)]
        for number, found in calls.items()
    }
    return seen, gaps


def record_and_replay(scratch: Path) -> list[float]:
    """A page's visits through the recorder, then its trace with the guessed policy straight to a simulator.

    The simulator has to see the same calls of every visitor; how far each gap between them is off in ms comes back.
    """
    chromium = find_chromium()
    (scratch / "s.toml").write_text(SCENARIO)
    with (
        running_simulator(scratch / "s.toml", log=scratch / "played.log") as simulator,
        recorder(simulator.url, scratch) as running,
        page_server(PAGE % running.url) as (url, ended, said),
        browser(chromium, url, scratch / "profile"),
    ):
        assert ended.wait(PAGE_LIMIT_S), "the page did not come to its end"
        finished = running.stop()
    assert said == ["done"]
    assert finished.exit_code == 0, finished.explain()
    others = re.search(r"(\d+) other requests passed through", finished.stderr)
    assert others is not None and int(others[1]) >= 3, "the browser sent no preflights"
    visits = visits_of(running.out)
    ops = ["get_engagement", "get_engagement", "update", "get_engagement"]
    identities = ["fresh", "chain", "chain", "chain"]
    assert [[step["op"] for step in visit["steps"]] for visit in visits] == [ops] * 3
    assert [[step["identity"] for step in visit["steps"]] for visit in visits] == [identities] * 3
    assert [visit["steps"][2]["request"] for visit in visits] == [{"impAttributes": [{"type": "impDisplay"}]}] * 3

    policy = finished.stderr[finished.stderr.index("[retry.recorded]") :]
    (scratch / "profile.toml").write_text(policy)
    with running_simulator(scratch / "s.toml", log=scratch / "replayed.log") as simulator:
        options = ("--profile", str(scratch / "profile.toml"), "--retry", "recorded")
        run_to_end(running.out, simulator.url, *options, scratch=scratch / "replay", timeout_s=60)
    played, gaps = calls_by_visitor(scratch / "played.log")
    replayed, gaps_again = calls_by_visitor(scratch / "replayed.log")
    assert [call[3] for call in played[0][:3]] == ["loading", "loading", "available"]
    assert replayed == played
    return [abs(again - gap) for number in gaps for gap, again in zip(gaps[number], gaps_again[number], strict=True)]
