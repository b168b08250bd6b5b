"""Whose ids a step sends, what a reply does to them, and which chain event that is."""

from __future__ import annotations

import re

import pytest

from harness.visitor.records import Chain
from harness.visitor.retry import POLICIES, RetryPolicy
from tests.unit.visitor.play import (
    ANSWERS,
    FRESH,
    GE,
    LOADING,
    RETURN,
    STALE,
    UPDATE,
    Player,
    World,
    engagement,
    failure,
)

NOBODY = (None, None)


def ok(vid: str | None, sid: str | None, status: str = "NotAvailable") -> tuple[int, bytes]:
    return 200, engagement(status, vid, sid)


def trying_again(ids_on_retry: str) -> RetryPolicy:
    """Tries each error again at once."""
    errors = frozenset(ANSWERS) - {"available", "not_available", "accepted", "internal_error"}
    return RetryPolicy(name="x", retry_on=errors, max_retries=99, ids_on_retry=ids_on_retry)  # type: ignore[arg-type]


def known(world: World, vid: str = "V9", visitor: str = "u1") -> None:
    """The visitor was here before and got this vid."""
    world.visit(FRESH, visit="v0", visitor=visitor, returns=True).ask(ok(vid, "S0"))


# Identity rules


def test_chain_sends_the_newest_ids() -> None:
    """Each CHAIN step carries the ids of the last reply that gave some; errors in between change nothing."""
    player = World().visit(GE, GE, GE, GE, GE)
    answers = (ok("V1", "S1"), ok("V1", "S2"), (503, b""), ok("V2", "S3"), ok("V2", "S3"))
    sent = [player.ask(answer).ids for answer in answers]
    assert sent == [NOBODY, ("V1", "S1"), ("V1", "S2"), ("V1", "S2"), ("V2", "S3")]


def test_fresh_sends_no_ids() -> None:
    """A FRESH step forgets the visit's ids, and what comes back starts a new chain."""
    player = World().visit(FRESH, FRESH, GE)
    sent = [player.ask(answer).ids for answer in (ok("V1", "S1"), ok("V2", "S2"), ok("V2", "S2"))]
    assert sent == [NOBODY, NOBODY, ("V2", "S2")]
    assert [a.chain for a in player.sink.attempts] == [Chain.started, Chain.started, Chain.kept]


def test_return_sends_the_earlier_vid_alone() -> None:
    """A RETURN step sends the vid of the visitor's earlier visit without sid; the same vid back is kept."""
    world = World()
    known(world)
    player = world.visit(RETURN, GE)
    assert player.ask(ok("V9", "S1")).ids == ("V9", None)
    assert (player.attempt.chain, player.attempt.return_missed) == (Chain.kept, False)
    assert player.ask(ok("V9", "S1")).ids == ("V9", "S1")


def test_return_within_a_visit_leaves_the_sid_behind() -> None:
    """A later RETURN step sends the remembered vid without this visit's own sid, and the new sid is no renewal."""
    player = World().visit(GE, RETURN, returns=True)
    player.ask(ok("V1", "S1"))
    assert player.ask(ok("V1", "S2")).ids == ("V1", None)
    assert player.attempt.chain is Chain.kept


def test_return_answered_with_another_vid() -> None:
    """Another vid than the one a RETURN sent is a revid, and is what the visitor comes back with next time."""
    world = World()
    known(world)
    world.visit(RETURN, returns=True).ask(ok("V10", "S1"))
    assert world.sink.attempts[-1].chain is Chain.revid
    assert world.visit(RETURN, visit="v2").send().ids == ("V10", None)


def test_return_without_a_known_vid_goes_fresh() -> None:
    """A RETURN of an unknown visitor sends no ids and is marked as missed at its first attempt only."""
    player = World(trying_again("keep")).visit(RETURN)
    player.ask((503, b""))
    player.ask(ok("V1", "S1"))
    assert [(a.return_missed, a.chain) for a in player.sink.attempts] == [(True, Chain.none), (False, Chain.started)]


