"""Histograms in a real Prometheus, native and classic, against the exact quantiles of what was counted."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Iterator
from random import Random

import pytest

from harness.export.http import MetricsServer
from harness.export.labels import CONNECT_EDGES_NS, REPLY_EDGES_NS
from harness.export.negotiation import encode
from harness.export.prometheus import MetricsPage
from harness.export.state import RunState
from harness.measure.histogram import Histogram
from harness.measure.snapshot import Snapshot
from harness.units import NS_PER_S
from tests.system.harness_run import wait_until
from tests.system.real_prometheus import Prometheus, prometheus

pytestmark = [pytest.mark.system, pytest.mark.xdist_group("native_histograms")]

VALUES = 20_000


def bimodal(random: Random) -> float:
    """Most replies at 20 ms, one in ten at 900 ms."""
    return random.gauss(0.9, 0.05) if random.random() < 0.1 else random.gauss(0.02, 0.003)


SHAPES = {
    "response_time": lambda random: random.lognormvariate(-4, 0.8),
    "service_time": bimodal,
    "connect_time": lambda random: 0.001 + random.expovariate(1 / 0.03),
}
EDGES_NS = {"response_time": REPLY_EDGES_NS, "service_time": REPLY_EDGES_NS, "connect_time": CONNECT_EDGES_NS}


def drawn(measure: str) -> list[int]:
    """The times of a measure in ns, from a seed of its own."""
    random = Random(f"shape/{measure}")
    return sorted(max(1, round(SHAPES[measure](random) * NS_PER_S)) for _ in range(VALUES))


@pytest.fixture(scope="module")
def scraped(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Prometheus]]:
    """One page scraped by a Prometheus with native histograms and by one without."""
    snapshot = Snapshot()
    for measure in SHAPES:
        histogram = snapshot.histograms[measure, "get_engagement", "all", "ok"] = Histogram()
        histogram.add_all(drawn(measure))
    page = MetricsPage(run_info={"run_id": "shapes"})
    page.add(snapshot)
    server = MetricsServer("127.0.0.1:0")
    folder = tmp_path_factory.mktemp("prometheus")
    target = [f"127.0.0.1:{server.port}"]
    try:
        with (
            prometheus(folder / "native", target, native=True) as native,
            prometheus(folder / "classic", target) as classic,
        ):

            def all_there() -> bool:
                server.publish({kind: encode(page.page(RunState()), kind) for kind in server.wanted})
                return bool(native.newest("histogram_count(harness_connect_time_seconds)")) and bool(
                    classic.newest("harness_connect_time_seconds_bucket")
                )

            wait_until(all_there, 30, "both to have scraped")
            yield {"native": native, "classic": classic}
    finally:
        server.close()


@pytest.mark.parametrize("measure", SHAPES)
@pytest.mark.parametrize("q", [0.5, 0.95, 0.99])
def test_a_native_quantile_is_within_2_percent(scraped: dict[str, Prometheus], measure: str, q: float) -> None:
    """histogram_quantile of native histograms is within 2 % of the exact quantile; count and sum are exact."""
    values = drawn(measure)
    exact_s = values[math.ceil(q * VALUES) - 1] / NS_PER_S
    [found] = scraped["native"].newest(f"histogram_quantile({q}, sum(harness_{measure}_seconds))").values()
    assert abs(found / exact_s - 1) < 0.02
    [count] = scraped["native"].newest(f"histogram_count(sum(harness_{measure}_seconds))").values()
    [total] = scraped["native"].newest(f"histogram_sum(sum(harness_{measure}_seconds))").values()
    assert (count, total) == (VALUES, pytest.approx(sum(values) / NS_PER_S, rel=1e-12))


@pytest.mark.parametrize("measure", SHAPES)
@pytest.mark.parametrize("q", [0.5, 0.95, 0.99])
def test_a_classic_quantile_is_within_its_bucket(scraped: dict[str, Prometheus], measure: str, q: float) -> None:
    """histogram_quantile of classic histograms lies in the bucket of the exact quantile; count and sum are exact."""
    values = drawn(measure)
    exact_ns = values[math.ceil(q * VALUES) - 1]
    edges = EDGES_NS[measure]
    place = bisect_left(edges, exact_ns)
    name = f"harness_{measure}_seconds"
    [found] = scraped["classic"].newest(f"histogram_quantile({q}, sum by (le) ({name}_bucket))").values()
    assert (edges[place - 1] if place else 0) / NS_PER_S <= found <= edges[place] / NS_PER_S
    [count] = scraped["classic"].newest(f"sum({name}_count)").values()
    [total] = scraped["classic"].newest(f"sum({name}_sum)").values()
    assert (count, total) == (VALUES, pytest.approx(sum(values) / NS_PER_S, rel=1e-12))
