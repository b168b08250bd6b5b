"""The protobuf exposition (io.prometheus.client.MetricFamily, length-delimited), the only one with native histograms.

Message and field numbers are those of Prometheus's public metrics.proto. A native histogram has exponential buckets:
with schema s, bucket i holds the values above 2^((i-1) / 2^s) and up to 2^(i / 2^s). `SCHEMA` 6 makes 64 of them per
octave, 1.1 % wide. Sparse runs of buckets are written as spans (gap, length) and their counts as differences.
Infinitely slow values stand in the one bucket whose upper bound is +Inf, as Prometheus's own client library does it.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping
from functools import lru_cache
from math import ceil, log2

from harness.export.families import Buckets, Family, Labels, Page

PROTOBUF = "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited"
SCHEMA = 6
INFINITE_BUCKET = (1024 << SCHEMA) + 1
ZERO_THRESHOLD = 2.0**-128

_KINDS = {"counter": 0, "gauge": 1, "histogram": 4}
_VALUE_FIELDS = {"counter": 3, "gauge": 2}
_VARINT, _FIXED64, _BYTES = 0, 1, 2


def native_bucket(value_s: float) -> int:
    """The bucket of `SCHEMA` that holds a finite `value_s` above zero."""
    return ceil(log2(value_s) * (1 << SCHEMA) - 1e-9)


def encode_protobuf(page: Page) -> bytes:
    """The page as delimited MetricFamily messages (`PROTOBUF`)."""
    return b"".join(_delimited(_family(family)) for family in page.families)


def _family(family: Family) -> bytes:
    parts = [_head(family.name, family.kind, family.text)]
    if family.samples:
        field = _VALUE_FIELDS[family.kind]
        for labels, value in family.samples:
            parts.append(_field(4, _labels(labels) + _field(field, _double(1, value))))
    for labels, buckets in family.histograms:
        parts.append(_field(4, _labels(labels) + _field(7, _histogram(buckets))))
    return b"".join(parts)


@lru_cache(1024)
def _head(name: str, kind: str, text: str) -> bytes:
    return _field(1, name.encode()) + _field(2, text.encode()) + _number(3, _KINDS[kind])


@lru_cache(4096)
def _labels(labels: Labels) -> bytes:
    return b"".join(_field(1, _field(1, name.encode()) + _field(2, value.encode())) for name, value in labels)


def _histogram(buckets: Buckets) -> bytes:
    parts = [_number(1, buckets.count), _double(2, buckets.sum_s)]
    for edge_s, count in zip(buckets.edges_s, buckets.cumulative, strict=True):
        parts.append(_field(3, _number(1, count) + _double(2, edge_s)))
    spans, deltas = _sparse(buckets.native)
    parts += [_number(5, _zigzag(SCHEMA)), _double(6, ZERO_THRESHOLD), _number(7, buckets.zeros)]
    if not spans:
        # Without a span nothing says that this is a native histogram: an empty one does.
        spans = [(0, 0)]
    parts += [_field(12, _number(1, _zigzag(gap)) + _number(2, length)) for gap, length in spans]
    if deltas:
        parts.append(_field(13, b"".join(_varint(_zigzag(delta)) for delta in deltas)))
    return b"".join(parts)


def _sparse(native: Mapping[int, int]) -> tuple[list[tuple[int, int]], list[int]]:
    """Buckets as spans (the gap before each, its length) and the differences of their counts."""
    spans: list[tuple[int, int]] = []
    deltas: list[int] = []
    previous_index, previous_count, length, gap = 0, 0, 0, 0
    for index in sorted(native):
        if not deltas or index != previous_index + 1:
            if length:
                spans.append((gap, length))
            gap, length = (index - previous_index - 1 if deltas else index), 0
        length += 1
        deltas.append(native[index] - previous_count)
        previous_index, previous_count = index, native[index]
    if length:
        spans.append((gap, length))
    return spans, deltas


def _delimited(message: bytes) -> bytes:
    return _varint(len(message)) + message


def _field(number: int, content: bytes) -> bytes:
    return _varint(number << 3 | _BYTES) + _varint(len(content)) + content


def _number(number: int, value: int) -> bytes:
    return _varint(number << 3 | _VARINT) + _varint(value)


def _double(number: int, value: float) -> bytes:
    return _varint(number << 3 | _FIXED64) + struct.pack("<d", value)


def _zigzag(value: int) -> int:
    return value << 1 if value >= 0 else (-value << 1) - 1


@lru_cache(8192)
def _varint(value: int) -> bytes:
    return bytes(_septets(value))


def _septets(value: int) -> Iterator[int]:
    while value > 0x7F:
        yield value & 0x7F | 0x80
        value >>= 7
    yield value
