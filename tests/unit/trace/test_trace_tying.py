"""Which calls make a visit: a table of little recordings with the visits that they must become."""

from __future__ import annotations

import orjson
import pytest

from harness.trace.intake.assemble import Draft
from harness.trace.intake.exchange import Exchange
from harness.trace.intake.tying import Tying
from harness.units import NS_PER_S

# What is compared of a visit: visitor, start, and of each step op, identity, think time and body.
Told = list[tuple[str, float, list[tuple[str, str, float, str]]]]


def call(
    at: float, ids: str = "", answer: str = "available", gives: str = "", *, line: str = "1", body: str = "x",
    lasts: float = 0.1, op: str = "get_engagement", client: str = "c", hint: str = "", account: str = "",
) -> Exchange:  # fmt: skip
    """One exchange; `ids` and `gives` are `vid/sid` or `vid` alone, sent and replied."""
    vid, _, sid = ids.partition("/")
    reply_vid, _, reply_sid = gives.partition("/")
    return Exchange(
        began_ns=int(at * NS_PER_S),
        done_ns=int((at + lasts) * NS_PER_S),
        op=op,  # type: ignore[arg-type]
        account=account,
        vid=vid,
        sid=sid,
        body=orjson.dumps({"a": body}),
        result=answer,  # type: ignore[arg-type]
        reply_vid=reply_vid,
        reply_sid=reply_sid,
        hint=hint,
        line=line,
        client=client,
    )


def told(drafts: list[Draft]) -> Told:
    return [
        (
            draft.visitor,
            round(draft.start_ns / NS_PER_S, 3),
            [
                (step.op, step.identity, round(step.think, 3), orjson.loads(bytes(step.request)).get("a", ""))
                for step in draft.steps
            ],
        )
        for draft in sorted(drafts, key=lambda draft: draft.start_ns)
    ]


def tie(*calls: Exchange) -> tuple[Told, Tying]:
    tying = Tying(sorted(calls, key=lambda exchange: exchange.began_ns))
    return told(list(tying)), tying


def get(identity: str, think: float, body: str = "x") -> tuple[str, str, float, str]:
    return ("get_engagement", identity, think, body)


