"""One page in three formats: independent readers find the same values in each."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator
from math import inf, isinf
from random import Random
from typing import Any

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as openmetrics_families
from prometheus_client.parser import text_string_to_metric_families

from harness.export.families import Page
from harness.export.negotiation import encode, preferred
from harness.export.prometheus import MetricsPage
from harness.export.protobuf import INFINITE_BUCKET, PROTOBUF, SCHEMA
from harness.export.state import RunState
from harness.export.text_format import OPENMETRICS, TEXT
from harness.measure.histogram import Histogram
from harness.measure.snapshot import Snapshot
from harness.units import NS_PER_MS, NS_PER_S
from tests.unit.export.public_schema import families, native_counts

Series = dict[tuple[str, tuple[tuple[str, str], ...]], float]

VALUES_NS = [0, 1, 999, 1_000_000, 800 * NS_PER_MS, 801 * NS_PER_MS, 3 * NS_PER_S, 61 * NS_PER_S]


def a_page() -> Page:
    """Counters, gauges with odd labels, and histograms with zeros, infinite values and everything between."""
    snapshot = Snapshot()
    random = Random(5)
    for measure, op in (("response_time", "get_engagement"), ("service_time", "update"), ("loop_delay", "")):
        histogram = snapshot.histograms[measure, op, "mobile" if op else "", "ok"] = Histogram()
        histogram.add_all(VALUES_NS)
        histogram.add_all([round(random.lognormvariate(16, 2)) for _ in range(5_000)])
        histogram.add_infinite(7)
    snapshot.counters["attempts", "update", "mobile", "accepted"] = 2**40 + 1
    info, edges_ns = {"run_id": 'r "1"\\\n', "version": "1"}, {"response_time": [800 * NS_PER_MS]}
    page = MetricsPage(run_info=info, slo_edges_ns=edges_ns)
    page.add(snapshot)
    return page.page(RunState(slo_ok={"p99(response_time) < 800ms": True, "ratio(failed) < 1%": False}))


def from_text(parsed: Iterator[Any]) -> Series:
    """Every series that a text parser found."""
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in parsed
        for sample in family.samples
    }


def from_protobuf(page: bytes) -> Series:
    """Every series that the protobuf decoder found, histograms as classic ones."""
    found: Series = {}
    for family in families(page):
        for metric in family.metric:
            labels = {pair.name: pair.value for pair in metric.label}

            def put(name: str, value: float, labels: dict[str, str] = labels, **more: str) -> None:
                found[name, tuple(sorted({**labels, **more}.items()))] = value

            if family.type == 4:
                histogram = metric.histogram
                edges = [(bucket.upper_bound, bucket.cumulative_count) for bucket in histogram.bucket]
                for edge, count in (*edges, (inf, histogram.sample_count)):
                    put(f"{family.name}_bucket", count, le="+Inf" if isinf(edge) else repr(edge))
                put(f"{family.name}_sum", histogram.sample_sum)
                put(f"{family.name}_count", histogram.sample_count)
            else:
                assert (family.type, metric.HasField("counter")) in ((0, True), (1, False))
                put(family.name, metric.counter.value if family.type == 0 else metric.gauge.value)
    return found


def test_three_formats_say_the_same() -> None:
    """Two parsers of prometheus_client and a decoder made from the public schema find the same series and values."""
    page = a_page()
    text = from_text(text_string_to_metric_families(encode(page, TEXT).decode()))
    openmetrics = from_text(openmetrics_families(encode(page, OPENMETRICS).decode()))
    decimal = {
        (name, tuple((key, repr(float(at)) if key == "le" and at != "+Inf" else at) for key, at in labels)): value
        for (name, labels), value in text.items()
    }
    assert openmetrics == text
    assert from_protobuf(encode(page, PROTOBUF)) == decimal
    assert len(text) == page.series > 200


def test_native_buckets_hold_the_same_values() -> None:
    """Each value lies in the native bucket whose bounds enclose it, counted from the list itself; none is missing."""
    random = Random(7)
    values_ns = sorted([0, 0, 5, *(round(random.lognormvariate(17, 1.5)) for _ in range(20_000))])
    histogram = Histogram()
    histogram.add_all(values_ns)
    histogram.add_infinite(3)
    page = MetricsPage(run_info={})
    page.add(Snapshot(histograms={("connect_time", "update", "all", "ok"): histogram}))
    found = {family.name: family for family in families(encode(page.page(RunState()), PROTOBUF))}
    native = found["harness_connect_time_seconds"].metric[0].histogram
    counts = native_counts(native)
    assert (native.schema, native.zero_count, native.sample_count) == (SCHEMA, 2, len(values_ns) + 3)
    assert native.sample_sum == pytest.approx(sum(values_ns) / NS_PER_S)
    assert counts.pop(INFINITE_BUCKET) == 3
    assert sum(counts.values()) + native.zero_count == len(values_ns)
    below = 2
    for index in sorted(counts):
        below += counts[index]
        upper_ns = 2 ** (index / 2**SCHEMA) * NS_PER_S
        # A value of ours is known to 0.1 %, so near an edge it may stand on either side.
        low, high = (bisect_right(values_ns, upper_ns * factor) for factor in (0.999, 1.001))
        assert low <= below <= high, index


def test_an_empty_histogram_is_native_already() -> None:
    """Before the first value a histogram has a span, without which Prometheus would take it for a classic one."""
    found = {family.name: family for family in families(encode(MetricsPage(run_info={}).page(RunState()), PROTOBUF))}
    histogram = found["harness_dispatch_lag_seconds"].metric[0].histogram
    assert [(span.offset, span.length) for span in histogram.positive_span] == [(0, 0)]
    assert (histogram.sample_count, list(histogram.positive_delta)) == (0, [])


@pytest.mark.parametrize(
    ("accept", "content_type"),
    [
        ("", TEXT),
        ("*/*", TEXT),
        ("text/html", TEXT),
        ("text/plain;version=0.0.4", TEXT),
        # Prometheus 2.42, with native histograms and without; Prometheus 3
        (
            "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited,"
            "application/openmetrics-text;version=1.0.0;q=0.8,text/plain;version=0.0.4;q=0.5,*/*;q=0.1",
            PROTOBUF,
        ),
        (
            "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,"
            "text/plain;version=0.0.4;q=0.5,*/*;q=0.1",
            OPENMETRICS,
        ),
        (
            "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,"
            "application/openmetrics-text;version=0.0.1;q=0.4,text/plain;version=1.0.0;q=0.3,*/*;q=0.1",
            OPENMETRICS,
        ),
        ("application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=text", TEXT),
        ("application/vnd.google.protobuf;q=1,text/plain;q=0.1", TEXT),
        ("application/openmetrics-text;q=0,*/*;q=0.1", TEXT),
        ("application/openmetrics-text;q=often", TEXT),
        ("text/plain, application/openmetrics-text;q=0.9", TEXT),
    ],
)
def test_a_scraper_gets_what_it_prefers(accept: str, content_type: str) -> None:
    """The format with the highest weight that can be made is chosen, text where nothing else is asked for."""
    assert preferred(accept) == content_type
