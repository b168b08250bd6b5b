"""A trace file, read and written line by line: one header, then one visit a line (interfaces: "Trace file").

Reading is lazy and in constant memory. `open_trace` gives raw lines, for those who move or sample them without looking
inside; `read_visits` gives decoded visits. `encode_visit` writes the canonical form of a line.
"""

from __future__ import annotations

from codecs import BOM_UTF8
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import orjson

from harness.errors import TraceError
from harness.trace.lines import SKIP_THEM, BadLines, read_lines, source_name
from harness.trace.model import Header, Step, Visit

_header_decoder = msgspec.json.Decoder(Header)
_visit_decoder = msgspec.json.Decoder(Visit)


@dataclass(frozen=True, slots=True)
class ReadVisit:
    """One visit as it stood in a file: its line number (from 1), the line's bytes, and the decoded visit."""

    line: int
    raw: bytes
    visit: Visit


def open_trace(
    source: str | Path, bad: BadLines | None = None, *, tap: Callable[[bytes], object] | None = None
) -> tuple[Header, Iterator[tuple[int, bytes]]]:
    """The header of a trace, and its visits as lazy (line number, raw line) pairs in file order.

    `source` is a path or `-`; the compression is found out. `bad` decides about lines that are no text (default: the
    first one raises); lines are not decoded here. `tap` sees every uncompressed byte.
    Raises `TraceError`, naming file and line, for a missing, empty, cut-off or damaged file and for a missing header.
    """
    _, header, lines = open_trace_raw(source, bad or BadLines(), tap=tap)
    return header, lines


def open_trace_raw(
    source: str | Path, bad: BadLines, *, tap: Callable[[bytes], object] | None = None
) -> tuple[bytes, Header, Iterator[tuple[int, bytes]]]:
    """As `open_trace`, with the header's own bytes before it: for those who keep the keys that nobody here knows."""
    lines = read_lines(source, bad, tap=tap)
    raw, header = _read_header(lines, source_name(source), bad)
    bad.advice = SKIP_THEM  # from here on: without its header a file is no trace
    return raw, header, lines


def read_visits(
    source: str | Path, bad: BadLines | None = None, *, tap: Callable[[bytes], object] | None = None
) -> tuple[Header, Iterator[ReadVisit]]:
    """As `open_trace`, with every line decoded; a line that is no visit goes to `bad`."""
    bad = bad or BadLines()
    header, lines = open_trace(source, bad, tap=tap)
    return header, decoded(lines, source_name(source), bad)


def decoded(lines: Iterator[tuple[int, bytes]], name: str, bad: BadLines) -> Iterator[ReadVisit]:
    """The visits of numbered lines of the file `name`; a line that is none goes to `bad`."""
    for number, raw in lines:
        try:
            visit = decode_visit(raw, f"{name}:{number}")
        except TraceError as error:
            bad.add(error)
        else:
            yield ReadVisit(number, raw, visit)


def decode_visit(raw: bytes, where: str) -> Visit:
    """The visit of one line; raises `TraceError` "`where`: reason" when it is none.

    Only the shape is checked here; `harness.trace.check` knows the rules of the content.
    """
    try:
        return _visit_decoder.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise TraceError(f"{where}: not a visit: {error}") from error


def encode_visit(visit: Visit) -> bytes:
    """The canonical line of a visit, without line end: keys in the order of the format, whole numbers without `.0`."""
    line: dict[str, Any] = {
        "visit": visit.id,
        "visitor": visit.visitor,
        "at": plain_number(visit.at),
        "cohort": visit.cohort,
        "returns": visit.returns,
    }
    if visit.account is not None:
        line["account"] = visit.account
    line["steps"] = [_step(step) for step in visit.steps]
    return msgspec.json.encode(line)


def encode_header(header: Header) -> bytes:
    """The first line of a trace, without line end."""
    fields = {"harness_trace": 1, **msgspec.to_builtins(header)}
    fields["anonymized"] = header.anonymized
    return orjson.dumps(fields)


def _step(step: Step) -> dict[str, Any]:
    return {"op": step.op, "think": plain_number(step.think), "identity": step.identity, "request": step.request}


def plain_number(seconds: float) -> int | float:
    """The number as a trace writes it: whole ones without `.0`."""
    return int(seconds) if float(seconds).is_integer() else seconds


def _read_header(lines: Iterator[tuple[int, bytes]], name: str, bad: BadLines) -> tuple[bytes, Header]:
    """The first line, raw and decoded. It cannot be skipped, whatever `bad` does with later lines."""
    skipped = bad.count
    number, raw = next(lines, (1, b""))
    if bad.count > skipped:
        raise TraceError(bad.messages[min(skipped, len(bad.messages) - 1)])
    if not raw:
        raise TraceError(f'{name}: the trace is empty: the first line must be like {{"harness_trace":1}}, then visits')
    if raw.startswith(BOM_UTF8):
        raise TraceError(f"{name}:{number}: begins with a byte order mark: save it as UTF-8 without one")
    try:
        header = _header_decoder.decode(raw)
        orjson.loads(raw)  # stricter about what stands under unknown keys, which some commands copy
    except (msgspec.DecodeError, orjson.JSONDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise TraceError(
            f'{name}:{number}: not a trace header ({error}): the first line must be like {{"harness_trace":1}}'
        ) from error
    return raw, header