def test_only_visits_that_return_are_remembered() -> None:
    """The vid of a visit without `returns` is forgotten at its end, even if an earlier visit had left one."""
    world = World()
    known(world)
    world.visit(RETURN, returns=False).ask(ok("V9", "S1"))
    assert world.visit(RETURN, visit="v2").send().ids == NOBODY


def test_clones_are_other_visitors() -> None:
    """A suffix makes another visit and another visitor: a clone does not meet the original's vid."""
    world = World()
    known(world)
    request = world.visit(RETURN, suffix="~1").send()
    assert (request.ids, request.attempt) == (NOBODY, "v1~1/0/1")


def test_stale_ids() -> None:
    """STALE sends a made-up pair that depends on seed, visit and step; the reply is no chain event."""
    player = World().visit(GE, STALE, STALE, GE)
    player.ask(ok("V1", "S1"))
    first, second = player.ask(ok("V2", "S2")), player.ask(ok("V3", "S3"))
    assert all(re.fullmatch("[0-9a-f]{22}", text) for text in (first.vid or "", first.sid or ""))
    assert len({*first.ids, *second.ids}) == 4
    assert player.ask(ok("V3", "S3")).ids == ("V3", "S3")
    marks = [(a.stale, a.chain) for a in player.sink.attempts]
    assert marks == [(False, Chain.started), (True, Chain.none), (True, Chain.none), (False, Chain.kept)]
    assert World(seed=8).visit(STALE).send().ids != World(seed=7).visit(STALE).send().ids
    assert World(seed=7).visit(STALE).send().ids == World(seed=7).visit(STALE).send().ids


def test_stale_ids_that_come_back_are_the_services() -> None:
    """A service that takes up the very ids that were made up starts an ordinary chain with them."""
    world = World()
    player = world.visit(STALE, GE, returns=True)
    request = player.send()
    assert world.identities.open_vids == 0
    player.answer(ok(request.vid, request.sid))
    assert player.ask(ok(request.vid, request.sid)).ids == request.ids
    assert [(a.stale, a.chain) for a in player.sink.attempts] == [(True, Chain.none), (False, Chain.kept)]
    assert world.visit(RETURN, visit="v2").send().ids == (request.vid, None)


def test_stale_ids_are_nobodys() -> None:
    """Made-up ids are neither claimed nor remembered when the service does not take them up."""
    world = World()
    player = world.visit(STALE, returns=True)
    player.ask("server_error")
    assert (world.identities.open_vids, world.identities.remembered("u1")) == (0, None)


# After a rejection


@pytest.mark.parametrize("after", [GE, FRESH, RETURN, STALE], ids=["chain", "fresh", "return", "stale"])
@pytest.mark.parametrize("refusal", [(401, b""), (404, failure(37)), (404, failure(39))])
def test_step_after_a_rejection_is_fresh(refusal: tuple[int, bytes], after: dict[str, object]) -> None:
    """After refused ids the next step sends none, whatever its rule, and the one after it goes on as usual."""
    world = World()
    known(world)
    player = world.visit(GE, GE, after, GE)
    player.ask(ok("V1", "S1"))
    player.ask(refusal)
    assert (player.attempt.chain, player.outcomes[-1]) == (Chain.rejected, "rejected")
    assert player.ask(ok("V2", "S2")).ids == NOBODY
    assert (player.attempt.chain, player.attempt.return_missed, player.attempt.stale) == (Chain.started, False, False)
    assert player.ask(ok("V2", "S2")).ids == ("V2", "S2")


def test_skipped_update_does_not_use_up_the_fresh_start() -> None:
    """An update skipped after a rejection leaves the fresh start to the next step that sends."""
    player = World().visit(GE, GE, UPDATE, GE)
    player.ask("available")
    player.ask("rejected")
    assert player.send().ids == NOBODY
    assert player.outcomes == ["available", "rejected", "skipped"]


