"""What metrics cost where: a scrape, a page, and the stalls they cause; and pictures of the previews for the docs."""

from __future__ import annotations

import http.client
import json
import socket
import subprocess
import sys
import time
from contextlib import ExitStack
from pathlib import Path
from random import Random

from harness.export.history import render_history
from harness.export.http import MetricsServer
from harness.export.negotiation import encode
from harness.export.prometheus import MetricsPage
from harness.export.protobuf import PROTOBUF
from harness.export.state import RunState
from harness.export.text_format import OPENMETRICS, TEXT
from harness.measure.histogram import Histogram
from harness.measure.snapshot import Snapshot
from harness.testing import running_simulator
from tests.prove.evidence import ROOT, store
from tests.system.browser import find_chromium, pictured
from tests.system.harness_run import get_engagement, run_command, start_run, update, wait_until, write_trace
from tests.system.real_prometheus import free_port, prometheus, promtool
from tests.system.test_regression_backfill import NIGHTS, nights

COHORTS = ("desktop", "mobile", "tablet", "tv", "watch")

# A master as gevent patches it: pages are served while a greenlet notes how late it wakes up.
PATCHED = """
from gevent import monkey; monkey.patch_all()
import json, sys, time, gevent
from harness.export.http import MetricsServer
from harness.export.text_format import TEXT
server = MetricsServer("127.0.0.1:0")
server.publish({TEXT: b"x" * int(sys.argv[1])})
print(server.port, flush=True)
late, until = [], time.monotonic() + 8
while time.monotonic() < until:
    due = time.monotonic() + 0.001
    gevent.sleep(0.001)
    late.append(time.monotonic() - due)
cpu = time.process_time()
print(json.dumps({"late_ms": sorted(late)[-1] * 1e3, "p999_ms": sorted(late)[int(len(late) * 0.999)] * 1e3,
                  "scrapes": server.scrapes, "cpu_s": cpu}), flush=True)
"""


def second(random: Random, attempts: int) -> Snapshot:
    """One second of a busy run: every measure of five cohorts and both operations."""
    snapshot = Snapshot()
    each = attempts // (len(COHORTS) * 2)
    for cohort in COHORTS:
        for op in ("get_engagement", "update"):
            for measure in ("response_time", "service_time", "dispatch_lag", "time_to_available"):
                histogram = snapshot.histograms[measure, op, cohort, "ok"] = Histogram()
                histogram.add_all([round(random.lognormvariate(17, 0.7)) for _ in range(each)])
            snapshot.counters["attempts", op, cohort, "available" if op == "get_engagement" else "accepted"] = each
    return snapshot


def cost_ms(work: object, times: int) -> float:
    """CPU milliseconds of one call of `work`."""
    began = time.process_time()
    for _ in range(times):
        work()  # type: ignore[operator]
    return (time.process_time() - began) / times * 1e3


def scrape_cost_ms(server: MetricsServer, accept: str, times: int = 200) -> float:
    """CPU milliseconds of this process for one scrape, less what the asking itself costs (asked by a child)."""
    child = (
        "import http.client, sys\n"
        "c = http.client.HTTPConnection('127.0.0.1', int(sys.argv[1]))\n"
        "for _ in range(int(sys.argv[3])):\n"
        "    c.request('GET', '/metrics', headers={'Accept': sys.argv[2]}); c.getresponse().read()\n"
    )
    asking = subprocess.Popen([sys.executable, "-c", child, str(server.port), accept, str(times)])
    began = time.process_time()  # starting a child costs this process more than scrapes do
    assert asking.wait(120) == 0
    return (time.process_time() - began) / times * 1e3


def test_what_a_scrape_costs() -> None:
    """A scrape costs the master half a millisecond of CPU at most, in each format; what a page costs is printed."""
    random = Random(1)
    page = MetricsPage(run_info={"run_id": "bench", "scenario": "x", "trace": "x", "version": "x"}, cohorts=COHORTS)
    for _ in range(60):
        page.add(second(random, 2_000))
    fresh = [second(random, 2_000) for _ in range(10)]
    figures: dict[str, float] = {"series": page.page(RunState()).series}
    figures["add_second_of_2000_attempts_ms"] = cost_ms(lambda: page.add(fresh[0]), 10)
    figures["build_page_ms"] = cost_ms(lambda: page.page(RunState()), 50)
    built = page.page(RunState())
    server = MetricsServer("127.0.0.1:0")
    try:
        pages = {kind: encode(built, kind) for kind in (TEXT, OPENMETRICS, PROTOBUF)}
        server.publish(pages)
        for name, kind in (("text", TEXT), ("openmetrics", OPENMETRICS), ("protobuf", PROTOBUF)):
            figures[f"{name}_bytes"] = len(pages[kind])
            figures[f"{name}_encode_ms"] = cost_ms(lambda kind=kind: encode(built, kind), 50)  # type: ignore[misc]
            figures[f"{name}_scrape_ms"] = scrape_cost_ms(server, kind)
    finally:
        server.close()
    figures |= stalls(len(pages[TEXT]))
    print(json.dumps(figures, indent=2))
    store("metrics-cost", "a scrape costs at most 0.5 ms of CPU at the master", figures, seeds=[1])
    assert max(figures[f"{name}_scrape_ms"] for name in ("text", "openmetrics", "protobuf")) <= 0.5
    assert figures["series"] < 500


