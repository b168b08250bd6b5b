"""Prometheus's public metrics.proto, as much of it as a page uses, for protobuf's own runtime: an independent decoder.

Names, numbers and types are those of client_model's io/prometheus/client/metrics.proto.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.internal.decoder import _DecodeVarint32

_TYPES = descriptor_pb2.FieldDescriptorProto
_PACKAGE = "io.prometheus.client"
# message: (field, number, type or message name, repeated)
_MESSAGES: dict[str, list[tuple[str, int, str, bool]]] = {
    "LabelPair": [("name", 1, "STRING", False), ("value", 2, "STRING", False)],
    "Gauge": [("value", 1, "DOUBLE", False)],
    "Counter": [("value", 1, "DOUBLE", False)],
    "Bucket": [("cumulative_count", 1, "UINT64", False), ("upper_bound", 2, "DOUBLE", False)],
    "BucketSpan": [("offset", 1, "SINT32", False), ("length", 2, "UINT32", False)],
    "Histogram": [
        ("sample_count", 1, "UINT64", False),
        ("sample_sum", 2, "DOUBLE", False),
        ("bucket", 3, ".Bucket", True),
        ("schema", 5, "SINT32", False),
        ("zero_threshold", 6, "DOUBLE", False),
        ("zero_count", 7, "UINT64", False),
        ("positive_span", 12, ".BucketSpan", True),
        ("positive_delta", 13, "SINT64", True),
    ],
    "Metric": [
        ("label", 1, ".LabelPair", True),
        ("gauge", 2, ".Gauge", False),
        ("counter", 3, ".Counter", False),
        ("histogram", 7, ".Histogram", False),
    ],
    "MetricFamily": [
        ("name", 1, "STRING", False),
        ("help", 2, "STRING", False),
        ("type", 3, "INT32", False),
        ("metric", 4, ".Metric", True),
    ],
}


def _family_class() -> Any:
    file = descriptor_pb2.FileDescriptorProto(name="metrics.proto", package=_PACKAGE, syntax="proto2")
    for name, fields in _MESSAGES.items():
        message = file.message_type.add(name=name)
        for field, number, kind, repeated in fields:
            label = _TYPES.LABEL_REPEATED if repeated else _TYPES.LABEL_OPTIONAL
            if kind.startswith("."):
                message.field.add(
                    name=field, number=number, label=label, type=_TYPES.TYPE_MESSAGE, type_name=f".{_PACKAGE}{kind}"
                )
            else:
                message.field.add(name=field, number=number, label=label, type=getattr(_TYPES, f"TYPE_{kind}"))
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{_PACKAGE}.MetricFamily"))


FAMILY = _family_class()


def families(page: bytes) -> Iterator[Any]:
    """The MetricFamily messages of a delimited page; bytes that no field accounts for are an error."""
    position = 0
    while position < len(page):
        length, position = _DecodeVarint32(page, position)
        family = FAMILY.FromString(page[position : position + length])
        position += length
        assert family.IsInitialized()
        yield family
    assert position == len(page)


def native_counts(histogram: Any) -> dict[int, int]:
    """Bucket index to count, spans and differences resolved."""
    counts: dict[int, int] = {}
    index, count, deltas = 0, 0, iter(histogram.positive_delta)
    for number, span in enumerate(histogram.positive_span):
        index = span.offset if number == 0 else index + span.offset
        for _ in range(span.length):
            count += next(deltas)
            counts[index] = count
            index += 1
    assert next(deltas, None) is None
    return counts