def test_refused_stale_ids_are_no_chain_event() -> None:
    """A refusal of ids that were stale on purpose counts as rejected step, but not against the chain."""
    player = World().visit(STALE, GE)
    player.ask("rejected")
    assert (player.attempt.chain, player.attempt.stale, player.outcomes) == (Chain.none, True, ["rejected"])
    assert player.send().ids == NOBODY


def test_other_404_is_no_rejection() -> None:
    """A 404 with another code is an ordinary client error and keeps the ids."""
    player = World().visit(GE, GE, GE)
    player.ask(ok("V1", "S1"))
    player.ask((404, failure(6)))
    assert (player.attempt.chain, player.outcomes[-1]) == (Chain.none, "failed")
    assert player.send().ids == ("V1", "S1")


# Ids on a retry


@pytest.mark.parametrize(
    ("ids_on_retry", "identity", "first", "retry"),
    [
        ("keep", "chain", NOBODY, NOBODY),
        ("none", "chain", NOBODY, NOBODY),
        ("hint", "chain", NOBODY, ("HINT", None)),
        ("keep", "fresh", NOBODY, NOBODY),
        ("none", "fresh", NOBODY, NOBODY),
        ("hint", "fresh", NOBODY, ("HINT", None)),
        ("keep", "return", ("V9", None), ("V9", None)),
        ("none", "return", ("V9", None), NOBODY),
        ("hint", "return", ("V9", None), ("V9", None)),
    ],
)
def test_ids_on_retry_of_a_first_step(
    ids_on_retry: str, identity: str, first: tuple[str | None, str | None], retry: tuple[str | None, str | None]
) -> None:
    """What a retry after “Loading account” sends, before any success of the visit."""
    world = World(trying_again(ids_on_retry))
    known(world)
    player = world.visit({**GE, "identity": identity})
    assert [player.ask(LOADING).ids, player.send().ids] == [first, retry]


@pytest.mark.parametrize(("ids_on_retry", "same"), [("keep", True), ("none", False), ("hint", True)])
def test_ids_on_retry_of_a_stale_step(ids_on_retry: str, same: bool) -> None:
    """A stale pair is sent again, and marked, by policies that keep ids; `none` sends it once."""
    player = World(trying_again(ids_on_retry)).visit(STALE)
    first, retry = player.ask(LOADING), player.ask(LOADING)
    assert retry.ids == (first.ids if same else NOBODY)
    assert [a.stale for a in player.sink.attempts] == [True, same]


@pytest.mark.parametrize("ids_on_retry", ["keep", "none", "hint"])
def test_ids_on_retry_after_a_success(ids_on_retry: str) -> None:
    """Once a reply of the visit gave ids, every policy sends them on a retry, a refused one included."""
    player = World(trying_again(ids_on_retry)).visit(GE, GE)
    player.ask(ok("V1", "S1"))
    sent = [player.ask(answer).ids for answer in (LOADING, "rejected", "timeout", ok("V1", "S1"))]
    assert sent == [("V1", "S1")] * 4


def test_ids_of_a_success_without_sid_are_given_too() -> None:
    """A RETURN answered with its vid alone has been given that vid: sdk-sample sends it on a later retry."""
    world = World(trying_again("none"))
    known(world)
    player = world.visit(RETURN, GE)
    player.ask(ok("V9", None))
    assert [player.ask("timeout").ids, player.send().ids] == [("V9", None), ("V9", None)]


def test_sdk_sample_storms_without_ids() -> None:
    """Under sdk-sample each retry of a visit's first call is a stranger's first call again."""
    player = World(POLICIES["sdk-sample"]).visit(GE)
    assert {player.ask(LOADING).ids for _ in range(26)} == {NOBODY}


