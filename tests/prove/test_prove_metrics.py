"""What metrics cost where: a page, a scrape, and the stalls of scrapes; and pictures of the previews for the docs."""

from __future__ import annotations

import json
import time
from contextlib import ExitStack
from pathlib import Path
from random import Random
from typing import Any

from harness.bench.children import fast_server
from harness.bench.scrapes import COHORTS, FORMATS, scrapes
from harness.bench.subjects import Bench
from harness.export.history import render_history
from harness.export.negotiation import encode
from harness.export.prometheus import MetricsPage
from harness.export.state import RunState
from harness.measure.histogram import Histogram
from harness.measure.snapshot import Snapshot
from harness.testing import running_simulator
from tests.prove.evidence import ROOT, store
from tests.system.browser import find_chromium, pictured
from tests.system.harness_run import get_engagement, run_command, start_run, update, wait_until, write_trace
from tests.system.real_prometheus import free_port, prometheus, promtool
from tests.system.test_regression_backfill import NIGHTS, nights


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


def test_what_a_scrape_costs(tmp_path: Path) -> None:
    """A scrape costs the master half a millisecond of CPU at most, in each format; what a page costs is printed."""
    random = Random(1)
    page = MetricsPage(run_info={"run_id": "bench", "scenario": "x", "trace": "x", "version": "x"}, cohorts=COHORTS)
    for _ in range(60):
        page.add(second(random, 2_000))
    fresh = [second(random, 2_000) for _ in range(10)]
    figures: dict[str, Any] = {"series": page.page(RunState()).series}
    figures["add_second_of_2000_attempts_ms"] = cost_ms(lambda: page.add(fresh[0]), 10)
    figures["build_page_ms"] = cost_ms(lambda: page.page(RunState()), 50)
    built = page.page(RunState())
    for name, kind in FORMATS.items():
        figures[f"{name}_encode_ms"] = cost_ms(lambda kind=kind: encode(built, kind), 50)
    with fast_server() as server:
        figures |= scrapes(Bench(server, tmp_path), 3, 8, print)
    print(json.dumps(figures, indent=2))
    store("metrics-cost", "a scrape costs at most 0.5 ms of CPU at the master", figures, seeds=[1])
    assert {row["format"]: row["cpu_ms"] for row in figures["cost"] if row["cpu_ms"] > 0.5} == {}
    assert figures["series"] < 500


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
