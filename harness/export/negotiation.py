"""Which format a scraper gets: what its Accept header likes best among those that can be made (RFC 9110, 12.5.1)."""

from __future__ import annotations

from functools import lru_cache

from harness.export.families import Page
from harness.export.protobuf import PROTOBUF, encode_protobuf
from harness.export.text_format import OPENMETRICS, TEXT, encode_openmetrics, encode_text

_ENCODERS = {PROTOBUF: encode_protobuf, OPENMETRICS: encode_openmetrics, TEXT: encode_text}


def encode(page: Page, content_type: str) -> bytes:
    """The page in the format of that content type, one of `PROTOBUF`, `OPENMETRICS`, `TEXT`."""
    return _ENCODERS[content_type](page)


@lru_cache(maxsize=32)  # a scraper says the same each time
def preferred(accept: str) -> str:
    """The content type to answer with; `TEXT` unless the header clearly likes another one better.

    Parameters that would ask for another version or encoding of a format rule that range out.
    """
    best, best_weight = TEXT, 0.0
    for media_range in accept.split(","):
        kind, *parameters = (part.strip().lower() for part in media_range.split(";"))
        given = dict(parameter.partition("=")[::2] for parameter in parameters)
        content_type = _content_type(kind, given)
        weight = _weight(given.get("q", "1"))
        if content_type is not None and weight > best_weight:
            best, best_weight = content_type, weight
    return best


def _content_type(kind: str, given: dict[str, str]) -> str | None:
    if kind == "application/vnd.google.protobuf":
        wanted = {"proto": "io.prometheus.client.metricfamily", "encoding": "delimited"}
        return PROTOBUF if all(given.get(name) == value for name, value in wanted.items()) else None
    if kind == "application/openmetrics-text":
        return OPENMETRICS if given.get("version", "1.0.0") == "1.0.0" else None
    if kind == "text/plain":
        return TEXT if given.get("version", "0.0.4") == "0.0.4" else None
    return TEXT if kind in ("text/*", "*/*") else None


def _weight(text: str) -> float:
    """A quality value, 0 to 1; 0 when it cannot be read, which rules the range out."""
    try:
        weight = float(text)
    except ValueError:
        return 0.0
    return weight if 0 <= weight <= 1 else 0.0