def stalls(size: int) -> dict[str, float]:
    """How late a greenlet of the patched master wakes up: alone, scraped each 100 ms, and with stuck scrapers, too."""
    found: dict[str, float] = {}
    for name, scraped, stuck in (("quiet", False, 0), ("scraped", True, 0), ("stuck", True, 16)):
        child = subprocess.Popen([sys.executable, "-c", PATCHED, str(size)], stdout=subprocess.PIPE, text=True)
        try:
            assert child.stdout is not None
            port = int(child.stdout.readline())
            held = [socket.create_connection(("127.0.0.1", port)) for _ in range(stuck)]
            for each in held:
                each.sendall(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n" * 50)
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
            for _ in range(50 if scraped else 0):
                connection.request("GET", "/metrics")
                connection.getresponse().read()
                time.sleep(0.1)
            told = json.loads(child.stdout.readline())
            found |= {f"{name}_stall_max_ms": told["late_ms"], f"{name}_stall_p999_ms": told["p999_ms"]}
            for each in held:
                each.close()
        finally:
            child.kill()
            child.wait()
    return found


# A queue that four serve: beyond 160 calls a second it grows, attempts time out, and useful work falls.
KNEE = """
name = "knee"
[service]
distribution = "exponential"
mean = "25ms"
slots = 4
[availability]
ratio = 0.999
"""
STAIRS = (
    "--retry",
    "sdk-sample",
    "--arrivals",
    ",".join(f"constant:{rate}/s:12s" for rate in (8, 16, 24, 32, 40, 48)),
    "--timeout",
    "1s",
)
STEADY = ("--arrivals", "poisson:25/s:70s", "--timeout", "5s")
# Pictures are for looking at: a busy machine shall not make every verdict INVALID.
PROFILE = "[validity]\nlag_p99_ms = 50\nloop_stall_max_ms = 1000\n"


def test_pictures_of_the_previews(tmp_path: Path) -> None:
    """Draws the three previews from real runs and from sixty nights, and keeps pictures of them under docs/."""
    chromium = find_chromium()
    visits = [[get_engagement(), get_engagement(0.2), update(0.1), get_engagement(0.2)] for _ in range(3_000)]
    write_trace(tmp_path / "checkout.jsonl", visits)
    (tmp_path / "knee.toml").write_text(KNEE)
    (tmp_path / "profile.toml").write_text(PROFILE)
    draw_run(chromium, "run", ROOT / "fixtures" / "demo-scenario.toml", STEADY, tmp_path, 1560)
    draw_run(chromium, "capacity", tmp_path / "knee.toml", STAIRS, tmp_path, 1060)
    folder = tmp_path / "backfill"
    (folder / "data").mkdir(parents=True)
    (folder / "nights.txt").write_text(render_history(nights(round(time.time()) - 5 * 3600)))
    promtool("tsdb", "create-blocks-from", "openmetrics", str(folder / "nights.txt"), str(folder / "data"))
    with prometheus(folder) as server:
        picture(chromium, server.url, "regression", ("--from", f"-{NIGHTS * 24}h"), tmp_path, 1110)


def draw_run(chromium: str, name: str, scenario: Path, options: tuple[str, ...], scratch: Path, height: int) -> None:
    """Plays the trace against a simulator, scraped by Prometheus, and draws one dashboard of it."""
    port, scratch_run = free_port(), scratch / f"{name}-run"
    with ExitStack() as stack:
        simulator = stack.enter_context(running_simulator(str(scenario), seed=3))
        server = stack.enter_context(prometheus(scratch / f"{name}-prometheus", [f"127.0.0.1:{port}"]))
        run = start_run(
            scratch / "checkout.jsonl",
            simulator.url,
            *options,
            *("--metrics", f"127.0.0.1:{port}", "--drain", "2s", "--seed", "5"),
            *("--profile", str(scratch / "profile.toml")),
            *("--threshold", "p95(response_time) < 250ms", "--threshold", "p95(time_to_available) < 2s"),
            *("--threshold", "availability(eventual) > 90%"),
            scratch=scratch_run,
        )
        stack.callback(run.kill)
        wait_until(lambda: bool(server.newest("harness_run_phase")), 60, "the run to be scraped")
        start_s = time.time() - 1
        finished = run.wait(180)
        assert (finished.out / "summary.json").exists(), finished.explain()
        span = ("--from", f"{start_s:.3f}", "--to", f"{time.time():.3f}", "--var", "expected=12")
        picture(chromium, server.url, name, span, scratch, height)


def picture(chromium: str, url: str, name: str, span: tuple[str, ...], scratch: Path, height: int) -> None:
    """Draws one dashboard and keeps docs/preview-NAME.png."""
    page = scratch / f"{name}.html"
    drawn = run_command(
        "dashboards", "preview", "--prometheus", url, "--only", name, *span, "-o", str(page), scratch=scratch / name
    )
    assert drawn.exit_code == 0, drawn.explain()
    pictured(chromium, page, scratch / "profile", ROOT / "docs" / f"preview-{name}.png", 1300, height)
