"""Trace files: headers, visits, heads, digests and writing whole or not at all."""

from __future__ import annotations

import gzip
import hashlib
import json
import re
from pathlib import Path

import msgspec
import pytest
import zstandard

from harness.errors import StorageError, TraceError, UsageError
from harness.trace.codec import encode_header, encode_visit, open_trace, read_visits
from harness.trace.digest import trace_digest
from harness.trace.lines import BadLines
from harness.trace.model import Header, Step, Visit
from harness.trace.writer import open_output, write_trace

HEADER = b'{"harness_trace":1,"source":"s","visits":2,"span_s":1.5,"mine":{"k":1}}'
LINE = b'{"visit":"a","visitor":"u","at":0,"steps":[{"op":"get_engagement"}],"extra":[1,2]}'
VISIT = Visit(
    id="v-1",
    visitor="u1",
    at=12.345,
    cohort="mobile",
    returns=True,
    steps=[
        Step(op="get_engagement", identity="fresh", request=msgspec.Raw(b'{"appType":"EXTERNAL"}')),
        Step(op="update", think=31.0),
    ],
)


def trace_file(tmp_path: Path, *lines: bytes) -> Path:
    path = tmp_path / "t.jsonl"
    path.write_bytes(b"\n".join(lines) + b"\n")
    return path


def test_canonical_line() -> None:
    """A visit is written with the format's keys in order, whole seconds without fraction, and its request untouched."""
    assert encode_visit(VISIT) == (
        b'{"visit":"v-1","visitor":"u1","at":12.345,"cohort":"mobile","returns":true,"steps":['
        b'{"op":"get_engagement","think":0,"identity":"fresh","request":{"appType":"EXTERNAL"}},'
        b'{"op":"update","think":31,"identity":"chain","request":{}}]}'
    )
    with_account = msgspec.structs.replace(VISIT, account="123")
    assert json.loads(encode_visit(with_account))["account"] == "123"


def test_header_line() -> None:
    """A header is written with its version and only what it knows."""
    header = Header(harness_trace=1, source="s", visits=3)
    assert json.loads(encode_header(header)) == {"harness_trace": 1, "source": "s", "visits": 3, "anonymized": False}


def test_open_trace_gives_header_and_raw_lines(tmp_path: Path) -> None:
    """Lines come unchanged, with unknown keys, and numbered as in the file; blank lines do not count as visits."""
    header, lines = open_trace(trace_file(tmp_path, HEADER, LINE, b"", b"no json"))
    assert header == Header(harness_trace=1, source="s", visits=2, span_s=1.5)
    assert list(lines) == [(2, LINE), (4, b"no json")]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", r"t.jsonl: the trace is empty: the first line must be like"),
        (b"\n\n", r"t.jsonl: the trace is empty: the first line must be like"),
        (LINE, r"t.jsonl:1: not a trace header \(Object missing required field `harness_trace`\): the first line must"),
        (b'{"harness_trace":2}', r"t.jsonl:1: not a trace header \(Invalid enum value 2 - at `\$.harness_trace`\)"),
        (b"hello", r"t.jsonl:1: not a trace header \(JSON is malformed"),
    ],
)
def test_no_header_is_one_clear_error(tmp_path: Path, content: bytes, message: str) -> None:
    """An empty file and a first line that is no header are told with place and remedy."""
    path = tmp_path / "t.jsonl"
    path.write_bytes(content)
    with pytest.raises(TraceError, match=message):
        open_trace(path)


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b'{"visit":"a"', "Input data was truncated"),
        (b"[]", "Expected `object`, got `array`"),
        (b'{"visit":"a","visitor":"b","at":"0","steps":[]}', "Expected `float`, got `str` - at `$.at`"),
        (b'{"visit":"a","visitor":"b","at":1e999,"steps":[]}', "Number out of range - at `$.at`"),
        (b'{"visit":"a","visitor":"b","at":0,"steps":[{"op":"get"}]}', "Invalid enum value 'get' - at `$.steps[0].op`"),
        (b'{"visitor":"b","at":0,"steps":[]}', "Object missing required field `visit`"),
    ],
)
def test_line_that_is_no_visit(tmp_path: Path, line: bytes, reason: str) -> None:
    """A line of the wrong shape names file, line number, and what is wrong where; skipping goes on behind it."""
    path = trace_file(tmp_path, HEADER, line, LINE)
    message = f"{path}:2: not a visit: {reason}"
    with pytest.raises(TraceError, match=re.escape(message)):
        list(read_visits(path)[1])
    bad = BadLines("skip")
    assert [read.line for read in read_visits(path, bad)[1]] == [3]
    assert (bad.count, bad.messages) == (1, [message])


def test_deep_nesting_is_a_bad_line(tmp_path: Path) -> None:
    """A line nested a hundred thousand deep is a bad line, not a crash."""
    deep = LINE.replace(b'"extra":[1,2]', b'"extra":' + b"[" * 100_000 + b"]" * 100_000)
    bad = BadLines("skip")
    assert list(read_visits(trace_file(tmp_path, HEADER, deep), bad)[1]) == []
    assert bad.count == 1


@pytest.mark.parametrize("name", ["t.jsonl", "t.jsonl.gz", "t.jsonl.zst"])
def test_written_trace_reads_back(tmp_path: Path, name: str) -> None:
    """What was written comes back from each compression, with the same digest, and twice the same bytes."""
    path, again = tmp_path / name, tmp_path / f"again-{name}"
    header = Header(harness_trace=1, seed=7)
    for target in (path, again):
        assert write_trace(target, header, [encode_visit(VISIT)] * 3) == 3
    read_header, visits = read_visits(path)
    assert (read_header, [read.visit for read in visits]) == (header, [VISIT] * 3)
    assert path.read_bytes() == again.read_bytes()
    content = b"".join(line + b"\n" for line in (encode_header(header), *[encode_visit(VISIT)] * 3))
    assert trace_digest(path) == f"sha256:{hashlib.sha256(content).hexdigest()}"


def test_endings_choose_the_compression(tmp_path: Path) -> None:
    """`.gz` is gzip, `.zst` is zstd, anything else is plain."""
    for name, unpack in (("a.gz", gzip.decompress), ("a.zst", zstandard.ZstdDecompressor().decompressobj().decompress)):
        with open_output(tmp_path / name) as stream:
            stream.write(b"content")
        assert unpack((tmp_path / name).read_bytes()) == b"content"
    with open_output(tmp_path / "a.txt") as stream:
        stream.write(b"content")
    assert (tmp_path / "a.txt").read_bytes() == b"content"


def test_failed_writing_leaves_the_old_file(tmp_path: Path) -> None:
    """When the source of lines fails half-way, the target keeps its old content and no other file stays behind."""
    path = tmp_path / "t.jsonl"
    path.write_bytes(b"old")

    def lines() -> object:
        yield b"{}"
        raise TraceError("boom")

    with pytest.raises(TraceError, match="boom"):
        write_trace(path, Header(harness_trace=1), lines())  # type: ignore[arg-type]
    assert {file.name: file.read_bytes() for file in tmp_path.iterdir()} == {"t.jsonl": b"old"}


def test_unwritable_places(tmp_path: Path) -> None:
    """A missing folder is the user's error; a full device is a storage error; both are one line."""
    with pytest.raises(UsageError, match="cannot be written: No such file or directory"):
        write_trace(tmp_path / "no" / "t.jsonl", Header(harness_trace=1), [])
    with pytest.raises(StorageError, match="/dev/full: writing stopped: No space left on device"):
        write_trace("/dev/full", Header(harness_trace=1), [b"x" * 100_000])
