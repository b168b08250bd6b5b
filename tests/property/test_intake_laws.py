"""Laws of recorded calls: where messages end, what a policy looks like, whose a call is."""

from __future__ import annotations

import gzip
import random
import tomllib
import zlib
from collections import defaultdict, deque
from itertools import pairwise
from typing import Any

import brotli
import httptools
import orjson
import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.config.policies import read_policies
from harness.trace.intake.exchange import Exchange
from harness.trace.intake.http1 import Splitter, decoded
from harness.trace.intake.tying import Tying
from harness.units import NS_PER_MS, NS_PER_S
from harness.visitor.guess import guess_policy, nearest_policy, profile_table
from harness.visitor.records import Result
from harness.visitor.retry import POLICIES, RetryPolicy

# The framing of messages, against llhttp


class Seen:
    """What llhttp sees in a stream of messages: each one's status or method, and body."""

    def __init__(self, parser: Any) -> None:
        self.messages: list[tuple[object, bytes]] = []
        self._body = b""
        self.parser = parser(self)

    def on_body(self, part: bytes) -> None:
        self._body += part

    def on_message_complete(self) -> None:
        what = self.parser.get_status_code() if hasattr(self.parser, "get_status_code") else self.parser.get_method()
        self.messages.append((what, self._body))
        self._body = b""


BODIES = st.binary(max_size=60)
NAMES = st.sampled_from(["X-A", "accept", "Cookie", "LP-URL"])
VALUES = st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), min_size=1, max_size=12)


@st.composite
def framed(draw: st.DrawFn, start: str) -> bytes:
    """A message with this start line, its body framed one way or the other, with other headers around."""
    body = draw(BODIES)
    headers = [f"{name}: {value}" for name, value in draw(st.lists(st.tuples(NAMES, VALUES), max_size=3))]
    if draw(st.booleans()):
        headers.insert(draw(st.integers(0, len(headers))), f"content-Length:  {len(body)} ")
        content = body
    else:
        headers.insert(draw(st.integers(0, len(headers))), "Transfer-Encoding: chunked")
        cut = draw(st.integers(0, len(body)))
        parts = [part for part in (body[:cut], body[cut:]) if part]
        content = b"".join(b"%X;a=b\r\n%b\r\n" % (len(part), part) for part in parts)
        content += b"0\r\n" + draw(st.sampled_from([b"", b"Trailer: x\r\n"])) + b"\r\n"
    return "\r\n".join([start, *headers, "", ""]).encode() + content


def pieces(splitter: Splitter, data: bytes, cuts: list[int]) -> list[Any]:
    """The pieces of a stream that arrives in parts; their bytes must be the stream."""
    edges = [0, *sorted(cut % (len(data) + 1) for cut in cuts), len(data)]
    found = []
    for begin, end in pairwise(edges):
        found += splitter.feed(data[begin:end])
    found += splitter.finish()
    assert b"".join(piece.raw for piece in found) == data
    return found


def messages(found: list[Any]) -> list[tuple[object, bytes]]:
    """Status or method of each message, and its body."""
    made: list[tuple[object, bytes]] = []
    head: object = None
    body = b""
    for piece in found:
        if piece.head is not None:
            head = piece.head.status or piece.head.method
        body += piece.payload
        if piece.ends:
            made.append((head, body))
            body = b""
    return made


CUTS = st.lists(st.integers(0, 10_000), max_size=6)
REQUESTS = st.lists(
    st.sampled_from(["POST /a?b=c HTTP/1.1", "PUT /x HTTP/1.1", "OPTIONS * HTTP/1.1"]).flatmap(framed), max_size=4
)
REPLIES = st.lists(
    st.sampled_from(["HTTP/1.1 200 OK", "HTTP/1.1 500 Oh no", "HTTP/1.1 404 "]).flatmap(framed), max_size=4
)


@given(REQUESTS, CUTS)
def test_requests_end_where_llhttp_sees_them_end(sent: list[bytes], cuts: list[int]) -> None:
    """However a stream of requests is cut up, its messages are llhttp's, and not a byte is lost or changed."""
    data = b"".join(sent)
    seen = Seen(httptools.HttpRequestParser)
    seen.parser.feed_data(data)
    assert messages(pieces(Splitter(), data, cuts)) == seen.messages


@given(REPLIES, CUTS)
def test_replies_end_where_llhttp_sees_them_end(sent: list[bytes], cuts: list[int]) -> None:
    """Likewise replies."""
    data = b"".join(sent)
    seen = Seen(httptools.HttpResponseParser)
    seen.parser.feed_data(data)
    found = pieces(Splitter(deque([b"POST"] * len(sent))), data, cuts)
    assert messages(found) == seen.messages


