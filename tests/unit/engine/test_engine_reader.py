"""Reading replies: a table of whole replies, any split of their bytes, the bounds, and bytes that are no reply."""

from __future__ import annotations

import gzip
import zlib
from dataclasses import dataclass
from itertools import pairwise

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from harness.engine.heads import Heads
from harness.engine.http import MAX_BODY_BYTES, MAX_HEAD_BYTES, BadReplyError, ReplyReader
from harness.units import NS_PER_S

BODY = b'{"status":"Available"}'


def reply(body: bytes = BODY, status: str = "200 OK", *headers: str) -> bytes:
    """A reply delimited by its Content-Length."""
    return "\r\n".join([f"HTTP/1.1 {status}", *headers, f"Content-Length: {len(body)}", "", ""]).encode() + body


def chunked(*chunks: bytes, headers: bytes = b"", trailer: bytes = b"") -> bytes:
    """A chunked reply."""
    pieces = b"".join(b"%x;ext=1\r\n%b\r\n" % (len(chunk), chunk) for chunk in chunks)
    return b"%b\r\n%b\r\n%b0\r\n%b\r\n" % (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked", headers, pieces, trailer)


@dataclass(frozen=True)
class Read:
    """What a reader made of some bytes; `ended` says whether the close was needed."""

    status: int
    body: bytes
    keep_alive: bool
    retry_after_s: int = 0
    ended: bool = False


def read(pieces: list[bytes], heads: Heads | None = None) -> Read | str:
    """What comes of these pieces and then the peer's close: the reply, or "bad" or "nothing"."""
    reader = ReplyReader(heads or Heads())
    try:
        for place, piece in enumerate(pieces):
            if reader.feed(piece):
                assert place == len(pieces) - 1, "complete before the last byte"
                return Read(reader.status, reader.body(), reader.keep_alive, reader.retry_after_ns() // NS_PER_S)
        if not reader.finish():
            return "nothing"
        return Read(reader.status, reader.body(), reader.keep_alive, reader.retry_after_ns() // NS_PER_S, True)
    except BadReplyError:
        return "bad"


INTERIM = b"HTTP/1.1 100 Continue\r\n\r\n"
HINTS = b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\nRetry-After: 9\r\n\r\n"
DEFLATED = zlib.compress(BODY)
# Without the zlib header, as some servers have it.
RAW_DEFLATED = DEFLATED[2:-4]
GZIPPED = gzip.compress(BODY)

# name: (the bytes, what they are)
REPLIES: dict[str, tuple[bytes, Read | str]] = {
    "length": (reply(), Read(200, BODY, True)),
    "empty": (reply(b""), Read(200, b"", True)),
    "no_content": (b"HTTP/1.1 204 No Content\r\n\r\n", Read(204, b"", True)),
    "not_modified": (b"HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n", Read(304, b"", True)),
    "says_close": (reply(BODY, "200 OK", "Connection: close"), Read(200, BODY, False)),
    "http10": (b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\n{}", Read(200, b"{}", False)),
    "http10_kept": (
        b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\r\n{}",
        Read(200, b"{}", True),
    ),
    "until_close": (b"HTTP/1.1 200 OK\r\n\r\n" + BODY, Read(200, BODY, False, 0, True)),
    "http10_until_close": (b"HTTP/1.0 200 OK\r\n\r\n" + BODY, Read(200, BODY, False, 0, True)),
    "framed_in_body": (
        b"HTTP/1.0 200 OK\r\n\r\n\r\nContent-Length: 3\r\n",
        Read(200, b"\r\nContent-Length: 3\r\n", False, 0, True),
    ),
    "chunked": (chunked(b"{", b'"a":1', b"}"), Read(200, b'{"a":1}', True)),
    "trailer": (chunked(b"{}", trailer=b"X: y\r\n"), Read(200, b"{}", True)),
    "no_chunks": (chunked(), Read(200, b"", True)),
    "continue": (INTERIM + reply(), Read(200, BODY, True)),
    "interims": (INTERIM + HINTS + INTERIM + reply(BODY, "201 Created"), Read(201, BODY, True)),
    "continue_until_close": (INTERIM + b"HTTP/1.1 200 OK\r\n\r\n{}", Read(200, b"{}", False, 0, True)),
    "continue_deflate": (INTERIM + reply(DEFLATED, "200 OK", "Content-Encoding: deflate"), Read(200, BODY, True)),
    "gzip": (reply(GZIPPED, "200 OK", "content-encoding: x-gzip"), Read(200, BODY, True)),
    "gzip_unsaid": (reply(GZIPPED), Read(200, BODY, True)),
    "deflate": (reply(DEFLATED, "200 OK", "Content-Encoding: deflate"), Read(200, BODY, True)),
    "deflate_raw": (reply(RAW_DEFLATED, "200 OK", "Content-Encoding: deflate"), Read(200, BODY, True)),
    "gzip_chunks": (chunked(GZIPPED[:5], GZIPPED[5:], headers=b"Content-Encoding: gzip\r\n"), Read(200, BODY, True)),
    "encoded_in_words_only": (
        reply(b"\r\nContent-Encoding: gzip\r\n"),
        Read(200, b"\r\nContent-Encoding: gzip\r\n", True),
    ),
    "retry_after": (reply(b"{}", "429 Slow", "Retry-After:  7 "), Read(429, b"{}", True, 7)),
    "retry_after_interim": (HINTS + reply(b"{}", "503 No", "retry-after: 2"), Read(503, b"{}", True, 2)),
    "retry_after_date": (
        reply(b"{}", "429 Slow", "Retry-After: Wed, 21 Oct 2015 07:28:00 GMT"),
        Read(429, b"{}", True),
    ),
    "retry_after_in_body": (reply(b"\r\nRetry-After: 5\r\n", "429 Slow"), Read(429, b"\r\nRetry-After: 5\r\n", True)),
    "blank_lines_first": (b"\r\n\r\n" + reply(), Read(200, BODY, True)),
    "status_999": (reply(b"{}", "999 Odd"), Read(999, b"{}", True)),
    # Nothing at all, or nothing but an interim reply.
    "nothing": (b"", "nothing"),
    "only_continue": (INTERIM, "nothing"),
    # Broken off.
    "cut_head": (b"HTTP/1.1 200 OK\r\nContent-Len", "bad"),
    "cut_body": (reply()[:-1], "bad"),
    "cut_chunk": (chunked(b"{}")[:-3], "bad"),
    "cut_after_blank_lines": (b"\r\n\r\n" + reply()[:-1], "bad"),
    "cut_after_continue": (INTERIM + reply()[:-1], "bad"),
    "not_chunked_last": (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n{}", "bad"),
    # Against the grammar.
    "two_lengths": (reply(b"{}", "200 OK", "Content-Length: 3"), "bad"),
    "length_and_chunked": (reply(b"{}", "200 OK", "Transfer-Encoding: chunked"), "bad"),
    "negative_length": (b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n", "bad"),
    "huge_length": (b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999\r\n\r\n", "bad"),
    "no_cr": (b"HTTP/1.1 200 OK\nContent-Length: 2\n\n{}", "bad"),
    "space_in_name": (b"HTTP/1.1 200 OK\r\nContent-Length : 2\r\n\r\n{}", "bad"),
    "switching": (b"HTTP/1.1 101 Switching\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n", "bad"),
    "http2": (b"\x00\x00\x12\x04\x00\x00\x00\x00\x00", "bad"),
    "request": (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", "bad"),
    "bad_chunk": (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n", "bad"),
    "bad_gzip": (reply(GZIPPED[:-1]), "bad"),
    "gzip_and_more": (reply(GZIPPED + b"more"), "bad"),
    "deflate_in_name_only": (reply(b"hello", "200 OK", "Content-Encoding: deflate"), "bad"),
}


@pytest.mark.parametrize("name", REPLIES)
def test_whole_replies_are_read_as_the_table_says(name: str) -> None:
    """All bytes at once, then the close."""
    data, expected = REPLIES[name]
    assert read([data]) == expected


@pytest.mark.parametrize("name", REPLIES)
def test_byte_by_byte_gives_the_same(name: str) -> None:
    """The finest split of all changes nothing, error or not."""
    data, expected = REPLIES[name]
    assert read([bytes([byte]) for byte in data]) == expected


def test_heads_that_were_read_before_change_nothing() -> None:
    """With the heads of all replies known, each is read as before: whole, byte by byte, and cut off by a byte."""
    heads = Heads()
    for data, expected in [*REPLIES.values(), *REPLIES.values()]:
        assert read([data], heads) == expected
        assert read([bytes([byte]) for byte in data], heads) == expected
        assert read([data[:-1]], heads) == read([data[:-1]])
    assert heads.known


@pytest.mark.parametrize("length", range(30, 60))
def test_a_known_head_is_not_mistaken_while_it_is_still_coming(length: int) -> None:
    """A known head that arrives in two segments, cut anywhere, waits for its body whatever the body's length."""
    data = reply(b"{" + b" " * (length - 2) + b"}")
    heads = Heads()
    whole = read([data], heads)
    for cut in range(1, len(data)):
        assert read([data[:cut], data[cut:]], heads) == whole


def test_heads_that_never_come_again_are_not_looked_for_for_ever() -> None:
    """A service with a different head each time costs a bounded memory, and soon nothing."""
    heads = Heads()
    for number in range(2_000):
        assert read([reply(BODY, "200 OK", f"X-Id: {number}")], heads) == Read(200, BODY, True)
    assert not heads.useful
    assert len(heads.known) <= 512


@given(st.sampled_from(sorted(REPLIES)), st.lists(st.integers(0, 400), max_size=8))
def test_any_split_gives_the_same_reply(name: str, cuts: list[int]) -> None:
    """Wherever TCP cuts, the reply is the same; bad ones stay bad."""
    data, expected = REPLIES[name]
    edges = [0, *sorted(cut % (len(data) + 1) for cut in cuts), len(data)]
    pieces = [data[start:end] for start, end in pairwise(edges) if end > start]
    assert read(pieces) == expected


@pytest.mark.parametrize("excess", [b"x", b"HTT", b"HTTP/1.1 2", reply(), INTERIM, b"\r\nx"])
@pytest.mark.parametrize("ending", [b"", b"chunked"])
def test_bytes_behind_the_reply_in_the_same_segment_spoil_it(excess: bytes, ending: bytes) -> None:
    """A reply followed by more, even by the beginning of a proper one, is no reply to one question."""
    data = chunked(BODY) if ending else reply()
    reader = ReplyReader(Heads())
    with pytest.raises(BadReplyError):
        reader.feed(data + excess)


def test_one_reader_serves_a_connection() -> None:
    """Replies of all framings follow each other on one reader, and nothing of one is seen in the next."""
    reader = ReplyReader(Heads())
    for name, (data, expected) in [*REPLIES.items(), *reversed(REPLIES.items())]:
        if not isinstance(expected, Read) or not expected.keep_alive or expected.ended:
            continue
        assert not reader.began, name
        assert reader.feed(data), name
        got = Read(reader.status, reader.body(), reader.keep_alive, reader.retry_after_ns() // NS_PER_S)
        assert got == expected, name
        reader.reset()


def _head_of(size: int) -> bytes:
    """A reply whose head has exactly so many bytes up to and with its blank line."""
    fixed = len(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nX: \r\n\r\n")
    return b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nX: " + b"x" * (size - fixed) + b"\r\n\r\n{}"


@pytest.mark.parametrize("piece", [1_000, 65_536, 100_000])
def test_a_head_is_read_up_to_64_kb_and_no_further(piece: int) -> None:
    """A head of 65,536 bytes is read, one of 65,537 is not, however they are cut."""

    def pieces(data: bytes) -> list[bytes]:
        return [data[start : start + piece] for start in range(0, len(data), piece)]

    assert read(pieces(_head_of(MAX_HEAD_BYTES))) == Read(200, b"{}", True)
    assert read(pieces(_head_of(MAX_HEAD_BYTES + 1))) == "bad"


@pytest.mark.parametrize("framing", ["length", "chunked", "close"])
def test_a_body_is_read_up_to_8_mb_and_no_further(framing: str) -> None:
    """8 MB are read, one byte more is not, in each framing."""

    def pieces(size: int) -> list[bytes]:
        body = b"{" + b" " * (size - 2) + b"}"
        if framing == "close":
            data = b"HTTP/1.1 200 OK\r\n\r\n" + body
        else:
            data = reply(body) if framing == "length" else chunked(body[:100], body[100:])
        return [data[start : start + 65_536] for start in range(0, len(data), 65_536)]

    got = read(pieces(MAX_BODY_BYTES))
    assert isinstance(got, Read)
    assert len(got.body) == MAX_BODY_BYTES
    assert read(pieces(MAX_BODY_BYTES + 1)) == "bad"


def test_an_endless_body_is_given_up_soon() -> None:
    """Chunk after chunk without an end: bad once 8 MB are passed, not later."""
    reader = ReplyReader(Heads())
    reader.feed(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    with pytest.raises(BadReplyError, match="8 MB"):
        for _ in range(MAX_BODY_BYTES // 0x8000 + 2):
            reader.feed(b"8000\r\n" + bytes(0x8000) + b"\r\n")


def test_a_compressed_body_is_inflated_up_to_8_mb_and_no_further() -> None:
    """8 MB of zeros behind a few kB of gzip are read, one byte more is not."""
    got = read([reply(gzip.compress(bytes(MAX_BODY_BYTES)))])
    assert isinstance(got, Read)
    assert got.body == bytes(MAX_BODY_BYTES)
    assert read([reply(gzip.compress(bytes(MAX_BODY_BYTES + 1)))]) == "bad"


def _mutated(name: str, edits: list[tuple[int, int, bytes]]) -> bytes:
    data = bytearray(REPLIES[name][0])
    for at, length, put in edits:
        start = at % (len(data) + 1)
        data[start : start + length] = put
    return bytes(data)


_EDITS = st.lists(st.tuples(st.integers(0, 500), st.integers(0, 4), st.binary(max_size=4)), max_size=6)


@given(st.sampled_from(sorted(REPLIES)), _EDITS, st.lists(st.integers(0, 400), max_size=3))
@example("length", [(0, 4, b"")], [])
def test_damaged_replies_are_a_reply_or_bad_and_nothing_else(
    name: str, edits: list[tuple[int, int, bytes]], cuts: list[int]
) -> None:
    """Whatever the bytes, only `BadReplyError` is raised, and what is read has a status and bounded bytes."""
    data = _mutated(name, edits)
    edges = [0, *sorted(cut % (len(data) + 1) for cut in cuts), len(data)]
    reader = ReplyReader(Heads())
    try:
        done = any(reader.feed(data[start:end]) for start, end in pairwise(edges) if end > start)
        if done or reader.finish():
            assert 0 <= reader.status <= 999
            assert len(reader.body()) <= MAX_BODY_BYTES
            assert reader.retry_after_ns() >= 0
    except BadReplyError as error:
        assert str(error)


@given(st.binary(max_size=200))
def test_random_bytes_never_crash_the_reader(data: bytes) -> None:
    """Noise is nothing, bad, or a reply; it never raises anything else."""
    assert read([data]) in ("nothing", "bad") or data.lstrip(b"\r\n").startswith(b"HTTP/")