def test_exhausted_rejections_keep_the_ids() -> None:
    """Rejections that the policy tries again until it is exhausted are no settled rejection: the ids stay."""
    player = World(POLICIES["sdk-sample"]).visit(GE, GE, GE)
    player.ask(ok("V1", "S1"))
    sent = {player.ask("rejected").ids for _ in range(26)}
    assert (sent, player.outcomes) == ({("V1", "S1")}, ["not_available", "exhausted"])
    assert player.send().ids == ("V1", "S1")


def test_hint_is_taken_up_only_without_a_vid() -> None:
    """The vid of a message is no reason to give up one's own, and a later message does not replace the first."""
    player = World(trying_again("hint")).visit(GE, GE)
    player.ask(LOADING)
    assert player.ask((500, failure(20, "Loading account: 1, vid: OTHER"))).ids == ("HINT", None)
    assert player.ask(ok("HINT", "S1")).ids == ("HINT", None)
    assert player.attempt.chain is Chain.kept
    player.ask(LOADING)
    assert player.send().ids == ("HINT", "S1")


def test_hint_comes_from_loading_messages_alone() -> None:
    """Neither another message that names a vid nor a fault is a hint."""
    player = World(trying_again("hint")).visit(GE)
    player.ask((500, failure(18, "no vid: HINT")))
    assert player.ask("timeout").ids == player.send().ids == NOBODY


# Chain events: what was sent × what came back


@pytest.mark.parametrize(
    ("sent", "came", "event", "then"),
    [
        (NOBODY, ("V1", "S1"), "started", ("V1", "S1")),
        (NOBODY, ("V1", None), "started", ("V1", None)),
        (NOBODY, (None, None), "none", NOBODY),
        (("V1", None), ("V1", "S1"), "kept", ("V1", "S1")),
        (("V1", None), ("V2", "S1"), "revid", ("V2", "S1")),
        (("V1", "S1"), ("V1", "S1"), "kept", ("V1", "S1")),
        (("V1", "S1"), ("V1", "S2"), "renewed", ("V1", "S2")),
        (("V1", "S1"), ("V2", "S1"), "revid", ("V2", "S1")),
        (("V1", "S1"), ("V2", "S2"), "revid", ("V2", "S2")),
        (("V1", "S1"), (None, "S1"), "kept", ("V1", "S1")),
        (("V1", "S1"), (None, "S2"), "renewed", ("V1", "S2")),
        (("V1", "S1"), ("V1", None), "kept", ("V1", "S1")),
        (("V1", "S1"), (None, None), "none", ("V1", "S1")),
    ],
)
@pytest.mark.parametrize("status", ["Available", "NotAvailable"])
def test_chain_event(
    sent: tuple[str | None, str | None],
    came: tuple[str | None, str | None],
    event: str,
    then: tuple[str | None, str | None],
    status: str,
) -> None:
    """Each combination of ids sent and ids returned is one event, and the next step sends the newest."""
    player = World().visit(GE, GE, GE)
    player.ask(ok(*sent) if sent != NOBODY else "server_error")
    assert player.ask(ok(*came, status)).ids == sent
    assert player.attempt.chain.name == event
    assert player.send().ids == then == player.session.ids


@pytest.mark.parametrize("answer", ["throttled", "client_error", "redirect", "bad_reply", "timeout", "accepted"])
def test_reply_without_ids_is_no_chain_event(answer: str) -> None:
    """Errors, faults and accepted updates say nothing about the chain."""
    player = World().visit(GE, UPDATE, GE)
    player.ask("available")
    player.ask(answer)
    assert player.attempt.chain is Chain.none
    assert player.send().ids == ("V1", "S1")


def test_rejected_update_is_a_chain_event() -> None:
    """Ids refused in an update break the chain as well."""
    player = World().visit(GE, UPDATE, GE)
    player.ask("available")
    player.ask((404, failure(39)))
    assert (player.attempt.chain, player.outcomes) == (Chain.rejected, ["available", "rejected"])
    assert player.send().ids == NOBODY