@given(st.binary(max_size=400), CUTS, st.booleans())
def test_any_bytes_pass(data: bytes, cuts: list[int], reply: bool) -> None:
    """Whatever it is, what goes in comes out."""
    pieces(Splitter(deque() if reply else None), data, cuts)


@pytest.mark.parametrize(
    ("method", "head", "body", "ends"),
    [
        (b"HEAD", b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", b"", True),
        (b"POST", b"HTTP/1.1 204 No\r\n\r\n", b"", True),
        (b"POST", b"HTTP/1.1 304 No\r\nContent-Length: 5\r\n\r\n", b"", True),
        (b"POST", b"HTTP/1.0 200 OK\r\n\r\n", b"to the end", False),
        (b"POST", b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n", b"ok", True),
        (b"CONNECT", b"HTTP/1.1 200 OK\r\n\r\n", b"anything", False),
        (b"GET", b"HTTP/1.1 101 Switching\r\n\r\n", b"anything", False),
        (b"POST", b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n", b"abc", False),
    ],
)
def test_replies_without_a_body_of_their_own(method: bytes, head: bytes, body: bytes, ends: bool) -> None:
    """What a reply's method and status say about its body (RFC 9112 section 6.3) is heeded; the rest only passes."""
    splitter = Splitter(deque([method]))
    found = splitter.feed(head + body)
    assert b"".join(piece.raw for piece in found) == head + body
    assert any(piece.ends for piece in found) == ends


@given(st.binary(max_size=2000), st.sampled_from(["gzip", "deflate", "raw", "br", "zstd", "identity", ""]))
def test_bodies_are_decoded(body: bytes, coding: str) -> None:
    """Each coding that clients ask for is undone; one cut short is None."""
    raw = zlib.compressobj(wbits=-15)
    packed = {
        "gzip": lambda: gzip.compress(body),
        "deflate": lambda: zlib.compress(body),
        "raw": lambda: raw.compress(body) + raw.flush(),
        "br": lambda: brotli.compress(body),
        "zstd": lambda: zstandard.ZstdCompressor().compress(body),
    }.get(coding, lambda: body)()
    name = {"raw": b"deflate"}.get(coding, coding.encode())
    assert decoded(packed, name) == body
    if coding in ("gzip", "br"):
        assert decoded(packed[:-1], name) is None
    assert decoded(body, b"lzma, gzip") is None


def test_a_bomb_is_not_unpacked() -> None:
    """A body that grows beyond 8 MiB is not looked into, in any coding."""
    huge = bytes(50_000_000)
    for packed, name in ((gzip.compress(huge), b"gzip"), (brotli.compress(huge, quality=1), b"br"),
                         (zstandard.ZstdCompressor().compress(huge), b"zstd")):  # fmt: skip
        assert decoded(packed, name) is None


# The guess of a policy, against clients that follow a known one


def follow(policy: RetryPolicy, rng: random.Random, visits: int = 60) -> list[Exchange]:
    """What a recorder sees of visits under a policy: first calls that fail some times before they succeed."""
    calls = []
    for visit in range(visits):
        at_ns = begin_ns = visit * 200 * NS_PER_S
        fails, hint = rng.choice([0, 1, 2, 3, 5, 9]), ""
        for number in range(200):
            result = Result.loading if number < fails else Result.available
            calls.append(
                Exchange(
                    began_ns=at_ns,
                    done_ns=at_ns + 8 * NS_PER_MS,
                    op="get_engagement",
                    body=orjson.dumps({"v": visit}),
                    vid=hint if policy.ids_on_retry == "hint" else "",
                    result=result.name,  # type: ignore[arg-type]
                    hint=f"H{visit}" if result is Result.loading else "",
                    reply_vid="" if result is Result.loading else f"H{visit}",
                    reply_sid="" if result is Result.loading else f"S{visit}",
                    line=str(visit),
                    client="c",
                )
            )
            hint = f"H{visit}"
            if result is Result.available or number == policy.max_retries:
                break
            pause_ns = policy.delay_ns(number + 1, result, 0, rng.uniform(-1, 1))
            at_ns += 8 * NS_PER_MS + pause_ns + rng.randrange(3 * NS_PER_MS)
            if policy.budget_s is not None and at_ns > begin_ns + policy.budget_s * NS_PER_S:
                break
    return calls


@pytest.mark.parametrize("name", ["until-available", "sdk-sample", "rest-guide"])
@pytest.mark.parametrize("seed", range(5))
def test_the_shipped_policies_are_recognised(name: str, seed: int) -> None:
    """From calls made under a shipped policy its pauses, growth, ids and its very name are guessed."""
    known = POLICIES[name]
    tying = Tying(follow(known, random.Random(seed)))
    assert len(list(tying)) == 60
    policy = guess_policy(tying.retries)
    assert policy is not None
    assert nearest_policy(policy, tying.retries) == name
    assert policy.retry_on == {"loading"}
    assert policy.jitter == pytest.approx(known.jitter, abs=0.051)
    assert (policy.ids_on_retry == "hint") == (known.ids_on_retry == "hint")
    for number in (1, 2, 3):
        expected = known.delay_ns(number, Result.loading, 0, 0)
        assert policy.delay_ns(number, Result.loading, 0, 0) == pytest.approx(expected, rel=0.13)
    if name == "rest-guide":
        assert policy.max_retries == 3


@given(
    first_ms=st.sampled_from([50.0, 200.0, 1000.0]),
    factor=st.sampled_from([1.0, 1.5, 2.0]),
    max_retries=st.sampled_from([3, 4]),
    jitter=st.sampled_from([0.0, 0.3]),
    seed=st.integers(0, 2**32),
)
@settings(max_examples=30, deadline=None)
def test_a_guessed_table_is_a_profile_that_behaves_alike(
    first_ms: float, factor: float, max_retries: int, jitter: float, seed: int
) -> None:
    """The printed table is read back by the profile's reader without a finding, and is the policy that was guessed."""
    known = RetryPolicy(
        name="x",
        retry_on=frozenset({"loading"}),
        first_ms=first_ms,
        factor=factor,
        jitter=jitter,
        max_retries=max_retries,
    )
    tying = Tying(follow(known, random.Random(seed)))
    list(tying)
    policy = guess_policy(tying.retries)
    assert policy is not None
    problems: list[str] = []
    read = read_policies("p", tomllib.loads(profile_table(policy))["retry"], problems)
    assert (problems, read) == ([], {"recorded": policy})
    assert policy.delay_ns(1, Result.loading, 0, 0) == pytest.approx(first_ms * NS_PER_MS, rel=0.2)
    assert policy.max_retries == max_retries


# Whose a call is, against the truth


@st.composite
def traffic(draw: st.DrawFn) -> tuple[list[Exchange], dict[int, list[bytes]]]:
    """Calls of several visitors over connections of their own, in the order of time, and each one's bodies."""
    rng = random.Random(draw(st.integers(0, 2**32)))
    visitors = draw(st.integers(1, 6))
    calls: list[Exchange] = []
    truth: dict[int, list[bytes]] = defaultdict(list)
    for visitor in range(visitors):
        at_ns = rng.randrange(5 * NS_PER_S)
        vid = sid = ""
        line = f"{visitor}.0"
        for step in range(rng.randrange(1, 6)):
            body = orjson.dumps({"step": step, "who": visitor if rng.random() < 0.5 else 0})
            truth[visitor].append(body)
            for attempt in range(rng.choice([1, 1, 2, 3])):
                last = (attempt == 0 and rng.random() < 0.6) or attempt > 0
                result = "available" if last else rng.choice(["loading", "server_error", "reset"])
                done_ns = at_ns + rng.randrange(1, 50) * NS_PER_MS
                gives = last and (rng.random() < 0.2 or not sid)
                calls.append(
                    Exchange(
                        began_ns=at_ns, done_ns=done_ns, op="get_engagement", body=body, vid=vid, sid=sid,
                        result=result,  # type: ignore[arg-type]
                        reply_vid=(vid or f"V{visitor}") if last else "",
                        reply_sid=(f"S{visitor}.{step}" if gives else sid) if last else "",
                        line=line, client=f"c{visitor}",
                    )
                )  # fmt: skip
                if last:
                    vid, sid = calls[-1].reply_vid, calls[-1].reply_sid
                elif result == "reset" or rng.random() < 0.1:
                    line = f"{visitor}.{step}.{attempt}"
                at_ns = done_ns + rng.randrange(50, 900) * NS_PER_MS
                if last:
                    break
            else:
                break
            at_ns += rng.randrange(1, 20) * NS_PER_S
    calls.sort(key=lambda call: call.began_ns)
    return calls, truth


@given(traffic())
@settings(max_examples=200, deadline=None)
def test_every_visitor_gets_its_own_calls_back(world: tuple[list[Exchange], dict[int, list[bytes]]]) -> None:
    """Visitors that interleave, renew, retry and change connections: each is one visit with its steps in order."""
    calls, truth = world
    tying = Tying(calls)
    found = sorted([bytes(step.request) for step in draft.steps] for draft in tying)
    assert found == sorted(truth.values())
    assert tying.calls == len(calls) == tying.retries.folded + sum(map(len, truth.values()))
