"""The two text formats of Prometheus: 0.0.4, and OpenMetrics 1.0, which Prometheus itself asks for.

They differ in the name of a counter's family, in the escapes of help texts and in the last line. Numbers and edges are
written alike (`le="1.0"`, as OpenMetrics wants it), so a series stays the same series whichever was scraped. Own and
small, because pages are made each second beside the run; tests read them back with prometheus_client's parsers.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from math import inf, isnan

from harness.export.families import Family, Labels, Page

TEXT = "text/plain; version=0.0.4; charset=utf-8"
OPENMETRICS = "application/openmetrics-text; version=1.0.0; charset=utf-8"

_LABEL_ESCAPES = str.maketrans({"\\": r"\\", '"': r"\"", "\n": r"\n"})
_HELP_ESCAPES = str.maketrans({"\\": r"\\", "\n": r"\n"})


def encode_text(page: Page) -> bytes:
    """The page in the text format 0.0.4 (`TEXT`)."""
    return ("\n".join(_lines(page, openmetrics=False)) + "\n").encode()


def encode_openmetrics(page: Page) -> bytes:
    """The page in OpenMetrics (`OPENMETRICS`)."""
    return ("\n".join((*_lines(page, openmetrics=True), "# EOF")) + "\n").encode()


def _lines(page: Page, *, openmetrics: bool) -> Iterator[str]:
    for family in page.families:
        counter = openmetrics and family.kind == "counter"
        name = family.name.removesuffix("_total") if counter else family.name
        yield _head(name, family.kind, family.text, openmetrics)
        for labels, value in family.samples:
            yield f"{series_text(family.name, labels)} {number_text(value)}"
        yield from _histogram_lines(family)


@lru_cache(1024)
def _head(name: str, kind: str, text: str, openmetrics: bool) -> str:
    escaped = text.translate(_LABEL_ESCAPES if openmetrics else _HELP_ESCAPES)
    if openmetrics:
        return f"# TYPE {name} {kind}\n# HELP {name} {escaped}"
    return f"# HELP {name} {escaped}\n# TYPE {name} {kind}"


def _histogram_lines(family: Family) -> Iterator[str]:
    for labels, buckets in family.histograms:
        for edge_s, count in zip((*buckets.edges_s, inf), (*buckets.cumulative, buckets.count), strict=True):
            yield f"{_bucket_text(family.name, labels, edge_s)} {count}"
        yield f"{series_text(f'{family.name}_sum', labels)} {number_text(buckets.sum_s)}"
        yield f"{series_text(f'{family.name}_count', labels)} {buckets.count}"


def number_text(value: float) -> str:
    """A value as both formats write it; integers exactly."""
    if value in (inf, -inf):
        return "+Inf" if value > 0 else "-Inf"
    return "NaN" if isnan(value) else repr(value)


@lru_cache(4096)
def series_text(name: str, labels: Labels) -> str:
    """Name and labels of a series, escaped."""
    if not labels:
        return name
    return name + "{" + ",".join(f'{key}="{value.translate(_LABEL_ESCAPES)}"' for key, value in labels) + "}"


@lru_cache(4096)
def _bucket_text(name: str, labels: Labels, edge_s: float) -> str:
    return series_text(f"{name}_bucket", (*labels, ("le", edge_text(edge_s))))


def edge_text(edge_s: float) -> str:
    """An edge as it stands in `le`: the shortest decimal that reads back to it, always with a point."""
    if edge_s == inf:
        return "+Inf"
    text = f"{edge_s:.9f}".rstrip("0")
    return f"{text}0" if text.endswith(".") else text