def crossing() -> tuple[World, Player]:
    """A visit that holds V1, and another visitor's visit that is then given V1 too."""
    world = World()
    holder = world.visit(GE, GE)
    holder.ask(ok("V1", "S1"))
    other = world.visit(GE, GE, visit="w1", visitor="w")
    other.ask(ok("V1", "S5"))
    return world, holder


def test_crossed() -> None:
    """A vid that belongs to another visitor's open visit is crossed; its echo afterwards is kept."""
    world, _ = crossing()
    assert world.sink.attempts[-1].chain is Chain.crossed
    third = world.visit(GE, GE, visit="x1", visitor="x")
    third.ask(ok("V1", "S6"))
    third.ask(ok("V1", "S6"))
    assert [a.chain for a in world.sink.attempts[-2:]] == [Chain.crossed, Chain.kept]


def test_crossed_through_a_hint() -> None:
    """A vid that came by message is judged when the service confirms it."""
    world = World(trying_again("hint"))
    world.visit(GE, GE).ask(ok("HINT", "S1"))
    other = world.visit(GE, visit="w1", visitor="w")
    other.ask(LOADING)
    other.ask(ok("HINT", "S2"))
    assert world.sink.attempts[-1].chain is Chain.crossed


def test_vid_of_an_ended_visit_crosses_nobody() -> None:
    """Only open visits hold vids: after the end, a cut, or another vid, theirs may go to anybody."""
    world = World()
    world.visit(GE, visit="a", visitor="a").ask(ok("V1", "S1"))
    world.visit(GE, visit="b", visitor="b").ask(ok("V1", "S2"))
    cut = world.visit(GE, GE, visit="c", visitor="c")
    cut.ask(ok("V1", "S3"))
    cut.session.cut(cut.now_ns)
    moved = world.visit(GE, GE, GE, visit="d", visitor="d")
    moved.ask(ok("V1", "S4"))
    moved.ask(ok("V2", "S5"))
    world.visit(GE, visit="e", visitor="e").ask(ok("V1", "S6"))
    assert [a.chain.name for a in world.sink.attempts] == [
        "started",
        "started",
        "started",
        "started",
        "revid",
        "started",
    ]


def test_two_open_visits_of_one_visitor_do_not_cross() -> None:
    """The same visitor may hold its vid in two visits at once."""
    world = World()
    first = world.visit(GE, GE, returns=True)
    first.ask(ok("V1", "S1"))
    second = world.visit(RETURN, GE, visit="v2")
    second.ask(ok("V1", "S2"))
    assert first.ask(ok("V1", "S1")).ids == ("V1", "S1")
    assert [a.chain.name for a in world.sink.attempts] == ["started", "kept", "kept"]


def test_no_vid_outlives_its_visits() -> None:
    """When every visit is over, nobody holds a vid."""
    world, holder = crossing()
    assert world.identities.open_vids == 1
    holder.ask("available")
    assert world.identities.open_vids == 0


def test_ids_that_would_break_a_request_line() -> None:
    """Opaque ids are sent percent-encoded where they must be, and their echo in either form is the same id."""
    player = World().visit(GE, GE, GE)
    player.ask(ok("a/b?c", "s&d e"))
    assert player.ask(ok("a/b?c", "s&d e")).ids == ("a%2Fb%3Fc", "s%26d%20e")
    player.ask(ok("a%2Fb%3Fc", "s%26d%20e"))
    assert [a.chain for a in player.sink.attempts] == [Chain.started, Chain.kept, Chain.kept]


def test_ids_may_be_numbers() -> None:
    """Ids that come as JSON numbers are the same ids as their digits."""
    player = World().visit(GE, GE, GE)
    player.ask((200, b'{"status":"NotAvailable","visitorId":12,"sessionId":34,"pageId":5}'))
    assert player.ask(ok("12", "34")).ids == ("12", "34")
    assert player.attempt.chain is Chain.kept