CASES: dict[str, tuple[list[Exchange], Told]] = {
    "ids tie calls over connections, whoever else calls in between": (
        [
            call(0, gives="V/S"),
            call(1, gives="W/T", line="2"),
            call(5, "V/S", gives="V/S", line="3", body="y"),
            call(6, "W/T", gives="W/T", line="1", body="z"),
        ],
        [
            ("p-000001", 0, [get("fresh", 0), get("chain", 4.9, "y")]),
            ("p-000002", 1, [get("fresh", 0), get("chain", 4.9, "z")]),
        ],
    ),
    "a renewed sid and a new vid go on with the same visit": (
        [call(0, gives="V/S"), call(2, "V/S", gives="V/S2", body="y"), call(4, "V/S2", gives="V3/S3", body="z"),
         call(6, "V3/S3", gives="V3/S3", line="9", body="w")],
        [("p-000001", 0, [get("fresh", 0), get("chain", 1.9, "y"), get("chain", 1.9, "z"), get("chain", 1.9, "w")])],
    ),
    "retries after errors are one step, its think time counts from the last answer": (
        [call(0, answer="loading"), call(0.2, answer="server_error"), call(0.4, gives="V/S"),
         call(2.5, "V/S", gives="V/S", body="y")],
        [("p-000001", 0, [get("fresh", 0), get("chain", 2.0, "y")])],
    ),
    "a retry with the vid of a hint": (
        [call(0, answer="loading", hint="V"), call(5.1, "V", gives="V/S", line="2")],
        [("p-000001", 0, [get("fresh", 0)])],
    ),
    "a retry without ids on a new connection, told by client and body": (
        [call(0, answer="reset"), call(0.1, answer="reset", line="2", body="other"), call(0.3, gives="V/S", line="3")],
        [("p-000001", 0, [get("fresh", 0)]), ("p-000002", 0.1, [get("fresh", 0, "other")])],
    ),
    "where connections are used again, a new one is another visitor's after an answer, and a retry after a break": (
        [call(0, gives="V/S", body="a"), call(1, "V/S", gives="V/S", body="b"),
         call(2, answer="loading", line="2"), call(2.5, gives="W/T", line="3"),
         call(3, gives="U/R", line="2"), call(4, answer="reset", line="4", body="r"),
         call(4.5, gives="Q/P", line="5", body="r")],
        [
            ("p-000001", 0, [get("fresh", 0, "a"), get("chain", 0.9, "b")]),
            ("p-000002", 2, [get("fresh", 0)]),
            ("p-000003", 2.5, [get("fresh", 0)]),
            ("p-000004", 4, [get("fresh", 0, "r")]),
        ],
    ),
    "another client's call with the same body is no retry": (
        [call(0, answer="reset"), call(0.3, gives="V/S", line="3", client="d")],
        [("p-000001", 0, [get("fresh", 0)]), ("p-000002", 0.3, [get("fresh", 0)])],
    ),
    "not available asked again soon is a retry, later a page": (
        [call(0, answer="not_available", gives="V/S"), call(2, "V/S", answer="not_available", gives="V/S"),
         call(12, "V/S", gives="V/S")],
        [("p-000001", 0, [get("fresh", 0), get("chain", 9.9)])],
    ),
    "an error asked again after the retry pause is a page": (
        [call(0, gives="V/S"), call(1, "V/S", answer="server_error", body="y"), call(30, "V/S", gives="V/S", body="y")],
        [("p-000001", 0, [get("fresh", 0), get("chain", 0.9, "y"), get("chain", 28.9, "y")])],
    ),
    "the same body after success is a page": (
        [call(0, gives="V/S"), call(1, "V/S", gives="V/S")],
        [("p-000001", 0, [get("fresh", 0), get("chain", 0.9)])],
    ),
    "a known vid without sid returns": (
        [call(0, gives="V/S"), call(5, "V", gives="V/S2", line="2"), call(7, "V/S2", gives="V/S2", line="2", body="y")],
        [("p-000001", 0, [get("fresh", 0)]), ("p-000001", 5, [get("return", 0), get("chain", 1.9, "y")])],
    ),
    "a returning call that fails is tried again with the vid": (
        [call(0, gives="V/S"), call(5, "V", answer="server_error", line="2"), call(6, "V", gives="V/S2", line="2")],
        [("p-000001", 0, [get("fresh", 0)]), ("p-000001", 5, [get("return", 0)])],
    ),
    "after the gap it is another visit of the same visitor": (
        [call(0, gives="V/S"), call(2000, "V/S", gives="V/S", body="y")],
        [("p-000001", 0, [get("fresh", 0)]), ("p-000001", 2000, [get("return", 0, "y")])],
    ),
    "a fresh call on the visit's own connection is a step of it": (
        [call(0, gives="V/S"), call(2, gives="W/T", body="y"), call(4, "W/T", gives="W/T", body="z")],
        [("p-000001", 0, [get("fresh", 0), get("fresh", 1.9, "y"), get("chain", 1.9, "z")])],
    ),
    "made-up ids on the visit's own connection are stale": (
        [call(0, gives="V/S"), call(2, "X/Y", gives="X/T", body="y"), call(4, "X/T", gives="X/T", body="z")],
        [("p-000001", 0, [get("fresh", 0), get("stale", 1.9, "y"), get("chain", 1.9, "z")])],
    ),
    "made-up ids that meet an error first are still stale": (
        [call(0, "X/Y", answer="server_error"), call(0.2, "X/Y", answer="rejected")],
        [("p-000001", 0, [get("stale", 0)])],
    ),
    "ids that the service keeps are older than the recording": (
        [call(0, "V/S", gives="V/S"), call(2, "V/S", gives="V/S", body="y")],
        [("p-000001", 0, [get("fresh", 0), get("chain", 1.9, "y")])],
    ),
    "after a rejection a call without ids goes on with the chain": (
        [call(0, gives="V/S"), call(2, "V/S", answer="rejected", body="y"), call(4, gives="W/T", body="y")],
        [("p-000001", 0, [get("fresh", 0), get("chain", 1.9, "y"), get("chain", 1.9, "y")])],
    ),
    "a shared connection ties nothing: older ids come back, so the calls are taken apart": (
        [call(0, gives="V/S"), call(1, gives="W/T", body="b"), call(2, "V/S", gives="V/S", body="c"),
         call(3, "W/T", gives="W/T", body="d"), call(4, gives="U/R", body="e")],
        [
            ("p-000001", 0, [get("fresh", 0), get("chain", 1.9, "c")]),
            ("p-000002", 1, [get("fresh", 0, "b"), get("chain", 1.9, "d")]),
            ("p-000003", 4, [get("fresh", 0, "e")]),
        ],
    ),
    "a connection whose visitors' ids alternate ties nothing": (
        [call(0, gives="V/S", line="1"), call(0.5, gives="W/T", line="2"),
         call(1, "W/T", gives="W/T", line="1", body="b"), call(2, gives="U/R", line="1", body="c")],
        [
            ("p-000001", 0, [get("fresh", 0)]),
            ("p-000002", 0.5, [get("fresh", 0), get("chain", 0.4, "b")]),
            ("p-000003", 2, [get("fresh", 0, "c")]),
        ],
    ),
    "a call on a busy connection is another visitor's": (
        [call(0, gives="V/S", lasts=5), call(1, gives="W/T", body="y")],
        [("p-000001", 0, [get("fresh", 0)]), ("p-000002", 1, [get("fresh", 0, "y")])],
    ),
    "without replies on record a client's next ids belong to its first call": (
        [call(0, answer="", line="c"), call(9, "V/S", answer="", line="c", body="y"),
         call(20, "V/S", answer="", line="c", body="z")],
        [("p-000001", 0, [get("fresh", 0), get("chain", 8.9, "y"), get("chain", 10.9, "z")])],
    ),
    "without a line and without ids every call is a visitor of its own": (
        [call(0, answer="", line="", client=""), call(1, answer="", line="", client="")],
        [("p-000001", 0, [get("fresh", 0)]), ("p-000002", 1, [get("fresh", 0)])],
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_recordings_become_visits(case: str) -> None:
    """Each little recording becomes exactly the visits that stand beside it."""
    calls, visits = CASES[case]
    found, tying = tie(*calls)
    assert found == visits
    assert tying.calls == len(calls)


def test_counts_and_notes() -> None:
    """What was guessed or left out is counted: older ids, shared connections, overlaps, bodies, accounts."""
    broken = call(7, "V/S", gives="V/S", body="z", account="1")
    broken.body = b"no JSON"
    _, tying = tie(
        call(0, "V/S", gives="V/S", account="1"),
        call(2, "V/S", gives="V/S", body="y", lasts=2, account="1"),
        call(3, "V/S", gives="V/S", body="w", line="2", account="1"),
        broken,
        call(8, gives="W/T", line="5", account="2"),
    )
    assert +tying.notes == {"visits that began before the recording": 1, "calls that overlap in their visit": 1}
    assert tying.left_out == {"body that is no JSON object": 1}
    assert tying.accounts == {"1", "2"}


def test_nothing_is_remembered_of_visits_that_ended() -> None:
    """However many visits a recording has, only open ones and a name for each visitor stay in memory."""
    tying = Tying(
        call(at, answer=answer, gives=f"V{at}/S{at}" if answer == "available" else "", line=str(at), body=str(at % 3))
        for at in range(0, 40_000, 200)
        for answer in ("available", "loading")[at // 200 % 2 :][:1]
    )
    tables = (tying._open, tying._by_sid, tying._by_vid, tying._by_line, tying._waiting)
    most = 0
    for _ in tying:
        most = max(most, *map(len, tables))
    assert most <= 11
    assert list(map(len, tables)) == [0] * 5
    assert len(tying._visitors) == 100
